"""The C program outlives requests that are no requests."""

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.serving import native_checks, native_exports
from tfrs_dhe.serving import native
from tfrs_dhe.serving.native import _protocol

pytestmark = native_checks.needs_compiler

NUM_REQUESTS = 3000
EXTREMES = (0, 1, 255, -1, 2**31, 2**40, 2**63 - 1, -(2**63))


def test_damaged_requests(tmp_path: Path) -> None:
    native_exports.save_strings(tmp_path)
    generator = random.Random(0)
    num_refused = 0
    with native.Server(tmp_path) as server:
        requests = well_formed(server)
        for _ in range(NUM_REQUESTS):
            damaged = damage(generator.choice(requests), generator)
            try:
                server._exchange(damaged)
            except native.RequestError:
                num_refused += 1
        answer = server.predict("serving_default", {"text": ["next"]})
    assert answer["length"].tolist() == [4]
    assert NUM_REQUESTS / 2 < num_refused < NUM_REQUESTS


def test_a_request_that_ends_early_ends_the_program(tmp_path: Path) -> None:
    native_exports.save_strings(tmp_path)
    with native.Server(tmp_path) as server:
        server._requests.write(struct.pack("=Q", 100) + b"too few")
        server._requests.close()
        assert server.process.wait() == 1
    with native.Server(tmp_path) as server:
        server._requests.close()
        assert server.process.wait() == 0


@pytest.mark.parametrize("signature", ["serving_default", "total"])
def test_what_is_sent_is_what_the_source_says(tmp_path: Path, signature: str) -> None:
    """Reads a request by the layout at the top of `serve.c`."""
    inputs = {
        "serving_default": {"a:0": np.array([b"xy", "\u00e9"], object)},
        "total": {"a:0": np.array([[1, 2]], np.int64)},
    }[signature]
    tensors = {
        "serving_default": struct.pack("=IIqQ", 7, 1, 2, 20)
        + struct.pack("=Q2sQ2s", 2, b"xy", 2, b"\xc3\xa9"),
        "total": struct.pack("=IIqqQqq", 9, 2, 1, 2, 16, 1, 2),
    }
    assert _protocol.request(inputs, ["b:1"], repeats=5, warm_up=6) == (
        struct.pack("=III", 5, 6, 1)
        + struct.pack("=I3s", 3, b"a:0")
        + tensors[signature]
        + struct.pack("=II3s", 1, 3, b"b:1")
    )


def well_formed(server: native.Server) -> list[bytes]:
    default, total = (server.signatures[name] for name in ("serving_default", "total"))
    text = {default.inputs["text"]: np.array([b"abc", b"", b"x" * 1000], object)}
    numbers = {
        total.inputs["numbers"]: np.ones([3, 2], np.float32),
        total.inputs["negate"]: np.array(True),
    }
    return [
        _protocol.request(text, list(default.outputs.values())),
        _protocol.request(numbers, list(total.outputs.values()), repeats=3, warm_up=1),
    ]


def damage(request: bytes, generator: random.Random) -> bytes:
    """Changes, inserts, overwrites or cuts off bytes, mostly where sizes are."""
    damaged = bytearray(request)
    for _ in range(generator.choice([0, 1, 1, 2, 5])):
        place = generator.randrange(min(len(damaged), 200) + 1)
        kind = generator.randrange(4)
        if kind == 0:
            damaged[place : place + 1] = generator.randbytes(1)
        elif kind == 1:
            damaged[place:place] = generator.randbytes(generator.randrange(9))
        elif kind == 2:
            number = struct.pack("=Q", generator.choice(EXTREMES) % 2**64)
            damaged[place : place + 8] = number
        else:
            del damaged[place:]
    # A request for a million runs is well formed, and takes its time.
    for place in (1, 2, 3, 5, 6, 7):
        damaged[place : place + 1] = b"\0" * (place < len(damaged))
    return bytes(damaged)
