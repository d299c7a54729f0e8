"""What a comparison of numbers lets pass, and what not."""

import numpy as np
import pytest
import torch

from tests.numerics import assert_same, tolerance

MAPS = np.random.default_rng(0).random((3, 5, 7))


def test_rounding_passes() -> None:
    assert_same(MAPS.astype(np.float32), MAPS)
    assert_same(MAPS.astype(np.float32)[::-1].cumsum(axis=0)[-1], MAPS.sum(axis=0))


def test_a_difference_of_large_terms_is_as_exact_as_they_are() -> None:
    a, b = np.float32(20.001), np.float32(20.0)
    assert_same(a - b, 20.001 - 20.0, terms=[20.0])
    with pytest.raises(AssertionError):
        assert_same(a - b, 20.001 - 20.0)


@pytest.mark.parametrize(
    "wrong",
    [
        MAPS * 1.001,
        np.swapaxes(MAPS, 0, 0)[[1, 0, 2]],
        MAPS[:, ::-1],
        np.where(np.arange(7) == 3, 0, MAPS),
        MAPS + 0.001,
    ],
    ids=["a thousandth more", "two maps swapped", "upside down", "a column missing", "an offset"],
)
def test_a_fault_does_not_pass(wrong: np.ndarray) -> None:
    with pytest.raises(AssertionError):
        assert_same(wrong, MAPS)


def test_another_shape_does_not_pass() -> None:
    with pytest.raises(AssertionError, match="shape"):
        assert_same(MAPS[0], MAPS)
    with pytest.raises(AssertionError, match="shape"):
        assert_same(np.float64(1), np.ones(3))


def test_the_tolerance_follows_the_number_type() -> None:
    assert tolerance([2.0, -4.0], torch.float32, steps=1) == pytest.approx(4 * 2**-23)
    assert tolerance([1.0], torch.bfloat16, steps=1) == 2**-7
    assert tolerance([]) == 0
