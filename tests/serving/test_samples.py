"""What an export's samples hold comes back as it was."""

import numpy as np

from tfrs_dhe.serving import _samples


def test_samples_come_back_with_their_bits(tmp_path):
    inputs = {
        "user_id": np.array([b"", b"\x00\xff", b"long" * 1000], object),
        "empty": np.zeros([0, 3], np.float32),
    }
    outputs = {"scores": np.array([[np.nan, -0.0, 1e-45]], np.float32)}
    _samples.write_samples(
        tmp_path, [_samples.Sample("serving_default", inputs, outputs)]
    )
    (sample,) = _samples.read_samples(tmp_path)
    assert sample.signature == "serving_default"
    assert sample.inputs["user_id"].tolist() == inputs["user_id"].tolist()
    assert sample.inputs["empty"].shape == (0, 3)
    assert sample.inputs["empty"].dtype == np.float32
    assert sample.outputs["scores"].tobytes() == outputs["scores"].tobytes()


def test_an_export_without_samples_has_none(tmp_path):
    assert _samples.read_samples(tmp_path) == []
