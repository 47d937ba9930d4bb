"""The versions under a base path: which are loaded, and what became of the others."""

import dataclasses
import threading
from pathlib import Path

import grpc
from tensorflow_serving.apis import get_model_status_pb2

from tests.serving.double.errors import ServingError, not_found
from tests.serving.double.servable import Servable

State = get_model_status_pb2.ModelVersionStatus.State


@dataclasses.dataclass(frozen=True)
class VersionState:
    """What GetModelStatus says of a version."""

    state: int
    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""


class Versions:
    """Loads what the base path asks for, and unloads the rest afterwards.

    A version in use stays until its last request is answered: its session lives as
    long as someone holds it.

    Args:
      name: Of the model.
      base_path: Folder of the versions' directories.
      serve_all: Whether all versions are served, or the latest alone.
    """

    def __init__(self, name: str, base_path: Path, serve_all: bool) -> None:
        self.name = name
        self._base_path = base_path
        self._serve_all = serve_all
        self._lock = threading.Lock()
        self._loaded: dict[int, Servable] = {}
        self._states: dict[int, VersionState] = {}

    def get(self, name: str, version: int | None) -> tuple[int, Servable]:
        """Returns a version, the latest by default, and its number."""
        with self._lock:
            loaded = self._loaded if name == self.name else {}
            number = max(loaded, default=None) if version is None else version
            if number in loaded:
                return number, loaded[number]
        words = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise not_found(f"Servable not found for request: {words}")

    def states(self) -> dict[int, VersionState]:
        """Returns the state of every version that was ever seen."""
        with self._lock:
            return dict(self._states)

    def poll(self) -> None:
        """Looks at the base path once and does what it asks for."""
        wanted = self._wanted()
        # One that failed is tried again once it has been away.
        for version in self._failed() - set(wanted):
            self._set_state(version, VersionState(State.END))
        missing = set(wanted) - set(self._loaded) - self._failed()
        for version in sorted(missing, reverse=True):
            self._load(version, wanted[version])
        # A version goes only when one that is wanted can answer in its place.
        if not wanted or any(version in self._loaded for version in wanted):
            for version in set(self._loaded) - set(wanted):
                self._unload(version)

    def _wanted(self) -> dict[int, Path]:
        found = {
            int(path.name): path
            for path in self._base_path.iterdir()
            if path.name.isascii() and path.name.isdecimal()
        }
        if self._serve_all or not found:
            return found
        return {max(found): found[max(found)]}

    def _failed(self) -> set[int]:
        states = self.states()
        return {v for v in states if states[v].code != grpc.StatusCode.OK}

    def _load(self, version: int, path: Path) -> None:
        self._set_state(version, VersionState(State.LOADING))
        try:
            servable = Servable(path)
        except ServingError as error:
            self._set_state(version, VersionState(State.END, error.code, error.message))
            return
        with self._lock:
            self._loaded[version] = servable
            self._states[version] = VersionState(State.AVAILABLE)

    def _unload(self, version: int) -> None:
        with self._lock:
            del self._loaded[version]
            self._states[version] = VersionState(State.END)

    def _set_state(self, version: int, state: VersionState) -> None:
        with self._lock:
            self._states[version] = state
