"""The layers that are compared, each of a share of the full table's parameters."""

from tfrs_dhe import layers

OUTPUT_DIM = 32


def _table(ids, share, seed):
    if share != 1:
        raise ValueError(f"The full table has a share of 1. Received: {share}.")
    return layers.VocabularyEmbedding(OUTPUT_DIM, ids)


def _narrow_table(ids, share, seed):
    return layers.VocabularyEmbedding(max(1, round(OUTPUT_DIM * share)), ids)


def _frequent_rows(ids, share, seed):
    return layers.VocabularyEmbedding(OUTPUT_DIM, ids, **_budget(ids, share))


def _compositional(ids, share, seed):
    return layers.CompositionalEmbedding(OUTPUT_DIM, ids, **_budget(ids, share))


def _hashed(layer, **options):
    def make(ids, share, seed):
        budget = _budget(ids, share)
        return layer(OUTPUT_DIM, seed=seed, **budget, **options)

    return make


def _unified(ids, share, seed):
    return layers.UnifiedEmbedding(OUTPUT_DIM, **_budget(ids, share))


def _deep_bloom(ids, share, seed):
    """Narrow sums of hashed rows, decoded by a small network without normalization."""
    width, network = 4, {"num_hidden_layers": 2, "normalization": None}
    decoder = layers.EmbeddingNetwork(OUTPUT_DIM, 64, **network)
    decoder.build((None, width))
    budget = int(share * len(ids) * OUTPUT_DIM) - decoder.count_params()
    encoding = layers.BloomEmbedding(width, parameter_budget=budget, seed=seed)
    return layers.DeepHashEmbedding(
        OUTPUT_DIM, 64, encoding=encoding, deduplicate=True, **network
    )


def _budget(ids, share):
    return {"parameter_budget": share, "table_shape": (len(ids), OUTPUT_DIM)}


#: By name: from distinct ids, the most frequent first, a share and a seed to a layer.
METHODS = {
    "table": _table,
    "narrow_table": _narrow_table,
    "frequent_rows": _frequent_rows,
    "compositional": _compositional,
    "hashing_trick": _hashed(layers.HashingTrickEmbedding),
    "signed_hashing_trick": _hashed(layers.HashingTrickEmbedding, signed=True),
    "bloom": _hashed(layers.BloomEmbedding),
    "double_hash": _hashed(layers.DoubleHashEmbedding),
    "hash_embedding": _hashed(layers.HashEmbedding),
    "unified": _unified,
    "deep_hash": _hashed(layers.DeepHashEmbedding, deduplicate=True),
    "deep_bloom": _deep_bloom,
}
