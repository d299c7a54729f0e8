"""The window that stands out most in a map, against a search of every place."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from records.crops import SMALLEST, box_within
from records.window import SIDE, TIMES, window_of

Size = tuple[int, int]


def per_pixel(values: np.ndarray, size: Size) -> np.ndarray:
    """Return a map (h, w) as one of pixels (H, W): each has its part of its cell, where cells are whole."""
    high, wide = size[0] // values.shape[0], size[1] // values.shape[1]
    assert (high * values.shape[0], wide * values.shape[1]) == size
    return np.kron(np.clip(values, 0, None), np.ones((high, wide))) / (high * wide)


def slow_window(values: np.ndarray, size: Size) -> tuple[int, int, int, int]:
    """Return the window by trying every pixel as its corner, one after the other."""
    pixels = per_pixel(values, size)
    cell = (size[0] // values.shape[0], size[1] // values.shape[1])
    side = min(SIDE, min(size) / 2)
    best, found = -1.0, (0, 0, 0, 0)
    for times in TIMES:
        high, wide = (
            min(whole, max(round(side * times), one + 1, SMALLEST))
            for whole, one in zip(size, cell, strict=True)
        )
        if (high, wide) == size:
            continue
        sums = {
            (top, left): pixels[top : top + high, left : left + wide].sum()
            for top in range(size[0] - high + 1)
            for left in range(size[1] - wide + 1)
        }
        top, left = max(sums, key=lambda place: sums[place])
        shifted = [(top, left - cell[1]), (top, left + cell[1]), (top - cell[0], left), (top + cell[0], left)]
        near = [sums[place] for place in shifted if place in sums]
        above = (sums[top, left] - np.mean(near)) / (high * wide) if near else 0.0
        if above > best:
            best, found = above, (left, top, left + wide, top + high)
    return found


@pytest.mark.parametrize(
    ("grid", "cell"), [((4, 7), (12, 11)), ((6, 3), (9, 20)), ((5, 9), (11, 10)), ((2, 3), (30, 25))]
)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_window_of_a_search_of_every_place(grid: Size, cell: Size, seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.4, 1, grid) ** 3
    size = (grid[0] * cell[0], grid[1] * cell[1])
    assert window_of(values, size) == slow_window(values, size)


@pytest.mark.parametrize(("cells", "side"), [(8, 224), (9, 269), (11, 314), (14, 403), (16, 448)])
def test_a_hot_square_of_a_large_picture_has_the_window_of_its_size(cells: int, side: int) -> None:
    """A square stands out most in a window that it fills."""
    size, values = (2240, 3360), np.zeros((80, 120))  # cells of 28 pixels
    values[20 : 20 + cells, 50 : 50 + cells] = 1
    left, top, right, bottom = window_of(values, size)
    assert (right - left, bottom - top) == (side, side)
    inside = per_pixel(values, size)[top:bottom, left:right].sum()
    assert math.isclose(inside, values.sum())


@st.composite
def hot_cells(draw: Any) -> tuple[np.ndarray, Size, Size]:
    """Return a map with one hot cell, a picture's size, and the cell."""
    size = draw(st.tuples(st.integers(40, 3000), st.integers(40, 3000)))
    grid = tuple(draw(st.integers(1, min(60, side // 4))) for side in size)
    if grid == (1, 1):
        grid = (2, 1)
    row, column = (draw(st.integers(0, count - 1)) for count in grid)
    values = np.zeros(grid)
    values[row, column] = draw(st.floats(1e-6, 1e3))
    return values, size, (row, column)


@given(hot_cells())
@settings(max_examples=100, deadline=None)
def test_a_single_hot_cell_lies_inside(made: tuple[np.ndarray, Size, Size]) -> None:
    values, size, (row, column) = made
    left, top, right, bottom = window_of(values, size)
    (height, width), (h, w) = size, values.shape
    assert left <= column * width / w + 1e-6
    assert right >= (column + 1) * width / w - 1e-6
    assert top <= row * height / h + 1e-6
    assert bottom >= (row + 1) * height / h - 1e-6
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert (right - left, bottom - top) != (width, height)
    assert box_within((left, top, right, bottom), size) == (left, top, right, bottom)


def test_a_hot_cell_is_in_the_middle_where_there_is_room() -> None:
    values = np.zeros((40, 60))
    values[20, 30] = 1
    left, top, right, bottom = window_of(values, (40 * 28, 60 * 28))
    assert abs((left + right) / 2 - 30.5 * 28) <= 14
    assert abs((top + bottom) / 2 - 20.5 * 28) <= 14


@pytest.mark.parametrize(
    ("values", "size", "line"),
    [
        (np.full((3, 5), 0.2), (84, 140), "flat"),
        (np.full((3, 5), -1.0) * np.arange(5), (84, 140), "flat"),
        (np.array([[1.0]]), (84, 140), "flat"),
        (np.array([[1.0, np.nan]]), (84, 140), "finite"),
        (np.ones(5), (84, 140), r"\(h, w\)"),
        (np.array([[1.0, 0.0]]), (20, 140), "140 × 20 pixels is too small"),
        (np.array([[1.0, 0.0]]), (28, 28), "28 × 28 pixels is too small"),
    ],
)
def test_a_map_that_points_nowhere_is_refused(values: np.ndarray, size: Size, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        window_of(values, size)
