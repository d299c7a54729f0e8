"""Pictures: every pixel against a slower, plainer drawing; letters, scales and refusals."""

import os
import subprocess
import sys
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import config
import visualization
from visualization import (
    Look,
    Scale,
    cell_index,
    colormaps,
    colour_bar,
    drawable,
    fitted,
    heatmap,
    isolated,
    number_labels,
    overlay,
    overlay_grid,
    save_image,
    shared_range,
    side_by_side,
    visualize_attention_on_image,
)

# (map (h, w), cell of the spike, picture (height, width)): wide, portrait, flat, tall, two pixels a cell
SHAPES = [
    ((5, 7), (1, 4), (180, 500)),
    ((7, 5), (4, 1), (500, 180)),
    ((3, 25), (2, 20), (61, 709)),
    ((21, 2), (17, 0), (613, 47)),
    ((5, 7), (3, 6), (11, 17)),
]


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def bumpy(h: int = 5, w: int = 7) -> NDArray[np.float32]:
    return (np.random.default_rng(1).random((h, w)) / 50).astype(np.float32)


def spike(shape: tuple[int, int], cell: tuple[int, int]) -> NDArray[np.float32]:
    values = np.full(shape, 0.001, np.float32)
    values[cell] = 0.05
    return values


def pixels(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image).astype(np.int64)


def boxed(image: Image.Image, name: str = "picture_box") -> NDArray[np.int64]:
    return pixels(image.crop(image.info[name]))


def cell_by_definition(pixel: int, size: int, cells: int) -> int:
    """The cell r with r·size/cells <= pixel < (r+1)·size/cells, in exact fractions."""
    return next(
        r for r in range(cells) if Fraction(r * size, cells) <= pixel < Fraction((r + 1) * size, cells)
    )


def slow_overlay(
    image: Image.Image, values: NDArray[np.float32], colormap: str, alpha: float
) -> NDArray[np.int64]:
    """Pixel by pixel, with matplotlib's own colour look-up on floats."""
    low, high = float(values.min()), float(values.max())
    out = np.zeros((image.height, image.width, 3), np.int64)
    for y in range(image.height):
        for x in range(image.width):
            r = cell_by_definition(y, image.height, values.shape[0])
            c = cell_by_definition(x, image.width, values.shape[1])
            share = (float(values[r, c]) - low) / (high - low)
            colour = matplotlib.colormaps[colormap](share, bytes=True)[:3]
            under = image.getpixel((x, y))
            assert isinstance(under, tuple)
            out[y, x] = [
                round((1 - alpha) * u + alpha * float(k)) for u, k in zip(under, colour, strict=True)
            ]
    return out


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


# --- the right pixels ---


@pytest.mark.parametrize(
    ("colormap", "alpha"), [("viridis", 0.6), ("jet", 0.35), ("tab10", 0.5), ("gray_r", 1)]
)
def test_overlay_equals_a_pixel_by_pixel_drawing(colormap: str, alpha: float) -> None:
    image, values = picture(23, 41), bumpy()
    drawn = overlay(image, values, Look(colormap=colormap, alpha=alpha))
    assert drawn.mode == "RGB"
    assert drawn.size == image.size
    np.testing.assert_array_equal(pixels(drawn), slow_overlay(image, values, colormap, alpha))


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("shape", "cell", "size"), SHAPES)
def test_a_spike_peaks_inside_its_cell(
    shape: tuple[int, int], cell: tuple[int, int], size: tuple[int, int], smooth: bool
) -> None:
    black = Image.new("RGB", (size[1], size[0]))
    result = visualize_attention_on_image(black, spike(shape, cell), "gray", 0.5, "overlay", smooth)
    seen = boxed(result)[..., 0]
    y, x = np.unravel_index(seen.argmax(), seen.shape)
    assert cell[0] * size[0] / shape[0] <= y < (cell[0] + 1) * size[0] / shape[0]
    assert cell[1] * size[1] / shape[1] <= x < (cell[1] + 1) * size[1] / shape[1]
    outside = (cell_index(size[0], shape[0]) != cell[0])[:, None] | (cell_index(size[1], shape[1]) != cell[1])
    assert seen.max() > seen[outside].max()


def test_a_cell_is_flat_and_fills_its_exact_pixels() -> None:
    drawn = pixels(heatmap(spike((5, 7), (1, 4)), (180, 500), Look(colormap="gray")))[..., 0]
    rows, columns = np.nonzero(drawn == 255)
    assert (rows.min(), rows.max()) == (36, 71)
    assert (columns.min(), columns.max()) == (286, 357)  # 4·500/7 = 285.7, 5·500/7 = 357.1
    assert (drawn == 255).sum() == 36 * 72
    assert set(np.unique(drawn)) == {0, 255}


@pytest.mark.parametrize("view", ["overlay", "side by side", "heatmap"])
def test_hottest_cell_is_red_and_coldest_blue_under_jet(view: str) -> None:
    values = spike((5, 7), (1, 4))
    grey = Image.new("RGB", (500, 180), (128, 128, 128))
    drawn = boxed(visualize_attention_on_image(grey, values, colormap="jet", alpha=0.5, view=view))
    hot, cold = drawn[54, 321], drawn[126, 107]
    assert hot[0] > hot[1] + 40
    assert hot[0] > hot[2] + 40
    assert cold[2] > cold[0] + 40
    assert cold[2] > cold[1] + 40


def test_alpha_zero_is_the_picture_and_one_the_map() -> None:
    image, values = picture(60, 97), bumpy()
    np.testing.assert_array_equal(pixels(overlay(image, values, Look(alpha=0))), pixels(image))
    alone = heatmap(values, (60, 97), Look())
    np.testing.assert_array_equal(pixels(overlay(image, values, Look(alpha=1))), pixels(alone))


def test_smooth_equals_a_pixel_by_pixel_blend() -> None:
    values = bumpy(4, 3).astype(np.float64)
    size = (67, 31)  # more rows than are drawn at a time
    drawn = np.vstack([visualization.smooth_rows(values, size, slice(a, b)) for a, b in ((0, 64), (64, 67))])
    np.testing.assert_allclose(drawn, slow_smooth(values, size), rtol=0, atol=1e-15)
    look = Look(colormap="cividis", smooth=True)
    expected = visualization.colours(drawn, "cividis", values.min(), values.max())
    np.testing.assert_array_equal(pixels(heatmap(values, size, look)), expected)


def test_smooth_never_leaves_the_range_and_keeps_the_higher_of_two_near_peaks() -> None:
    values = np.array([[0.0, 0.99, 1.0, 0.0, 0.2], [0.1, 0.3, 0.2, 0.0, 0.0]])
    drawn = visualization.smooth_rows(values, (90, 350), slice(0, 90))
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


def test_a_picture_with_fewer_pixels_than_cells_is_enlarged_until_every_cell_shows() -> None:
    values = np.arange(35.0).reshape(5, 7)
    drawn = overlay(picture(4, 3), values, Look("gray", alpha=1))
    assert drawn.height >= 5
    assert drawn.width >= 7
    assert len(np.unique(pixels(drawn))) == 35


def test_side_by_side_keeps_the_picture_and_the_overlay() -> None:
    image, values = picture(90, 130), bumpy()
    pair = side_by_side(image, values, Look(colormap="plasma"))
    np.testing.assert_array_equal(boxed(pair, "original_box"), pixels(image))
    np.testing.assert_array_equal(boxed(pair), pixels(overlay(image, values, Look(colormap="plasma"))))
    gap = pixels(pair)[:, 130 : pair.info["picture_box"][0]]
    assert gap.size
    assert (gap == 255).all()
    whole = visualize_attention_on_image(image, values, "plasma", view="side by side", title="token 3")
    np.testing.assert_array_equal(boxed(whole, "original_box"), pixels(image))
    np.testing.assert_array_equal(boxed(whole), boxed(pair))


def test_the_given_picture_is_not_changed_and_see_through_parts_are_white() -> None:
    image = Image.new("RGBA", (60, 40), (255, 0, 0, 0))
    before = image.tobytes()
    drawn = overlay(image, bumpy(), Look(alpha=0))
    assert (pixels(drawn) == 255).all()
    assert image.tobytes() == before


# --- scales ---


def test_constant_map_is_drawn_in_the_lowest_colour_with_one_number() -> None:
    image, values = picture(60, 97), np.full((5, 7), 0.0125, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = visualize_attention_on_image(image, values, "viridis", 1.0)
        smooth = visualize_attention_on_image(image, values, "viridis", 1.0, smooth=True)
    lowest = np.array(matplotlib.colormaps["viridis"](0.0, bytes=True)[:3])
    for result in (drawn, smooth):
        assert (boxed(result) == lowest).all()
        assert (boxed(result, "bar_box") == lowest).all()
    assert visualization._ticks(Scale("viridis", 0.0125, 0.0125), 5) == ([0.0125], ["1.25 %"])


def test_shared_range_gives_equal_values_equal_colours() -> None:
    weak, strong = np.array([[0.01, 0.02, 0.03]]), np.array([[0.02], [0.08]])
    low, high = shared_range([weak, strong])
    assert (low, high) == shared_range([strong, weak]) == (0.01, 0.08)
    look = Look(vmin=low, vmax=high)
    first, second = heatmap(weak, (4, 9), look), heatmap(strong, (8, 5), look)
    assert first.getpixel((4, 0)) == second.getpixel((0, 0))
    assert heatmap(weak, (4, 9), Look()).getpixel((8, 0)) == second.getpixel(
        (0, 7)
    )  # own scale: both hottest
    assert first.getpixel((8, 0)) != second.getpixel((0, 7))


def test_values_beyond_the_scale_take_the_end_colours_and_the_bar_says_so() -> None:
    values = np.array([[0.0, 0.2, 0.5, 0.9]])
    look = Look(vmin=0.2, vmax=0.5)
    drawn = pixels(heatmap(values, (3, 8), look))
    np.testing.assert_array_equal(drawn[0, 0], drawn[0, 2])
    np.testing.assert_array_equal(drawn[0, 4], drawn[0, 6])
    scale = visualization.scale_of(values, look)
    labels = visualization._ticks(scale, 5)[1]
    assert (labels[0], labels[-1]) == ("≤ 20.0 %", "≥ 50.0 %")
    inside = visualization.scale_of(values, Look())
    assert (inside.below, inside.above) == (False, False)


@pytest.mark.parametrize(
    ("values", "unit", "labels"),
    [
        ([0.0, 0.0123, 0.02], "%", ["0 %", "1.23 %", "2.00 %"]),
        ([1e-12, 0.01], "%", ["0.00 %", "1.00 %"]),  # exactly 0 is printed as 0, nearly 0 is not
        ([0.0005, 0.0006], "%", ["0.0500 %", "0.0600 %"]),
        ([2e-9, 3e-9], "%", ["2.00×10⁻⁷ %", "3.00×10⁻⁷ %"]),
        ([-3.25, 5], "", ["−3.25", "5.00"]),
        ([5e9, 7e9], "logits", ["5.00×10⁹ logits", "7.00×10⁹ logits"]),
        ([5e-324, 1e-323], "", ["0.000000000×10⁻³⁰⁰"] * 2),
        ([0.0], "%", ["0 %"]),
        ([-1e-12, 0.01], "%", ["0.00 %", "1.00 %"]),  # no minus before what reads as zero
        ([-0.0004, 0.4], "nats", ["0.000 nats", "0.400 nats"]),
        ([-0.006, 0.4], "", ["−0.006", "0.400"]),
        ([-0.0, 1.0], "", ["0", "1.00"]),
    ],
)
def test_number_labels(values: list[float], unit: str, labels: list[str]) -> None:
    assert number_labels(values, unit) == labels


def test_ticks_are_the_real_ends_and_round_values_between() -> None:
    values, labels = visualization._ticks(Scale("viridis", 0.0003, 0.0231), 5)
    assert (values[0], values[-1]) == (0.0003, 0.0231)
    assert values[1:-1] == pytest.approx([0.005, 0.01, 0.015, 0.02])
    assert (labels[0], labels[-1]) == ("0.03 %", "2.31 %")


@pytest.mark.parametrize("colormap", ["viridis", "jet", "tab10"])
@pytest.mark.parametrize("horizontal", [False, True])
def test_colour_bar_runs_from_the_lowest_to_the_highest_colour(colormap: str, horizontal: bool) -> None:
    bar = boxed(colour_bar(Scale(colormap, 0.0, 0.02), 300, 14, horizontal), "bar_box")
    line = bar[len(bar) // 2] if horizontal else bar[::-1, bar.shape[1] // 2]  # lowest first
    table = matplotlib.colormaps[colormap]
    np.testing.assert_array_equal(line[0], table(0.0, bytes=True)[:3])
    np.testing.assert_array_equal(line[-1], table(1.0, bytes=True)[:3])
    shares = np.linspace(0, 1, len(line))
    np.testing.assert_array_equal(line, table(shares, bytes=True)[:, :3])


def test_colour_bar_prints_its_own_numbers() -> None:
    first, second = (colour_bar(Scale("viridis", 0.0, top), 300, 14) for top in (0.02, 0.03))
    np.testing.assert_array_equal(boxed(first, "bar_box"), boxed(second, "bar_box"))
    assert pixels(first).shape != pixels(second).shape or (pixels(first) != pixels(second)).any()


@pytest.mark.parametrize("colormap", ["viridis", "jet"])
@pytest.mark.parametrize("size", [(180, 500), (500, 180), (80, 700), (600, 45), (30, 30), (9, 11)])
def test_colour_bar_and_title_stand_outside_the_picture(size: tuple[int, int], colormap: str) -> None:
    image, values = picture(*size), bumpy(3, 4)
    expected = pixels(overlay(image, values, Look(colormap=colormap)))
    plain = visualize_attention_on_image(image, values, colormap)
    assert plain.info["picture_box"] == (0, 0, size[1], size[0])
    titled = visualize_attention_on_image(
        image, values, colormap, title="token 3 of 12", subtitle="layers 0–3"
    )
    for result in (plain, titled):
        np.testing.assert_array_equal(boxed(result), expected)
        x0, y0, x1, y1 = result.info["bar_box"]
        left, top, right, bottom = result.info["picture_box"]
        assert x0 >= right or y0 >= bottom
        assert x1 <= result.width
        assert y1 <= result.height
        assert max(x1 - x0, y1 - y0) >= 60  # long enough to read
        rest = pixels(result)
        rest[top:bottom, left:right] = rest[y0:y1, x0:x1] = 255
        assert (rest < 128).any()  # there are letters
        assert (rest[:, -1] == 255).all()  # and none is cut off at the right,
        assert (rest[-1] == 255).all()  # nor at the bottom
    assert titled.info["picture_box"][1] > 0


def test_without_colour_bar_and_title_the_result_is_the_overlay() -> None:
    image, values = picture(60, 97), bumpy()
    result = visualize_attention_on_image(image, values, colorbar=False)
    assert result.size == (97, 60)
    np.testing.assert_array_equal(pixels(result), pixels(overlay(image, values)))


def test_defaults_are_read_from_config_when_called(monkeypatch: pytest.MonkeyPatch) -> None:
    image, values = picture(60, 97), bumpy()
    monkeypatch.setattr(config, "HEATMAP_COLORMAP", "magma")
    monkeypatch.setattr(config, "HEATMAP_ALPHA", 0.25)
    monkeypatch.setattr(config, "HEATMAP_SMOOTH", True)
    expected = overlay(image, values, Look("magma", 0.25, "overlay", True))
    np.testing.assert_array_equal(boxed(visualize_attention_on_image(image, values)), pixels(expected))
    cells = visualize_attention_on_image(
        image, values, "jet", 0.0, smooth=False
    )  # 0 and False are values too
    np.testing.assert_array_equal(boxed(cells), pixels(image))


def test_longer_side_is_bounded() -> None:
    assert fitted(picture(168, 100), min_side=640).size == (381, 640)
    assert fitted(picture(900, 1000), max_side=500).size == (500, 450)
    same = picture(700, 300)
    assert fitted(same, 640, 1600) is same
    assert visualize_attention_on_image(picture(30, 50), bumpy(), colorbar=False, min_side=640).size == (
        640,
        384,
    )
    with pytest.raises(ValueError, match="min_side must not be above max_side"):
        fitted(same, 20, 10)


# --- grids ---


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


# --- contrast and crosses ---


@pytest.mark.parametrize("gamma", [0.25, 0.5, 2.0, 3.7])
def test_contrast_raises_a_values_place_between_the_ends_to_a_power(gamma: float) -> None:
    values = bumpy().astype(np.float64)
    drawn = pixels(heatmap(values, (5, 7), Look("magma", gamma=gamma)))
    table = visualization.palette("magma")
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
    blended = visualization.smooth_rows(values.astype(np.float64), (60, 97), slice(0, 60))
    share = np.clip((blended - values.min()) / np.float64(values.max() - values.min()), 0, 1) ** 2
    table = visualization.palette("cividis")
    expected = table[np.minimum((share * len(table)).astype(int), len(table) - 1)].astype(int)
    assert (np.abs(smooth - expected).max(axis=2) <= 3).all()  # the next of 256 colours at most
    assert (smooth == expected).all(axis=2).mean() > 0.99


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_the_colour_beside_a_number_is_that_of_its_value(gamma: float) -> None:
    scale = Scale("gray", 0.01, 0.09, gamma=gamma)
    span = 301
    ramp = pixels(visualization._ramp(scale, span, 3))[0]
    values = visualization._ticks(scale, 6)[0]
    assert len(values) > 3
    for value in values:
        at = visualization._place(value, scale, span)
        colour = visualization.colours(np.array([value]), "gray", 0.01, 0.09, gamma)[0]
        assert np.abs(ramp[at] - colour).max() <= 1  # a pixel is 0.9 of a colour
    middle = visualization._place(0.05, scale, span)
    assert middle == round(0.5**gamma * 300)
    label = visualization.scale_of(np.array([[0.01, 0.09]]), Look(gamma=gamma)).label
    assert label == "share of attention" + (f" (γ {gamma:.2f})" if gamma != 1 else "")


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


@pytest.mark.parametrize("view", ["overlay", "side by side", "heatmap"])
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


# --- letters ---


def test_characters_without_a_glyph_are_spelt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visualization, "_fallback_paths", tuple)
    visualization._font_with.cache_clear()
    try:
        assert drawable('"red é Ж → 中文"') == '"red é Ж → [U+4E2D][U+6587]"'
        assert drawable("a\nb\tc\u200b\u202e\x1b") == "a↵b⇥c"
        face = visualization._glyphs(visualization._main_font_path())
        assert all(face.get_char_index(ord(c)) for c in drawable("中 \U0001f916 \ue000 ﷽ 한국"))
    finally:
        visualization._font_with.cache_clear()


def test_a_font_of_the_system_is_used_for_characters_that_ours_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    other = str(Path(matplotlib.get_data_path(), "fonts", "ttf", "STIXGeneral.ttf"))
    ours = visualization._glyphs(visualization._main_font_path())
    lacking = next(
        chr(code) for code in visualization._glyphs(other).get_charmap() if not ours.get_char_index(code)
    )
    monkeypatch.setattr(visualization, "_fallback_paths", lambda: (other,))
    visualization._font_with.cache_clear()
    try:
        assert drawable(lacking) == lacking
        runs = visualization._font(20).runs(f"a{lacking}b")
        assert [(text, font.getname()[0]) for text, font in runs] == [
            ("a", "DejaVu Sans"),
            (lacking, "STIXGeneral"),
            ("b", "DejaVu Sans"),
        ]
    finally:
        visualization._font_with.cache_clear()


def test_text_from_right_to_left_leaves_the_numbers_beside_it_in_place() -> None:
    face = visualization._font(14)
    label = f"token 1 “{isolated('אב')}”  0.07 % to 2.45 %"
    assert [text for text, _ in face.runs(label)] == ["token 1 “", "אב", "”  0.07 % to 2.45 %"]
    assert face.runs(isolated("")) == []


def test_long_titles_are_shortened_to_the_picture() -> None:
    face = visualization._font(14)
    short = face.shortened("word " * 4000, 200)
    assert short.endswith("…")
    assert face.width(short) <= 200
    assert face.shortened("word", 200) == "word"
    image, values = picture(60, 900), bumpy()
    long, none = (
        visualize_attention_on_image(image, values, title=title) for title in ("word " * 4000, None)
    )
    assert long.width == none.width


# --- refusals and files ---


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0.1, float("nan")]], "NaN, infinite"),
        ([[0.1, float("inf")]], "NaN, infinite"),
        ([[0.1, -1e301]], "enormous"),
        (np.zeros(35), r"two axes \(h, w\).*got shape \(35,\)"),
        (np.zeros((1, 5, 7)), r"got shape \(1, 5, 7\)"),
        (np.zeros((0, 7)), r"at least one cell; got shape \(0, 7\)"),
        ([["a", "b"]], "real numbers"),
        ([[1j]], "real numbers"),
        ([[1, 2], [3]], "array of numbers"),
        (None, "two axes"),
    ],
)
def test_a_map_that_cannot_be_drawn_is_refused_in_one_line(values: Any, message: str) -> None:
    for draw in (overlay, side_by_side, visualize_attention_on_image):
        with pytest.raises(ValueError, match=message) as caught:
            draw(picture(20, 30), values)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message):
        shared_range([bumpy(), values])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colormap": "virids"}, "unknown colour map 'virids'"),
        ({"colormap": 3}, "unknown colour map 3"),
        ({"alpha": 1.01}, "alpha must be a number from 0 .* to 1 .*; got 1.01"),
        ({"alpha": -0.1}, "alpha must be"),
        ({"alpha": float("nan")}, "alpha must be"),
        ({"alpha": "0.5"}, "alpha must be"),
        ({"view": "sideways"}, "view must be one of 'overlay', 'side by side', 'heatmap'; got 'sideways'"),
        ({"vmin": float("nan")}, "vmin must be a finite number"),
        ({"vmax": float("inf")}, "vmax must be a finite number"),
        ({"vmin": 2.0, "vmax": 1.0}, "vmin must not be above vmax; got vmin=2, vmax=1"),
        ({"vmin": 0.01, "vmax": 0.01}, "vmin and vmax are both 0.01, but the map runs from"),
    ],
)
def test_settings_that_cannot_be_drawn_are_refused_in_one_line(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        visualize_attention_on_image(picture(20, 30), bumpy(), **settings)
    assert "\n" not in str(caught.value)


def test_refuses_what_is_no_picture() -> None:
    with pytest.raises(ValueError, match="expected a Pillow picture"):
        overlay(np.zeros((20, 30, 3), np.uint8), bumpy())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one map"):
        shared_range([])
    with pytest.raises(ValueError, match="at least one pixel"):
        heatmap(bumpy(), (0, 9))


def test_save_image_leaves_a_whole_file_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = visualize_attention_on_image(picture(20, 30), bumpy())
    path = save_image(image, tmp_path / "new" / "map.png")
    with Image.open(path) as back:
        np.testing.assert_array_equal(pixels(back), pixels(image))
        assert back.info == {}
    whole = path.read_bytes()

    def torn(self: Image.Image, file: Path, **_: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", torn)
    with pytest.raises(OSError, match="disk full"):
        save_image(image, path)
    assert path.read_bytes() == whole
    assert [file.name for file in path.parent.iterdir()] == ["map.png"]


def test_colormaps_lists_every_map_and_each_can_be_drawn() -> None:
    names = colormaps()
    assert names[0] == "viridis"
    assert sorted(names) == sorted(matplotlib.colormaps)
    for name in names:
        assert heatmap([[0.0, 1.0]], (2, 4), Look(name)).getpixel((3, 1)) is not None


def test_importing_it_brings_in_no_window_toolkit_and_no_model() -> None:
    code = "import sys, visualization; print([m for m in sys.modules if m in %r])"
    heavy = ("torch", "transformers", "gradio", "cv2", "matplotlib.pyplot")
    root = Path(visualization.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code % (heavy,)],
        cwd=root,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
