"""Glow as the default look: what it leaves of colour maps, its bar, many maps, and what it refuses."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from PIL import Image

import visualization
from drawing.colour_bar import _ticks, colour_bar
from drawing.colours import palette
from drawing.enlarge import cell_index
from drawing.glow import bar_colours
from records.look import Look
from tests.drawn import boxed, bumpy, picture, pixels
from tests.slow_glow import spiky
from visualization import overlay, scale_of, shared_look, thumbnails, visualize_attention_on_image


@pytest.mark.parametrize(
    ("settings", "name", "alpha"),
    [
        ({"colormap": "viridis"}, "viridis", 0.6),
        ({"colormap": "jet", "alpha": 0.2}, "jet", 0.2),
        ({"alpha": 0.4}, "viridis", 0.4),
        ({"vmin": 0.0, "vmax": 0.03}, "viridis", 0.6),
        ({"colormap": "magma", "smooth": False, "gamma": 1.0}, "magma", 0.6),
    ],
)
def test_a_colour_map_or_a_transparency_by_name_draws_as_before_there_was_a_glow(
    settings: dict[str, Any], name: str, alpha: float
) -> None:
    image, values = picture(60, 97), bumpy().astype(np.float64)
    low, high = settings.get("vmin", values.min()), settings.get("vmax", values.max())
    table, share = palette(name), np.clip((values - low) / (high - low), 0, 1)
    colours = table[np.minimum((share * len(table)).astype(int), len(table) - 1)]
    colours = colours[cell_index(60, 5)[:, None], cell_index(97, 7)]
    expected = np.rint(pixels(image) * (1 - alpha) + colours * alpha)
    np.testing.assert_array_equal(boxed(visualize_attention_on_image(image, values, **settings)), expected)


@pytest.mark.parametrize("view", ["overlay", "side by side", "heatmap", "spotlight"])
def test_by_default_a_picture_glows_in_every_view(view: str) -> None:
    image, values = picture(60, 97), spiky((5, 7))
    drawn = visualize_attention_on_image(image, values, view=view)
    look = Look("glow", 1.0, view, True)
    np.testing.assert_array_equal(
        boxed(drawn), boxed(visualize_attention_on_image(image, values, **asdict(look)))
    )
    by = {"overlay": overlay, "spotlight": visualization.spotlight}.get(view)
    if by:
        np.testing.assert_array_equal(boxed(drawn), pixels(by(image, values, look)))


# --- the bar ---


def test_the_bar_runs_from_an_even_share_to_the_top() -> None:
    values = np.array([[10.0, 0, 0, 2], [0, 3, 4, 1]])
    scale = scale_of(values, Look(), "gradient", "nats")
    assert (scale.vmin, scale.vmax, scale.colormap, scale.unit) == (0.125, 0.5, "glow", "%")
    assert scale.label == "share of the map · outline: half of it"
    labels = _ticks(scale, 4)[1]
    assert (labels[0], labels[-1]) == ("≤ 12.5 %", "50.0 %")
    cut = scale_of(values, Look("glow", vmax=0.3, gamma=0.5))
    assert _ticks(cut, 4)[1][-1] == "≥ 30.0 %"
    assert cut.label.endswith(" (γ 0.50)")
    assert scale_of(values, Look(view="spotlight")).label == "share of the map"
    assert scale_of(np.ones((2, 3)), Look()).label == "share of the map"  # no outline


@pytest.mark.parametrize("horizontal", [False, True])
@pytest.mark.parametrize("view", ["overlay", "spotlight"])
def test_the_bar_is_framed_for_one_end_is_white(view: str, horizontal: bool) -> None:
    scale = scale_of(spiky((5, 7)).astype(float), Look(view=view))
    bar = boxed(colour_bar(scale, 300, 14, horizontal), "bar_box")
    line = bar[len(bar) // 2] if horizontal else bar[::-1, bar.shape[1] // 2]  # lowest first
    for end in (line[0], line[-1]):
        assert (end < 200).all()
    expected = bar_colours(len(line), spotlight=view == "spotlight")
    assert np.abs(line[1:-1] - expected[1:-1].astype(int)).max() <= 3  # the next of 256 colours


# --- many maps ---


def test_many_maps_say_their_shares_or_share_one_scale() -> None:
    maps = [spiky((5, 7), seed).astype(float) for seed in range(3)]
    own = visualization.grid_scale(maps, Look(), "attention", "nats")
    assert (own.vmin, own.vmax, own.label) == (0, 1, "of each map's own range · outline: half of it")
    shared = shared_look(Look(), maps)
    assert shared.vmax == max(np.maximum(one, 0).max() / np.maximum(one, 0).sum() for one in maps)
    scale = visualization.grid_scale(maps, shared, "attention", "nats")
    assert (scale.vmin, scale.vmax, scale.unit, scale.below) == (1 / 35, shared.vmax, "%", True)
    assert visualization.range_labels(np.array([[3.0, 1], [0, 0], [0, 0]]), Look(), "nats") == [
        "16.7 %",
        "75.0 %",
    ]
    plain = visualization.grid_scale(maps, Look("magma", vmin=0.0, vmax=2.0), "attention", "nats")
    assert (plain.colormap, plain.vmax, plain.label, plain.unit) == ("magma", 2.0, "attention", "nats")
    with pytest.raises(ValueError, match="at least one map"):
        shared_look(Look(), [])


@pytest.mark.parametrize("view", ["overlay", "side by side", "heatmap", "spotlight"])
def test_small_pictures_are_drawn_in_the_looks_view(view: str) -> None:
    image, maps = picture(60, 97), [spiky((5, 7), seed) for seed in range(2)]
    small = visualization.fitted(image, 320, 320)
    alone = "overlay" if view == "side by side" else view
    for one, drawn in zip(maps, thumbnails(image, maps, Look(view=view)), strict=True):
        expected = visualization.in_view(small, one, Look(view=alone))
        assert drawn.size == (320, 198)
        np.testing.assert_array_equal(pixels(drawn), pixels(expected))


def test_a_picture_with_fewer_pixels_than_cells_is_enlarged_in_every_view() -> None:
    values = spiky((5, 7))
    for view in ("overlay", "heatmap", "spotlight"):
        drawn = visualization.in_view(picture(4, 3), values, Look(view=view))
        assert drawn.height >= 5
        assert drawn.width >= 7


@pytest.mark.parametrize("vmax", [1 / 35, 0.001, 0.0, -1.0])
def test_a_top_that_is_not_above_an_even_share_is_refused_in_one_line(vmax: float) -> None:
    look = Look("glow", vmax=vmax)
    with pytest.raises(
        ValueError, match=r"^under glow vmax must be above an even share of the map, 0\.02857"
    ):
        overlay(Image.new("RGB", (70, 50)), bumpy(), look)
