"""Glow and spotlight: every pixel against a drawing by definition; what stays exactly as it is."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from drawing import glow
from drawing.enlarge import cell_index, smooth_rows
from drawing.map_pixels import heat_rows
from drawing.outline import half_cells, outlined
from records.look import Look
from tests.drawn import bumpy, picture, pixels
from tests.slow_glow import (
    scene,
    slow_glow,
    slow_heat,
    slow_pixels_of_heat,
    slow_scale,
    slow_spotlight,
    slow_warmth,
    spiky,
)
from visualization import heatmap, overlay, shared_look, side_by_side, spotlight

# (map (h, w), picture (height, width)): wide, portrait, strip
SHAPES = [((5, 7), (41, 83)), ((9, 4), (90, 37)), ((2, 19), (23, 240))]


def without_outline(image: Image.Image, values: Any, look: Look) -> np.ndarray:
    """The overlay's pixels; nan where the outline is."""
    drawn = pixels(overlay(image, values, look)).astype(float)
    drawn[pixels(outline_of(image, values)) > 0] = np.nan
    return drawn


def outline_of(image: Image.Image, values: Any) -> Image.Image:
    """White where the outline of this map is drawn on such a picture, black elsewhere."""
    marked = outlined(Image.new("RGB", image.size, (255, 0, 255)), half_cells(np.asarray(values, float)))
    changed = (pixels(marked) != (255, 0, 255)).any(2)
    return Image.fromarray(np.repeat(changed[..., None], 3, 2).astype(np.uint8) * 255)


# --- values ---


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.2])
@pytest.mark.parametrize("shape", [shape for shape, _ in SHAPES])
def test_heat_is_the_part_of_a_share_above_an_even_one(shape: tuple[int, int], gamma: float) -> None:
    values = spiky(shape).astype(np.float64)
    assert glow.glow_scale(values) == pytest.approx(slow_scale(values), rel=1e-12)
    for top in (None, 0.7):
        expected = np.array(slow_heat(values, top, gamma))
        np.testing.assert_allclose(glow.heat(values, top, gamma), expected, rtol=1e-9)


def test_heat_known_on_paper() -> None:
    values = np.array([[10.0, 0, 0, 2], [-5, 3, 4, 1]])  # of 20; an even share is 2.5
    assert glow.glow_scale(values) == (0.125, 0.5)  # the largest is four even shares
    expected = np.array([[1, 0, 0, 0], [0, 0.025 / 0.375, 0.075 / 0.375, 0]])
    np.testing.assert_allclose(glow.heat(values), expected, rtol=1e-12)
    weak = np.array([[3.0, 2, 2, 2], [2, 2, 2, 1]])  # of 16; the top stays at four even shares
    assert glow.glow_scale(weak) == (0.125, 0.5)
    np.testing.assert_allclose(glow.heat(weak), np.array([[1 / 6, 0, 0, 0], [0, 0, 0, 0]]), rtol=1e-12)


def test_a_shared_top_is_the_largest_and_each_map_is_of_its_own_shares() -> None:
    maps = [np.array([[6.0, 1, 1], [1, 1, 0]]), np.array([[900.0, 50, 50], [0, 0, 0]])]
    look = shared_look(Look(), maps)
    assert look.vmin is None
    assert look.vmax == pytest.approx(0.9)
    np.testing.assert_allclose(glow.heat(maps[0], look.vmax)[0, 0], (0.6 - 1 / 6) / (0.9 - 1 / 6))
    many_times = glow.heat(1000 * maps[0], look.vmax)
    np.testing.assert_allclose(many_times, glow.heat(maps[0], look.vmax), rtol=1e-12)


FLAT = [np.full((5, 7), 0.0125), np.zeros((5, 7)), -np.arange(35.0).reshape(5, 7), np.full((3, 5), 1e-320)]


@pytest.mark.parametrize("values", [*FLAT, np.full((7, 9), np.float32(0.1)), np.full((1, 1), 4.0)])
@pytest.mark.parametrize("smooth", [False, True])
def test_a_flat_map_leaves_the_picture_as_it_is_and_a_warm_one_cold(values: np.ndarray, smooth: bool) -> None:
    assert not glow.heat(np.asarray(values, np.float64)).any()
    look = Look("glow", smooth=smooth)
    cool = Image.new("RGB", (97, 60), (60, 110, 200))
    np.testing.assert_array_equal(pixels(overlay(cool, values, look)), pixels(cool))
    warm = scene(60, 97, warm=True)
    q, own = glow.warmth(warm), pixels(warm).tolist()
    expected = np.array([[slow_glow(tuple(one), 0, q, 1) for one in row] for row in own])
    assert np.abs(pixels(overlay(warm, values, look)) - expected).max() <= 0.51


def test_a_cold_picture_is_exactly_its_own_wherever_nothing_is_hot() -> None:
    image = Image.new("RGB", (97, 60), (60, 110, 200))
    values = np.zeros((5, 7))
    values[1, 4] = 1
    assert glow.warmth(image) == 0
    drawn = without_outline(image, values, Look("glow", smooth=False))
    hot = (np.arange(60) * 5 // 60 == 1)[:, None] & (np.arange(97) * 7 // 97 == 4)
    here = ~hot & ~np.isnan(drawn[..., 0])
    assert here.sum() > 4000
    assert (drawn[here] == (60, 110, 200)).all()
    assert (drawn[hot & ~np.isnan(drawn[..., 0])] != (60, 110, 200)).any(1).all()


def test_values_of_any_size_have_shares() -> None:
    for factor in (1e-300, 1e290):
        np.testing.assert_allclose(
            glow.heat(factor * bumpy().astype(float)), glow.heat(bumpy().astype(float))
        )


# --- pixels ---


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_heat_at_each_pixel_is_bicubic_or_flat(
    shape: tuple[int, int], size: tuple[int, int], smooth: bool
) -> None:
    values = spiky(shape).astype(np.float64)
    rows = heat_rows(values, size, Look("glow", smooth=smooth))
    drawn = np.vstack([rows(slice(start, start + 17)) for start in range(0, size[0], 17)])
    expected = slow_pixels_of_heat(slow_heat(values), size, smooth)
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=1e-5)  # OpenCV's places are 32-bit numbers


@pytest.mark.parametrize(
    ("settings", "top"),
    [({}, None), ({"gamma": 0.6}, None), ({"alpha": 0.4}, None), ({"vmax": 0.55, "gamma": 2.0}, 0.55)],
)
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_each_pixel_glows_as_it_is_defined(
    shape: Any, size: Any, smooth: bool, warm: bool, settings: dict[str, Any], top: float | None
) -> None:
    image, values = scene(*size, warm=warm), spiky(shape)
    look = Look("glow", smooth=smooth, **{"alpha": 1.0, **settings})
    v = slow_pixels_of_heat(slow_heat(values, top, look.gamma), size, smooth)
    q = glow.warmth(image)
    assert (q > 0.5) == warm
    own = pixels(image).tolist()
    glowing, lit = (
        np.array([[one(tuple(own[y][x]), v[y][x]) for x in range(size[1])] for y in range(size[0])])
        for one in (
            lambda a, b: slow_glow(a, b, q, look.alpha),
            lambda a, b: slow_spotlight(a, b, look.alpha),
        )
    )
    drawn = without_outline(image, values, look)
    assert np.isnan(drawn).mean() < 0.9
    assert np.nanmax(np.abs(drawn - glowing)) <= 0.51
    assert np.abs(pixels(spotlight(image, values, look)) - lit).max() <= 0.51


def test_side_by_side_glows_and_the_map_alone_lies_on_its_ground_at_full_strength() -> None:
    image, values = scene(60, 97, warm=True), spiky((5, 7))
    look = Look("glow", 0.3)
    pair = side_by_side(image, values, look)
    box = pair.info["picture_box"]
    np.testing.assert_array_equal(pixels(pair.crop(box)), pixels(overlay(image, values, look)))
    ground = Image.new("RGB", (97, 60), glow.GROUND)
    np.testing.assert_array_equal(
        pixels(heatmap(values, (60, 97), look)), pixels(overlay(ground, values, Look("glow")))
    )
    assert min(glow.GROUND) >= 240


@pytest.mark.parametrize("smooth", [False, True])
def test_the_spotlight_of_a_colour_map_follows_the_place_of_a_value_in_its_range(smooth: bool) -> None:
    image, values = picture(31, 43), bumpy(3, 4).astype(np.float64)
    look = Look("magma", 0.8, "spotlight", smooth, vmin=0.001, vmax=0.015, gamma=0.7)
    at = smooth_rows(values, (31, 43), slice(0, 31))
    if not smooth:
        at = values[cell_index(31, 3)[:, None], cell_index(43, 4)]
    v = np.clip((at - 0.001) / 0.014, 0, 1) ** 0.7
    drawn, own = pixels(spotlight(image, values, look)), pixels(image).tolist()
    for y, x in np.ndindex(31, 43):
        lit = np.array(slow_spotlight(tuple(own[y][x]), float(v[y, x]), 0.8))
        assert np.abs(drawn[y, x] - lit).max() <= 0.51


# --- warmth ---


def test_warmth_is_counted_on_a_thumbnail_of_means() -> None:
    for seed in range(4):
        noise = np.random.default_rng(seed).integers(0, 256, (72, 144, 3)).astype(np.uint8)
        noise[:30] = noise[:30] // 3 + np.array([150, 60 + 20 * seed, 40])
        image = Image.fromarray(noise)
        assert glow.warmth(image) == pytest.approx(slow_warmth(image), abs=0.02)


@pytest.mark.parametrize(
    ("colour", "is_warm"),
    [
        ((255, 0, 0), True),
        ((255, 200, 60), True),
        ((200, 20, 90), True),  # hue 337
        ((200, 20, 100), False),  # hue 333
        ((200, 210, 20), False),  # hue 63
        ((255, 190, 190), False),  # saturation 0.25
        ((60, 20, 20), False),  # value 0.24
        ((128, 128, 128), False),
    ],
)
def test_a_colour_is_warm_by_hue_saturation_and_value(colour: tuple[int, ...], is_warm: bool) -> None:
    image = Image.new("RGB", (96, 48), (0, 90, 200))
    image.paste(colour, (0, 0, 12, 48))  # an eighth of it
    assert glow.warmth(image) == pytest.approx(0.125 / 0.3 if is_warm else 0)
    assert glow.warmth(Image.new("RGB", (5, 3), colour)) == is_warm  # a small one is enlarged


# --- the bar ---


def test_the_bars_colours_are_those_of_a_white_picture() -> None:
    white = (255.0, 255.0, 255.0)
    for step, (glowing, lit) in enumerate(
        zip(glow.bar_colours(101), glow.bar_colours(101, spotlight=True), strict=True)
    ):
        assert np.abs(glowing - np.array(slow_glow(white, step / 100, 0, 1))).max() <= 0.51
        assert np.abs(lit - np.array(slow_spotlight(white, step / 100, 1))).max() <= 0.51
    assert glow.bar_colours(5)[0].tolist() == [255, 255, 255]
