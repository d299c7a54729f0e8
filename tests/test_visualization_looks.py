"""Contrast and crosses: what a look changes of a map's pixels, and what it leaves."""

from typing import Any

import numpy as np
import pytest

import visualization
from drawing.colours import palette
from drawing.enlarge import smooth_rows
from records.look import Look
from tests.drawn import bumpy, picture, pixels
from visualization import heatmap, overlay, visualize_attention_on_image


@pytest.mark.parametrize("gamma", [0.25, 0.5, 2.0, 3.7])
def test_contrast_raises_a_values_place_between_the_ends_to_a_power(gamma: float) -> None:
    values = bumpy().astype(np.float64)
    drawn = pixels(heatmap(values, (5, 7), Look("magma", gamma=gamma)))
    table = palette("magma")
    low, high = values.min(), values.max()
    for row, col in np.ndindex(values.shape):
        place = ((values[row, col] - low) / (high - low)) ** gamma
        assert drawn[row, col].tolist() == table[min(int(place * 256), 255)].tolist()
    linear = pixels(heatmap(values, (5, 7), Look("magma")))
    for end in (values.argmin(), values.argmax()):
        assert drawn.reshape(-1, 3)[end].tolist() == linear.reshape(-1, 3)[end].tolist()
    assert (drawn != linear).any()


def test_contrast_below_one_lifts_faint_cells_and_above_one_leaves_the_strong_ones() -> None:
    values = np.linspace(0, 1, 35).reshape(5, 7)
    lifted, linear, left = (
        pixels(heatmap(values, (5, 7), Look("gray", gamma=gamma)))[..., 0] for gamma in (0.5, 1.0, 2.0)
    )
    assert (lifted >= linear).all()
    assert (linear >= left).all()
    assert lifted.sum() > linear.sum() > left.sum()


@pytest.mark.parametrize("view", ["overlay", "side by side", "heatmap"])
def test_contrast_one_is_as_without_and_smooth_maps_have_it_too(view: str) -> None:
    image, values = picture(60, 97), bumpy()
    plain = visualize_attention_on_image(image, values, "cividis", 0.7, view)
    one = visualize_attention_on_image(image, values, "cividis", 0.7, view, gamma=1.0)
    np.testing.assert_array_equal(pixels(one), pixels(plain))
    smooth = pixels(heatmap(values, (60, 97), Look("cividis", smooth=True, gamma=2.0)))
    blended = smooth_rows(values.astype(np.float64), (60, 97), slice(0, 60))
    share = np.clip((blended - values.min()) / np.float64(values.max() - values.min()), 0, 1) ** 2
    table = palette("cividis")
    expected = table[np.minimum((share * len(table)).astype(int), len(table) - 1)].astype(int)
    assert (np.abs(smooth - expected).max(axis=2) <= 3).all()  # the next of 256 colours at most
    assert (smooth == expected).all(axis=2).mean() > 0.99


@pytest.mark.parametrize("gamma", [0, 0.09, -1, 10.5, float("nan"), float("inf"), True, "1", None])
def test_a_contrast_that_cannot_be_drawn_is_refused(gamma: Any) -> None:
    with pytest.raises(ValueError, match=r"^gamma must be a number from 0.1 to 10; got [^\n]+$"):
        Look(gamma=gamma)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(
    ("grid", "size", "crossed"),
    [((5, 7), (100, 168), (9, 33)), ((4, 3), (403, 251), (0, 5, 11)), ((2, 9), (47, 640), (8,))],
)
def test_a_cross_covers_both_diagonals_of_its_cells_and_no_other_cell(
    grid: tuple[int, int], size: tuple[int, int], crossed: tuple[int, ...], smooth: bool
) -> None:
    values = np.full(grid, 0.5)
    values[0, 1] = 0.6
    plain = pixels(heatmap(values, size, Look("plasma", smooth=smooth)))
    drawn = pixels(heatmap(values, size, Look("plasma", smooth=smooth, crossed=crossed)))
    changed = (plain != drawn).any(axis=2)
    height, width = size[0] / grid[0], size[1] / grid[1]
    near = np.zeros(size, dtype=bool)
    for cell in crossed:
        row, col = divmod(cell, grid[1])
        for step in np.linspace(0.1, 0.9, 33):
            for across in (step, 1 - step):
                y, x = int((row + step) * height), int((col + across) * width)
                assert changed[y - 1 : y + 2, x - 1 : x + 2].any(), (cell, y, x)
                around = drawn[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].reshape(-1, 3)
                assert (around >= 250).all(axis=1).any(), "no white line"
        reach = 3  # half of a line's width, and rounding
        top, left = max(0, int(row * height) - reach), max(0, int(col * width) - reach)
        near[top : int((row + 1) * height) + reach, left : int((col + 1) * width) + reach] = True
        middle = changed[int((row + 0.35) * height) : int((row + 0.65) * height), :]
        assert not middle[:, int(col * width) : int((col + 0.15) * width)].any()
    assert not (changed & ~near).any()


@pytest.mark.parametrize("view", ["overlay", "side by side", "heatmap", "spotlight"])
def test_every_view_of_the_map_is_crossed_and_the_picture_itself_is_not(view: str) -> None:
    image, values = picture(100, 168), bumpy()
    plain, crossed = (
        visualize_attention_on_image(image, values, view=view, crossed=cells) for cells in ((), (9,))
    )
    assert crossed.info == plain.info
    changed = (pixels(plain) != pixels(crossed)).any(axis=2)
    left, top, right, bottom = plain.info["picture_box"]
    inside = changed[top:bottom, left:right]
    assert inside[30, 60]  # the middle of row 1, column 2: cells are 20 × 24
    assert changed.sum() == inside.sum()


@pytest.mark.parametrize("cell", [-1, 35, 1000])
def test_a_cell_beyond_the_grid_is_not_crossed_out(cell: int) -> None:
    look = Look(crossed=(3, cell))
    for draw in (lambda: overlay(picture(50, 70), bumpy(), look), lambda: heatmap(bumpy(), (50, 70), look)):
        with pytest.raises(ValueError, match=rf"no cell {cell} to cross out in a grid \(h, w\)=\(5, 7\)"):
            draw()


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_the_label_names_a_contrast(gamma: float) -> None:
    label = visualization.scale_of(np.array([[0.01, 0.09]]), Look("viridis", gamma=gamma)).label
    assert label == "share of attention" + (f" (γ {gamma:.2f})" if gamma != 1 else "")
