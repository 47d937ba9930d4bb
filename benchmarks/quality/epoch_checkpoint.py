"""What a training has come to, on disk after each epoch."""

import json

import tensorflow as tf


class EpochCheckpoint:
    """Keeps the state of a training at its last epoch.

    What draws random numbers within the model draws others after a restart than it
    would have without.

    Args:
      folder: A `Path`, made if missing; of this training alone.
      **trackables: What TensorFlow is to keep, by name: variables, lists of them,
        optimizers.
    """

    def __init__(self, folder, **trackables):
        self._folder = folder
        self._state = folder / "state.json"
        self._checkpoint = tf.train.Checkpoint(**trackables)
        folder.mkdir(parents=True, exist_ok=True)

    def restore(self):
        """Restores the variables; returns the state saved with them, or None."""
        if not self._state.exists():
            return None
        state = json.loads(self._state.read_text())
        self._checkpoint.read(self._prefix(state["epoch"])).expect_partial()
        return state

    def save(self, state):
        """Saves the variables.

        Args:
          state: What else there is, as JSON has it; `epoch` is the number of epochs.
        """
        self._checkpoint.write(self._prefix(state["epoch"]))
        # The state names the variables' files: all of the epoch or all of the last one.
        written = self._state.with_suffix(".new")
        written.write_text(json.dumps(state))
        written.replace(self._state)
        for file in self._folder.glob(f"epoch-{state['epoch'] - 1}.*"):
            file.unlink()

    def _prefix(self, epoch):
        return str(self._folder / f"epoch-{epoch}")
