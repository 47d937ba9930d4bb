"""Whether gradients are being recorded, for the BatchNorm trap."""

# TensorFlow has no public name for this question; one private import, here only.
from tensorflow.python.eager import record


def is_recording() -> bool:
    """Returns whether a `tf.GradientTape` is active in this thread."""
    return bool(record.could_possibly_record())
