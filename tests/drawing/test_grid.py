"""Grids: every picture is in its place, pixel for pixel, and nothing covers it."""

import matplotlib
import numpy as np
import pytest

from drawing.colour_bar import Scale
from drawing.grid import overlay_grid
from tests.drawn import boxed, picture, pixels


def test_overlay_grid_keeps_order_pixels_and_places() -> None:
    pictures = [picture(40 + 5 * i, 60 + 3 * i, seed=i) for i in range(5)]
    sheet = overlay_grid(pictures, [f"{i} word" for i in range(5)], columns=3)
    boxes = sheet.info["boxes"]
    assert len(boxes) == 5
    for one, box in zip(pictures, boxes, strict=True):
        np.testing.assert_array_equal(pixels(sheet.crop(box)), pixels(one))
    assert [box[1] == boxes[0][1] for box in boxes] == [True, True, True, False, False]
    assert boxes[0][0] == boxes[3][0] < boxes[1][0] == boxes[4][0] < boxes[2][0]
    labels = pixels(sheet)[: boxes[0][1]]
    assert (labels < 128).any()


def test_overlay_grid_with_a_shared_colour_bar_and_title() -> None:
    pictures = [picture(40, 60, seed=i) for i in range(7)]
    sheet = overlay_grid(pictures, ["x"] * 7, title="All tokens", scale=Scale("jet", 0, 0.5))
    for one, box in zip(pictures, sheet.info["boxes"], strict=True):
        np.testing.assert_array_equal(pixels(sheet.crop(box)), pixels(one))
    x0, y0 = sheet.info["bar_box"][:2]
    assert all(x0 >= box[2] or y0 >= box[3] for box in sheet.info["boxes"])
    hottest = matplotlib.colormaps["jet"](1.0, bytes=True)[:3]
    np.testing.assert_array_equal(boxed(sheet, "bar_box")[0, -1], hottest)


def test_overlay_grid_is_not_a_ribbon() -> None:
    sheet = overlay_grid([picture(40, 60)] * 30, [str(i) for i in range(30)])
    assert 0.8 < sheet.width / sheet.height < 2.2


def test_overlay_grid_refuses_what_does_not_match() -> None:
    with pytest.raises(ValueError, match="2 pictures, 1 labels"):
        overlay_grid([picture(9, 8)] * 2, ["a"])
    with pytest.raises(ValueError, match="0 pictures"):
        overlay_grid([], [])
    with pytest.raises(ValueError, match="columns must be at least 1; got 0"):
        overlay_grid([picture(9, 8)], ["a"], columns=0)
