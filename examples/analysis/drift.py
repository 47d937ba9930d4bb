"""Watches a training, and compares later traffic with it, as a scheduled job would.

python examples/analysis/drift.py --output analysis
tensorboard --logdir analysis/logs
"""

import movies

import tfrs_dhe
from tfrs_dhe import analysis


def main(argv=None):
    args = movies.argument_parser(__doc__).parse_args(argv)
    liked = movies.load(args.data_dir, args.num_ratings, args.seed).positives()
    split = tfrs_dhe.datasets.split_by_time(liked, test_share=0.2)
    training, later = split.train_interactions, split.test_interactions
    # What a job has to keep of the training: some hundred kB.
    reference = analysis.sketch_ids(training.movie_id)
    reference.save(args.output / "reference.npz")

    model = movies.MovieModel(len(liked.movie_table) // 16)
    sample = next(iter(training.batches(1024, shuffle=False)))
    summaries = analysis.TrainingSummaries(
        args.output / "logs",
        layer=model.user_model.embedding,
        ids=sample["user_id"],
        side_features=sample["user_side_features"],
        head=model.head,
        queries=sample,
        class_ids=sample["movie_id"],
        query_model=model.user_model,
    )
    # The layer is built by its first call, the summaries come after an epoch.
    movies.train(model, training, args.epochs, args.seed, callbacks=[summaries])

    def report_of(ratings):
        batches = ratings.batches(512, shuffle=False)
        return analysis.DriftReport(
            ids=analysis.compare_ids(
                analysis.IdSketch.load(args.output / "reference.npz"), ratings.movie_id
            ),
            calibration=analysis.bucket_calibration(
                model.head,
                batches.map(lambda row: (row, row["movie_id"])),
                query_model=lambda row: model.user_model(row, training=False),
            ),
            batch_norm=analysis.batch_norm_drift(
                model.user_model.embedding,
                batches.map(lambda row: (row["user_id"], row["user_side_features"])),
            ),
        )

    reports = {"training": report_of(training), "later": report_of(later)}
    for name, report in reports.items():
        print(f"{name}\n{report}\n")
    print(reports["later"].write(args.output / "drift", title="Movies, later ratings"))
    return reports


if __name__ == "__main__":
    main()
