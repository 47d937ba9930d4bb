"""Prints what a process without Python's TensorFlow has: run by path, alone.

`import tensorflow` registers kernels of its own, such as that of PyFunc, which a
server does not have. So this program loads the shared libraries by themselves and
asks them over the C API. It writes the length of the op list as 8 bytes, then the
serialized `OpList`, then the serialized `KernelList`.
"""

import ctypes
import importlib.util
import sys
from pathlib import Path


class _Buffer(ctypes.Structure):
    """TF_Buffer of the C API."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("data_deallocator", ctypes.c_void_p),
    )

    def copy(self) -> bytes:
        """Returns the bytes that the buffer holds."""
        return ctypes.string_at(self.data, self.length)


def _library() -> ctypes.CDLL:
    """Returns the C API, loaded from where TensorFlow is installed."""
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        raise ImportError("tensorflow is not installed.")
    folder = Path(spec.origin).parent
    for name in ("libtensorflow_framework.*", "libtensorflow_cc.*"):
        paths = sorted(folder.glob(name))
        if not paths:
            raise ImportError(f"TensorFlow in {folder} has no {name}.")
        # The second library takes its symbols from the first.
        library = ctypes.CDLL(str(paths[0]), mode=ctypes.RTLD_GLOBAL)
    return library


def main() -> None:
    """Writes both lists to the standard output."""
    library = _library()
    library.TF_NewStatus.restype = ctypes.c_void_p
    library.TF_GetAllOpList.restype = ctypes.POINTER(_Buffer)
    kernels = library.TF_GetAllRegisteredKernels
    kernels.restype = ctypes.POINTER(_Buffer)
    kernels.argtypes = [ctypes.c_void_p]
    ops = library.TF_GetAllOpList().contents.copy()
    sys.stdout.buffer.write(len(ops).to_bytes(8, "little"))
    sys.stdout.buffer.write(ops)
    sys.stdout.buffer.write(kernels(library.TF_NewStatus()).contents.copy())


if __name__ == "__main__":
    main()
