"""Boxes over a picture: where their lines are, which stand out, and that names stay inside."""

import numpy as np
import pytest
from PIL import Image

from drawing.boxes import BLUE, Boxes, draw_boxes
from drawing.colours import WHITE
from records.boxes import Box

GREY = (120, 120, 120)
SIZE = (100, 300)  # (h, w) of the picture given; it is drawn twice as large
CAT = Box("cat", (30, 40, 90, 80), (0,))
NOSE = Box("", (200.0, 50.0, 200.0, 50.0), (1,))


def drawn(found: Boxes, place: tuple[int, int, int, int] | None = None, **how: bool) -> np.ndarray:
    picture = Image.new("RGB", (640, 240), GREY)
    draw_boxes(picture, found, place, **how)
    return np.asarray(picture).astype(int)


def is_blue(pixels: np.ndarray) -> np.ndarray:
    return (pixels == BLUE).all(-1)


@pytest.mark.parametrize("place", [(0, 0, 600, 200), (40, 20, 640, 220)])
def test_a_box_is_drawn_along_its_sides(place: tuple[int, int, int, int]) -> None:
    blue = is_blue(drawn(Boxes((CAT,), SIZE), place))
    left, top = place[:2]
    middle_y, middle_x = top + 120, left + 150  # away from the name
    across, down = np.flatnonzero(blue[middle_y]), np.flatnonzero(blue[:, middle_x])
    assert across.min() - left == pytest.approx(60, abs=1)
    assert across.max() + 1 - left == pytest.approx(180, abs=1)
    assert down.min() - top == pytest.approx(80, abs=1)
    assert down.max() + 1 - top == pytest.approx(160, abs=1)


def test_a_chosen_box_has_thicker_lines_and_a_white_name() -> None:
    plain, chosen = (
        drawn(Boxes((CAT,), SIZE), (0, 0, 600, 200)),
        drawn(Boxes((CAT,), SIZE, (0,)), (0, 0, 600, 200)),
    )
    assert is_blue(chosen)[120].sum() == 2 * is_blue(plain)[120].sum() > 0
    white = (chosen == WHITE).all(-1)
    assert white[40:80, 55:100].any()
    assert not (plain == WHITE).all(-1).any()


def test_a_point_is_a_dot_there() -> None:
    blue = is_blue(drawn(Boxes((NOSE,), SIZE), (0, 0, 600, 200)))
    rows, columns = np.nonzero(blue[94:107, 380:420])
    assert (rows.mean() + 94, columns.mean() + 380) == pytest.approx((100, 400), abs=1)


def test_only_chosen_ones_can_be_drawn() -> None:
    found = Boxes((CAT, NOSE), SIZE, (1,))
    both, one = drawn(found, (0, 0, 600, 200)), drawn(found, (0, 0, 600, 200), all_=False)
    assert is_blue(both)[120, 50:190].any()
    assert not is_blue(one)[120, 50:190].any()
    assert is_blue(one)[100, 395:405].any()
    assert (drawn(found._replace(chosen=()), all_=False) == GREY).all()


@pytest.mark.parametrize(
    "corners", [(0, 0, 20, 20), (280, 0, 300, 10), (290, 90, 300, 100), (0, 0, 300, 100)]
)
def test_nothing_is_drawn_beyond_the_picture(corners: tuple[float, float, float, float]) -> None:
    box = Box("a rather long name of something " * 3, corners, (0,))
    pixels = drawn(Boxes((box,), SIZE), (20, 20, 620, 220))
    pixels[20 - 2 : 220 + 2, 20 - 2 : 620 + 2] = GREY  # but for half a line
    assert (pixels == GREY).all()
