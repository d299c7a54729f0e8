"""The outline: which cells hold half of a map, and that the lines run along these cells' borders."""

import numpy as np
import pytest
from PIL import Image

from drawing.outline import NEAR_BLACK, border_segments, half_cells, outlined
from tests.drawn import pixels
from tests.slow_glow import slow_half, spiky


def cells_of(*rows: str) -> np.ndarray:
    """Cells from a drawing: # is in."""
    return np.array([[mark == "#" for mark in row] for row in rows])


@pytest.mark.parametrize("shape", [(5, 7), (9, 4), (2, 19), (1, 6)])
@pytest.mark.parametrize("seed", range(5))
def test_the_fewest_cells_that_hold_half(shape: tuple[int, int], seed: int) -> None:
    values = spiky(shape, seed)
    found = {(int(r), int(c)) for r, c in np.argwhere(half_cells(values.astype(float)))}
    assert found == slow_half(values)
    masses = np.sort(np.maximum(values.astype(float), 0).ravel())[::-1]
    assert masses[: len(found)].sum() >= masses.sum() / 2 > masses[: len(found) - 1].sum()


def test_of_equal_cells_the_first_in_reading_order() -> None:
    values = np.array([[0.0, 3, 1, 3], [3, 3, 0, -9], [3, 0, 3, 3]])  # half of 22: four of 3
    assert half_cells(values).tolist() == cells_of(".#.#", "##..", "....").tolist()
    exact = np.array([[2.0, 1, 1]])  # the first holds exactly half
    assert half_cells(exact).tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    "values", [np.zeros((3, 4)), -np.ones((3, 4)), np.full((3, 4), 0.1), np.ones((1, 1))]
)
def test_a_flat_map_has_none(values: np.ndarray) -> None:
    assert not half_cells(values).any()
    image = Image.new("RGB", (40, 30), "teal")
    assert (pixels(outlined(image, half_cells(values))) == (0, 128, 128)).all()


def test_borders_known_on_paper() -> None:
    cells = cells_of("##..", ".#..", "...#")
    assert border_segments(cells) == [
        (0, 0, 2, 0),
        (0, 1, 1, 1),
        (1, 2, 2, 2),
        (3, 2, 4, 2),
        (3, 3, 4, 3),
        (0, 0, 0, 1),
        (1, 1, 1, 2),
        (2, 0, 2, 2),
        (3, 2, 3, 3),
        (4, 2, 4, 3),
    ]


@pytest.mark.parametrize("seed", range(6))
def test_each_border_between_in_and_out_is_drawn_once(seed: int) -> None:
    cells = np.random.default_rng(seed).random((6, 9)) < 0.4
    drawn: list[tuple[int, int, str]] = []
    for x0, y0, x1, y1 in border_segments(cells):
        assert (x0 == x1) != (y0 == y1)
        drawn += [(x, y0, "level") for x in range(x0, x1)] + [(x0, y, "upright") for y in range(y0, y1)]
    at = lambda r, c: 0 <= r < 6 and 0 <= c < 9 and bool(cells[r, c])  # noqa: E731
    expected = [(c, r, "level") for r in range(7) for c in range(9) if at(r, c) != at(r - 1, c)]
    expected += [(c, r, "upright") for r in range(6) for c in range(10) if at(r, c) != at(r, c - 1)]
    assert sorted(drawn) == sorted(expected)


@pytest.mark.parametrize(("size", "scale"), [((300, 420), 1), ((900, 1600), 2)])  # (height, width)
def test_a_white_line_on_a_dark_one_runs_along_the_true_border(size: tuple[int, int], scale: int) -> None:
    height, width = size
    image = Image.new("RGB", (width, height), (0, 128, 128))
    drawn = pixels(outlined(image, cells_of(".......", "..##...", ".......")))
    middle = drawn[height // 2]
    # Columns 2 to 4 of 7: a line's ink, in pixels, is its width, and it is even about the border.
    for border in (2 * width / 7, 4 * width / 7):
        near = slice(round(border) - 6 * scale, round(border) + 6 * scale)
        white = (middle[near, 0] - NEAR_BLACK[0]) / (255 - NEAR_BLACK[0])
        white = np.clip(white, 0, 1) * (middle[near, 0] > NEAR_BLACK[0])
        assert white.sum() == pytest.approx(2.2 * scale, abs=0.1)
        assert (white * (np.arange(near.start, near.stop) + 0.5)).sum() / white.sum() == pytest.approx(
            border, abs=0.1
        )
        away = (middle[near] == (0, 128, 128)).all(1)
        assert (~away).sum() == pytest.approx(4.4 * scale, abs=1.6)
    inside = drawn[height // 3 + 4 * scale : 2 * height // 3 - 4 * scale, 3 * width // 7]
    assert (inside == (0, 128, 128)).all()


def test_at_the_pictures_edge_the_line_stands_inside_it() -> None:
    image = Image.new("RGB", (70, 40), (0, 128, 128))
    drawn = pixels(outlined(image, cells_of("#......", ".......")))
    for line in (drawn[:, 5], drawn[10]):  # from the top, and from the left
        assert line[0, 0] < 60
        assert (line[1:3] > 180).all(1).any()
        assert line[3, 0] < 120
        assert (line[6] == (0, 128, 128)).all()
