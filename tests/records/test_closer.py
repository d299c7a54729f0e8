"""A closer look: the window against a search of every place, the crop, and what it gains."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from records.closer import (
    SIDE,
    SMALLEST,
    TIMES,
    Crop,
    box_within,
    crop_of_json,
    cropped,
    detail,
    detail_gain,
    gain_text,
    in_its_place,
    most_gain,
    moved,
    window_of,
    with_place,
    without_place,
)
from records.visuals import Visual, picture_visual

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
    """One of the paper's: the square stands out most from what is a cell beside it in a window just as large."""
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


# --- The crop -----------------------------------------------------------------------------------------------


def noise(size: Size, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize(
    ("box", "whole"),
    [
        ((30, 20, 90, 55), (30, 20, 90, 55)),
        ((90, 55, 30, 20), (30, 20, 90, 55)),  # dragged upwards, to the left
        ((30.2, 19.9, 89.01, 54.5), (30, 19, 90, 55)),
        ((-50, -1, 40, 900), (0, 0, 40, 80)),
    ],
)
def test_the_crop_has_the_pictures_own_pixels(box: tuple[float, ...], whole: tuple[int, ...]) -> None:
    picture = noise((80, 130))
    assert box_within(box, (80, 130)) == whole
    left, top, right, bottom = whole
    np.testing.assert_array_equal(
        np.asarray(cropped(picture, box)), np.asarray(picture)[top:bottom, left:right]
    )


@pytest.mark.parametrize(
    ("box", "line"),
    [
        ((10, 10, 10, 50), "too small, 0 × 40 pixels; each side needs at least 28"),
        ((10, 10, 60, 37), "too small, 50 × 27 pixels"),
        ((120, 10, 400, 70), "too small, 10 × 60 pixels"),  # of what is within the picture
        ((130, 0, 200, 80), "outside of the picture, which has 130 × 80 pixels"),
        ((-90, -90, 0, 80), "outside of the picture"),
        ((0, 0, 50), "four numbers"),
        ((0, 0, math.nan, 50), "four numbers"),
    ],
)
def test_what_is_no_box_of_the_picture_is_refused(box: tuple[float, ...], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        cropped(noise((80, 130)), box)


@given(
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(SMALLEST, 900),
    st.integers(SMALLEST, 900),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
@settings(max_examples=100, deadline=None)
def test_cells_of_the_crop_lie_in_their_place(left: int, top: int, wide: int, high: int, grid: Size) -> None:
    box = (left, top, left + wide, top + high)
    place = in_its_place(box, grid)
    assert place.corners(0, 0)[:2] == (left, top)
    assert np.allclose(place.corners(grid[0] - 1, grid[1] - 1)[2:], box[2:])
    for row, column in [(0, 0), (grid[0] - 1, 0), (grid[0] // 2, grid[1] - 1)]:
        x0, y0, x1, y1 = place.corners(row, column)
        assert place.cell((x0 + x1) / 2, (y0 + y1) / 2) == (row, column)
        assert np.isclose((x1 - x0) * grid[1], wide)
        assert np.isclose((y1 - y0) * grid[0], high)


# --- What it gains ------------------------------------------------------------------------------------------


def test_a_picture_that_was_shrunk_has_more_to_show() -> None:
    whole = picture_visual((26, 47), (1080, 1920), "a")  # seen in 728 x 1316 pixels
    crop = picture_visual((8, 9), (224, 252), "b")  # seen in all its pixels
    expected = math.sqrt((1080 / (26 * 28)) * (1920 / (47 * 28)))
    assert math.isclose(detail_gain(whole, crop, 28), expected)
    assert math.isclose(most_gain(whole, 28), expected)
    assert gain_text(expected) == "The crop shows 1.5 times the detail, along each side."
    large = picture_visual((30, 40), (1000, 1900), "c")  # a crop that is shrunk as well
    assert detail_gain(whole, large, 28) < expected


def test_what_was_not_shrunk_gains_nothing_though_it_is_enlarged() -> None:
    whole, crop = picture_visual((7, 14), (196, 392), "a"), picture_visual((8, 8), (112, 112), "b")
    assert detail(crop, 28) == detail(whole, 28) == detail_gain(whole, crop, 28) == 1.0
    assert gain_text(1.0).startswith("The crop shows no more detail")
    nearly = picture_visual((7, 14), (200, 400), "a")  # to whole cells: 2 %
    assert 1 < most_gain(nearly, 28) < 1.05
    assert gain_text(most_gain(nearly, 28)) == gain_text(1.0)


# --- What an answer keeps -----------------------------------------------------------------------------------

WHOLE = picture_visual((5, 7), (140, 196), "a")
CUT = Visual("picture 2", "image", (1, 3, 2), 35, (90, 60), "b")
CLIP = Visual("clip", "video", (1, 3, 2), 35, (90, 60), "b", (0.0,))


def test_a_crop_is_kept_as_json() -> None:
    crop = Crop(1, 0, (20, 30, 80, 120))
    assert crop_of_json(json.loads(json.dumps(crop.as_json))) == crop
    crop.check([WHOLE, CUT])
    assert moved((1, 2, 30.5, 40), crop) == (21, 32, 50.5, 70)


@pytest.mark.parametrize(
    ("crop", "visuals"),
    [
        (Crop(1, 0, (20, 30, 80, 120)), [WHOLE]),
        (Crop(1, 0, (20, 30, 80, 119)), [WHOLE, CUT]),
        (Crop(1, 0, (140, 30, 200, 120)), [WHOLE, CUT]),
        (Crop(1, 0, (20, 30, 80, 120)), [WHOLE, CLIP]),
        (Crop(0, 1, (20, 30, 80, 120)), [WHOLE, CUT]),
    ],
)
def test_a_crop_of_another_answer_is_refused(crop: Crop, visuals: list[Visual]) -> None:
    with pytest.raises(ValueError, match="crop"):
        crop.check(visuals)


@pytest.mark.parametrize(("of", "box"), [(1, (0, 0, 30, 30)), (-1, (0, 0, 30, 30)), (0, (30, 0, 30, 30))])
def test_a_crop_that_is_none_is_refused(of: int, box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="expected a"):
        Crop(1, of, box)


@pytest.mark.parametrize(
    ("prompt", "kinds", "more"),
    [
        ("What is it?", ["image"], "What is it?"),
        ("Is <image> red?", ["image"], "Is <image><image> red?"),
        ("<image> or <image>?", ["image", "image"], "<image> or <image><image>?"),
        ("<image> in <video>?", ["image", "video"], "<image> in <video><image>?"),
        ("Is <video> red?", ["image"], "Is <video> red?"),  # a word like any, where there is no clip
        ("And now?", [], "And now?"),
    ],
)
def test_the_crops_place_in_a_prompt_follows_the_last(prompt: str, kinds: Any, more: str) -> None:
    assert with_place(prompt, kinds) == more
    assert with_place(more, kinds) == more
    assert without_place(more, [*kinds, "image"]) == prompt
