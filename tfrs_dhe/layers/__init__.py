"""Keras layers: from raw ids to embeddings."""

from tfrs_dhe.layers import factorized_top_k
from tfrs_dhe.layers._mish import mish
from tfrs_dhe.layers.bloom_embedding import BloomEmbedding
from tfrs_dhe.layers.city_hash64 import CityHash64
from tfrs_dhe.layers.compositional_embedding import CompositionalEmbedding
from tfrs_dhe.layers.dedicated_rows_embedding import DedicatedRowsEmbedding
from tfrs_dhe.layers.deep_hash_embedding import DeepHashEmbedding
from tfrs_dhe.layers.deep_hash_embedding_collection import (
    DeepHashEmbeddingCollection,
)
from tfrs_dhe.layers.dense_hash_encoding import DenseHashEncoding
from tfrs_dhe.layers.double_hash_embedding import DoubleHashEmbedding
from tfrs_dhe.layers.embedding_network import EmbeddingNetwork
from tfrs_dhe.layers.feature_hashing import FeatureHashing
from tfrs_dhe.layers.hash_embedding import HashEmbedding
from tfrs_dhe.layers.hashing_trick_embedding import HashingTrickEmbedding
from tfrs_dhe.layers.locality_sensitive_hash import LocalitySensitiveHash
from tfrs_dhe.layers.mach_head import MACHHead
from tfrs_dhe.layers.materialized_embedding import MaterializedEmbedding
from tfrs_dhe.layers.quantized_mach_head import QuantizedMACHHead
from tfrs_dhe.layers.unified_embedding import UnifiedEmbedding
from tfrs_dhe.layers.vocabulary_embedding import VocabularyEmbedding

__all__ = [
    "BloomEmbedding",
    "CityHash64",
    "CompositionalEmbedding",
    "DedicatedRowsEmbedding",
    "DeepHashEmbedding",
    "DeepHashEmbeddingCollection",
    "DenseHashEncoding",
    "DoubleHashEmbedding",
    "EmbeddingNetwork",
    "FeatureHashing",
    "HashEmbedding",
    "HashingTrickEmbedding",
    "LocalitySensitiveHash",
    "MACHHead",
    "MaterializedEmbedding",
    "QuantizedMACHHead",
    "UnifiedEmbedding",
    "VocabularyEmbedding",
    "factorized_top_k",
    "mish",
]
