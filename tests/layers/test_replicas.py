"""Deep hash embeddings on two replicas against the whole batch on one device."""

import numpy as np
import pytest

from tests.layers import replicas
from tests.processes import check_python
from tfrs_dhe._keras import is_legacy


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    path = tmp_path_factory.mktemp("replicas") / "steps.npz"
    check_python(
        f"""
        from tests.layers import replicas

        replicas.main({str(path)!r})
        """,
        TF_USE_LEGACY_KERAS="1" if is_legacy else "0",
    )
    return np.load(path)


@pytest.mark.parametrize("name", replicas.OPTIONS)
def test_outputs_gradients_and_statistics_are_those_of_the_whole_batch(
    arrays: dict[str, np.ndarray], name: str
) -> None:
    one, two = (
        [arrays[key] for key in sorted(arrays) if key.startswith(f"{name} {place}")]
        for place in ("on_one_device", "on_two_replicas")
    )
    # Outputs, 8 gradients, and twice a mean and a variance.
    assert len(one) == len(two) == 1 + 8 + 4
    for expected, actual in zip(one, two, strict=True):
        assert np.abs(expected).max() > 1e-3
        # float64; the sums that differ in order are of a few dozen numbers below 100.
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11)


def test_a_whole_training_is_that_of_one_device(arrays: dict[str, np.ndarray]) -> None:
    one, two = (
        [arrays[key] for key in sorted(arrays) if key.startswith(f"fitted {replicas}")]
        for replicas in (1, 2)
    )
    # Losses, and the weights: 8 that are trained, 4 statistics, and those of Dense.
    assert len(one) == len(two) == 1 + 8 + 4 + 2
    losses = one[0]
    assert losses[-1] < 0.9 * losses[0]
    for expected, actual in zip(one, two, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-9)
