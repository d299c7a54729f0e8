"""Smooth maps: every pixel against a blend by definition; no value is invented."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from drawing.colours import colours
from drawing.enlarge import smooth_rows
from records.look import Look
from tests.drawn import bumpy, pixels
from visualization import heatmap


def slow_smooth(values: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Weights 3t² - 2t³ between cell centres, level beyond the outermost, one pixel at a time."""

    def neighbours(pixel: int, length: int, cells: int) -> list[tuple[int, float]]:
        at = Fraction(2 * pixel + 1, 2) * cells / length - Fraction(1, 2)
        if at <= 0:
            return [(0, 1.0)]
        if at >= cells - 1:
            return [(cells - 1, 1.0)]
        before, t = at.numerator // at.denominator, float(at % 1)
        weight = 3 * t**2 - 2 * t**3
        return [(before, 1 - weight), (before + 1, weight)]

    out = np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            for r, down in neighbours(y, size[0], values.shape[0]):
                for c, right in neighbours(x, size[1], values.shape[1]):
                    out[y, x] += values[r, c] * down * right
    return out


def test_smooth_equals_a_pixel_by_pixel_blend() -> None:
    values = bumpy(4, 3).astype(np.float64)
    size = (67, 31)  # more rows than are drawn at a time
    drawn = np.vstack([smooth_rows(values, size, slice(a, b)) for a, b in ((0, 64), (64, 67))])
    np.testing.assert_allclose(drawn, slow_smooth(values, size), rtol=0, atol=1e-15)
    look = Look(colormap="cividis", smooth=True)
    expected = colours(drawn, "cividis", values.min(), values.max())
    np.testing.assert_array_equal(pixels(heatmap(values, size, look)), expected)


def test_smooth_never_leaves_the_range_and_keeps_the_higher_of_two_near_peaks() -> None:
    values = np.array([[0.0, 0.99, 1.0, 0.0, 0.2], [0.1, 0.3, 0.2, 0.0, 0.0]])
    drawn = smooth_rows(values, (90, 350), slice(0, 90))
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    y, x = np.unravel_index(drawn.argmax(), drawn.shape)
    assert [int(y) * 2 // 90, int(x) * 5 // 350] == [0, 2]


def test_smooth_map_of_one_row_or_one_cell() -> None:
    one = heatmap([[0.3]], (20, 30), Look(smooth=True))
    assert len(np.unique(pixels(one).reshape(-1, 3), axis=0)) == 1
    strip = pixels(heatmap([[0.0, 1.0, 0.0]], (10, 90), Look("gray", smooth=True)))[..., 0]
    assert (strip == strip[0]).all()
    assert 30 <= strip[0].argmax() < 60
