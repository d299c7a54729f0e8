"""Which part of a picture stands out most in a map: the window to take a closer look at.

Goes in: a map (h, w) and the size of its picture. Comes out: a window in pixels of the picture given. Knows
nothing of models and pages.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from records.crops import SMALLEST, Corners

SIDE = 224  # pixels of the smallest window's sides, as published
TIMES = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)  # the windows that are tried: so many times as wide and high
FLAT = "this map is flat: it points at no part of the picture; say which by a box"
_SAME = 1e-9  # of a map's sum: less is rounding


def window_of(values: NDArray[np.floating], size: tuple[int, int]) -> Corners:
    """Return the window of a picture of `size` (h, w) in pixels that stands out most in its map (h, w).

    Windows are squares of 224 pixels of the picture given times 1, 1.2, … 2; in a picture with a side of less
    than twice that, of half its shorter side times these. None is wider or higher than the picture, narrower
    or lower than a cell or than 28 pixels, or all of the picture. Of each size it is the place with the
    largest sum of the map; of the sizes the one whose sum is most above those of the same window one cell to
    the left, right, up and down, for each cell of it (ViCrop: Zhang et al. 2025, arXiv 2502.17422).

    Deviations from the published code: a window begins at any pixel, and cells count by the part of them in
    it, where that code takes whole cells and then puts a window of the size around them; a small picture
    still has windows smaller than itself, where it takes all of it; a value below zero counts nowhere. Of
    equal places it is that nearest to the middle of the map's heat.

    Raises:
        ValueError: one line, for a flat map, for one that is none (h, w) of finite values, and for a picture
            that has no part of 28 pixels a side.
    """
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"expected a map (h, w) of finite values; got shape {values.shape}")
    heat = np.clip(values.astype(np.float64), 0, None)
    if heat.max() - heat.min() <= _SAME * heat.max():
        raise ValueError(FLAT)
    grid = (values.shape[0], values.shape[1])
    sizes = _sizes(size, grid)
    if min(size) < SMALLEST or not sizes:
        raise ValueError(f"a picture of {size[1]} × {size[0]} pixels is too small to be cut")
    windows = [_place(heat, size, window) for window in sizes]
    best = max(windows, key=lambda window: round(window.above / heat.sum(), 12))  # of equal ones the smallest
    (top, left), (height, width) = best.start, best.size
    return left, top, left + width, top + height


class _Window(NamedTuple):
    """The best place of a window of one size, and how far it stands out."""

    start: tuple[int, int]  # (top, left)
    size: tuple[int, int]  # (h, w) in pixels
    above: float  # its sum less the mean of its neighbours', for each cell


def _sizes(size: tuple[int, int], grid: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the windows (h, w) in pixels that are tried in a picture, smallest first."""
    side = min(SIDE, min(size) / 2)
    found: list[tuple[int, int]] = []
    for times in TIMES:
        # A cell's height or width, rounded up, may begin within a pixel: one more holds it whole.
        least = [math.ceil(pixels / cells) + 1 for pixels, cells in zip(size, grid, strict=True)]
        high, wide = (
            min(pixels, max(round(side * times), cell, SMALLEST))
            for pixels, cell in zip(size, least, strict=True)
        )
        if (high, wide) != size and (high, wide) not in found:
            found.append((high, wide))
    return found


def _place(heat: NDArray[np.float64], size: tuple[int, int], window: tuple[int, int]) -> _Window:
    """Return the place of a window with the largest sum, and how far that is above its neighbours'."""
    cells = (size[0] / heat.shape[0], size[1] / heat.shape[1])
    starts = [_starts(*side) for side in zip(size, heat.shape, window, strict=True)]
    rows, columns = (
        _covered(begin, wide, pixels, count)
        for begin, wide, pixels, count in zip(starts, window, size, heat.shape, strict=True)
    )
    sums = rows @ heat @ columns.T  # (top, left)
    best = np.argwhere(sums >= sums.max() - _SAME * heat.sum())
    middle = [_middle(heat.sum(axis=1 - axis), cells[axis]) for axis in (0, 1)]
    centres = np.stack([starts[axis][best[:, axis]] + window[axis] / 2 for axis in (0, 1)], axis=1)
    row, column = best[np.argmin(((centres - middle) ** 2).sum(axis=1))]
    start = (int(starts[0][row]), int(starts[1][column]))
    near = [
        _sum(heat, size, (start[0] + down * cells[0], start[1] + right * cells[1]), window)
        for down, right in ((0, -1), (0, 1), (-1, 0), (1, 0))
        if 0 <= start[0] + down * cells[0] <= size[0] - window[0]
        and 0 <= start[1] + right * cells[1] <= size[1] - window[1]
    ]
    area = window[0] * window[1] / (cells[0] * cells[1])
    return _Window(start, window, (float(sums[row, column]) - float(np.mean(near))) / area if near else 0.0)


def _starts(pixels: int, count: int, window: int) -> NDArray[np.int64]:
    """Return where a window along one side can have its largest sum, in whole pixels, ascending.

    Between two borders of cells that one of its ends crosses, the sum is linear: the largest is beside one.
    """
    borders = np.arange(count + 1) * (pixels / count)
    ends = np.concatenate([borders, borders - window])
    near = np.concatenate([np.floor(ends), np.ceil(ends), [0, pixels - window]])
    return np.unique(near[(near >= 0) & (near <= pixels - window)]).astype(np.int64)


def _covered(starts: NDArray[Any], window: int, pixels: int, count: int) -> NDArray[np.float64]:
    """Return which part of each cell a window along one side covers (start, cell), 0..1."""
    borders = np.arange(count + 1) * (pixels / count)
    ends = np.minimum(borders[1:], starts[:, None] + window)
    between = ends - np.maximum(borders[:-1], starts[:, None])
    return np.clip(between, 0, None) * count / pixels


def _sum(
    heat: NDArray[np.float64], size: tuple[int, int], start: tuple[float, float], window: tuple[int, int]
) -> float:
    """Return the sum of a map in one window."""
    rows, columns = (
        _covered(np.array([begin]), wide, pixels, count)[0]
        for begin, wide, pixels, count in zip(start, window, size, heat.shape, strict=True)
    )
    return float(rows @ heat @ columns)


def _middle(heat: NDArray[np.float64], cell: float) -> float:
    """Return the middle of the heat along one side, in pixels."""
    return float(((np.arange(len(heat)) + 0.5) * heat).sum() / heat.sum() * cell)
