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
from drawing.colour_bar import Scale, _ticks
from drawing.enlarge import cell_index
from records.look import Look
from tests.drawn import boxed, bumpy, picture, pixels
from visualization import (
    fitted,
    heatmap,
    overlay,
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


def spike(shape: tuple[int, int], cell: tuple[int, int]) -> NDArray[np.float32]:
    values = np.full(shape, 0.001, np.float32)
    values[cell] = 0.05
    return values


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
    alone = heatmap(values, (60, 97), Look("viridis"))
    np.testing.assert_array_equal(pixels(overlay(image, values, Look(alpha=1))), pixels(alone))


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
    assert _ticks(Scale("viridis", 0.0125, 0.0125), 5) == ([0.0125], ["1.25 %"])


def test_shared_range_gives_equal_values_equal_colours() -> None:
    weak, strong = np.array([[0.01, 0.02, 0.03]]), np.array([[0.02], [0.08]])
    low, high = shared_range([weak, strong])
    assert (low, high) == shared_range([strong, weak]) == (0.01, 0.08)
    look = Look(vmin=low, vmax=high)
    first, second = heatmap(weak, (4, 9), look), heatmap(strong, (8, 5), look)
    assert first.getpixel((4, 0)) == second.getpixel((0, 0))
    assert heatmap(weak, (4, 9), Look("viridis")).getpixel((8, 0)) == second.getpixel(
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
    labels = _ticks(scale, 5)[1]
    assert (labels[0], labels[-1]) == ("≤ 20.0 %", "≥ 50.0 %")
    inside = visualization.scale_of(values, Look("viridis"))
    assert (inside.below, inside.above) == (False, False)


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


def test_a_long_title_does_not_widen_the_picture() -> None:
    image, values = picture(60, 900), bumpy()
    long, none = (
        visualize_attention_on_image(image, values, title=title) for title in ("word " * 4000, None)
    )
    assert long.width == none.width


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
        (
            {"view": "sideways"},
            "view must be one of 'overlay', 'side by side', 'heatmap', 'spotlight'; got 'sideways'",
        ),
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


def test_importing_it_brings_in_no_window_toolkit_and_no_model() -> None:
    code = "import sys, visualization; print([m for m in sys.modules if m in %r])"
    heavy = ("torch", "transformers", "gradio", "matplotlib.pyplot")
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
