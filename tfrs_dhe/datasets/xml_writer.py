"""Writes the text format of the Extreme Classification Repository."""

from pathlib import Path

from tfrs_dhe.datasets.sparse_examples import SparseExamples


def write_xml_repository(path: str | Path, examples: SparseExamples) -> Path:
    """Writes examples as `N D L` and lines `l1,l2 f:v f:v`.

    `XMLRepository(path).read()` gives the same examples, bit for bit.

    Args:
      path: The file to write.
      examples: At least one example.

    Returns:
      The path.

    Raises:
      ValueError: If there is no example.
    """
    if not len(examples):
        raise ValueError("`examples` must hold at least one example. Received none.")
    # The shortest text that float32 reads back, without the ".0" of whole numbers.
    values = [str(value).removesuffix(".0") for value in examples.feature_values]
    features = [f" {i}:{v}" for i, v in zip(examples.feature_ids, values, strict=True)]
    labels = [str(label) for label in examples.labels]
    path = Path(path)
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(f"{len(examples)} {examples.num_features} {examples.num_labels}\n")
        for i in range(len(examples)):
            start, end = examples.feature_splits[i : i + 2]
            first, last = examples.label_splits[i : i + 2]
            # Features start with a space each, and labels end with one if alone.
            line = ",".join(labels[first:last]) + "".join(features[start:end])
            file.write((line or " ") + "\n")
    return path
