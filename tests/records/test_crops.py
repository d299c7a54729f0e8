"""A part cut out of a picture: its pixels, its place, and what it gains."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from records.crops import (
    SMALLEST,
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
)
from records.visuals import Visual, picture_visual

Size = tuple[int, int]


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
