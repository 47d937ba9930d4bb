"""Data to train and evaluate on: ratings, sessions, examples with many labels.

Needs neither Keras nor TensorFlow Recommenders. `load` gives `Interactions`,
`split_by_time` divides them into a `TimeSplit`, and both give `tf.data` datasets
of dicts with the field names of the tensorflow-datasets builder `movielens`.
`Sessions` holds sequences of items and `NextItems` what came before an item;
`XMLRepository` reads sparse features with many labels.
"""

from tfrs_dhe.datasets.folder import read_folder
from tfrs_dhe.datasets.interactions import NO_TIMESTAMP, Interactions
from tfrs_dhe.datasets.loading import load
from tfrs_dhe.datasets.movie_table import MovieTable
from tfrs_dhe.datasets.movielens import load_movielens
from tfrs_dhe.datasets.next_items import NextItems
from tfrs_dhe.datasets.session_files import read_next_items, read_sessions
from tfrs_dhe.datasets.sessions import Sessions
from tfrs_dhe.datasets.sparse_examples import SparseExamples
from tfrs_dhe.datasets.synthetic import make_synthetic
from tfrs_dhe.datasets.synthetic_sessions import make_synthetic_sessions
from tfrs_dhe.datasets.synthetic_xml import make_synthetic_xml
from tfrs_dhe.datasets.time_split import TimeSplit, split_by_time
from tfrs_dhe.datasets.user_table import UserTable
from tfrs_dhe.datasets.xml_repository import XMLRepository
from tfrs_dhe.datasets.xml_writer import write_xml_repository

__all__ = [
    "NO_TIMESTAMP",
    "Interactions",
    "MovieTable",
    "NextItems",
    "Sessions",
    "SparseExamples",
    "TimeSplit",
    "UserTable",
    "XMLRepository",
    "load",
    "load_movielens",
    "make_synthetic",
    "make_synthetic_sessions",
    "make_synthetic_xml",
    "read_folder",
    "read_next_items",
    "read_sessions",
    "split_by_time",
    "write_xml_repository",
]
