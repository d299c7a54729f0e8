"""Weights along an axis: bicubic and flat."""

import cv2
import numpy as np
import pytest

from drawing.enlarge import cell_index, cubic_weights, flat_weights
from tests.drawn import bumpy


@pytest.mark.parametrize(("shape", "size"), [((5, 7), (180, 501)), ((9, 2), (90, 30)), ((1, 3), (17, 40))])
def test_bicubic_is_opencvs_along_each_axis(shape: tuple[int, int], size: tuple[int, int]) -> None:
    values = bumpy(*shape).astype(np.float64)
    (h, w), (height, width) = shape, size
    whole = cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(
        cubic_weights(height, h) @ values @ cubic_weights(width, w).T, whole, atol=1e-8
    )
    np.testing.assert_allclose(cubic_weights(height, h).sum(1), 1, atol=1e-6)


def test_flat_weights_take_one_cell() -> None:
    weights = flat_weights(11, 4)
    assert weights.shape == (11, 4)
    assert weights.argmax(1).tolist() == cell_index(11, 4).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
    assert (weights.sum(1) == 1).all()
