"""Pixels: a map over its picture, with a numbered colour bar, and many small ones.

Goes in: a Pillow picture and a map (h, w), un-normalised. Comes out: Pillow RGB pictures. Knows nothing of
models or tokens. Sizes are (h, w); Pillow's (width, height) is called `size_wh`, here only.

By default the picture glows: see `drawing/glow.py`. Under a colour map a map is coloured linearly from
`vmin` (default: its lowest value) to `vmax` (its highest), and the overlay is (1 - alpha) · picture + alpha ·
colour, with the same alpha everywhere. Both ends of the range stand on the colour bar. Cell (r, c) of a
map (h, w) covers the pixel rows y with r·H/h <= y < (r+1)·H/h of a picture of H rows, columns alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

import utils
from drawing import glow
from drawing.colour_bar import Scale, number_labels
from drawing.colours import INK, WHITE
from drawing.figure import figure
from drawing.fonts import text_size
from drawing.grid import overlay_grid
from drawing.map_pixels import lit, map_pixels, row_blocks, value_range
from drawing.outline import half_cells, outlined
from records.look import LARGEST, Look, Whole
from records.pictures import rgb

MIN_SIDE, MAX_SIDE = 640, 2048  # longer side, in pixels, of a picture that is written as a file
THUMBNAIL_SIDE, THUMBNAIL_PIXELS = 320, 20e6  # longer side of a small picture; pixels of all together


# --- values and colours -------------------------------------------------------------------------------------


def checked_map(attention_map: ArrayLike) -> NDArray[np.float64]:
    """The map as float64 (h, w); ValueError unless it has two axes and finite numbers only."""
    try:
        values = np.asarray(attention_map)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError("the map must be an array of numbers with axes (h, w)") from error
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"the map must have two axes (h, w) of at least one cell; got shape {values.shape}")
    if values.dtype.kind not in "fiub":
        raise ValueError(f"the map must hold real numbers; got {values.dtype}")
    values = values.astype(np.float64)
    if not (np.abs(values) < LARGEST).all():
        raise ValueError("the map has NaN, infinite or enormous values, which have no colour")
    return values


def shared_range(maps: Iterable[ArrayLike]) -> tuple[float, float]:
    """(vmin, vmax) over all maps, for pictures whose colours of a colour map can be compared."""
    checked = _some(maps)
    return min(float(one.min()) for one in checked), max(float(one.max()) for one in checked)


def _some(maps: Iterable[ArrayLike]) -> list[NDArray[np.float64]]:
    checked = [checked_map(one) for one in maps]
    if not checked:
        raise ValueError("a shared scale needs at least one map")
    return checked


def shared_look(look: Look, maps: Iterable[ArrayLike]) -> Look:
    """The look with one range for all these maps: vmin and vmax over all, under glow the largest top t."""
    if look.is_glow:
        return replace(look, vmax=glow.shared_top(_some(maps)))
    low, high = shared_range(maps)
    return replace(look, vmin=low, vmax=high)


# --- views --------------------------------------------------------------------------------------------------


def heatmap(attention_map: ArrayLike, size_hw: tuple[int, int], look: Look | None = None) -> Image.Image:
    """The map alone at (height, width) pixels, without the picture; the glow then lies on a light ground."""
    values, look = checked_map(attention_map), look or Look()
    if min(size_hw) < 1:
        raise ValueError(f"a picture needs at least one pixel; got (h, w)={size_hw}")
    if look.is_glow:
        return _glowing(Image.new("RGB", size_hw[::-1], glow.GROUND), values, replace(look, alpha=1))
    return _crossed_out(Image.fromarray(map_pixels(values, size_hw, look)), values.shape, look.crossed)


def overlay(image: Image.Image, attention_map: ArrayLike, look: Look | None = None) -> Image.Image:
    """The map over the picture, at the picture's size: glowing, or (1 - alpha) · picture + alpha · colour.

    A picture with fewer pixels than the map has cells is enlarged first, so that no cell is left out.
    """
    values, look = checked_map(attention_map), look or Look()
    under = _roomy(as_rgb(image), values.shape)
    if look.is_glow:
        return _glowing(under, values, look)
    picture = np.asarray(under)
    heat = map_pixels(values, picture.shape[:2], look)
    for rows in row_blocks(len(heat)):
        heat[rows] = np.rint(picture[rows] * (1 - look.alpha) + heat[rows] * look.alpha)
    return _crossed_out(Image.fromarray(heat), values.shape, look.crossed)


def _glowing(picture: Image.Image, values: NDArray[np.float64], look: Look) -> Image.Image:
    """The picture in its glow, with the outline of half of the map."""
    warm = glow.warmth(picture)
    shown = lit(picture, values, look, lambda pixels, v: glow.painted(pixels, v, warm, look.alpha))
    return _crossed_out(outlined(shown, half_cells(values, look.whole)), values.shape, look.crossed)


def spotlight(image: Image.Image, attention_map: ArrayLike, look: Look | None = None) -> Image.Image:
    """The picture dim and grey, but in its own colours and light where the map is high; at `overlay`'s size.

    That is `glow.spotlit`, of the heat v or, under a colour map, of a value's place in the range.
    """
    values, look = checked_map(attention_map), look or Look()
    strength = look.alpha
    picture = _roomy(as_rgb(image), values.shape)
    shown = lit(picture, values, look, lambda pixels, v: glow.spotlit(pixels, v, strength))
    return _crossed_out(shown, values.shape, look.crossed)


def _crossed_out(picture: Image.Image, grid: tuple[int, ...], cells: Sequence[int]) -> Image.Image:
    """The picture with a cross over each of the cells (row * w + col)."""
    draw, (width, height), (rows, columns) = ImageDraw.Draw(picture), picture.size, grid
    thick = max(1, min(width, height) // 300)
    for cell in cells:
        if not 0 <= cell < rows * columns:
            raise ValueError(f"there is no cell {cell} to cross out in a grid (h, w)={grid}")
        row, column = divmod(cell, columns)
        left, right = column * width / columns, (column + 1) * width / columns - 1
        top, bottom = row * height / rows, (row + 1) * height / rows - 1
        for line in (((left, top), (right, bottom)), ((left, bottom), (right, top))):
            draw.line(line, fill=INK, width=3 * thick)
            draw.line(line, fill=WHITE, width=thick)
    return picture


def side_by_side(image: Image.Image, attention_map: ArrayLike, look: Look | None = None) -> Image.Image:
    """The picture as it is (left) and its overlay (right), a white gap between; boxes of both in `.info`."""
    values = checked_map(attention_map)
    picture = _roomy(as_rgb(image), values.shape)
    width, height = picture.size
    gap = text_size(picture.size)
    pair = Image.new("RGB", (2 * width + gap, height), WHITE)
    pair.paste(picture, (0, 0))
    pair.paste(overlay(picture, values, look), (width + gap, 0))
    pair.info["original_box"] = (0, 0, width, height)
    pair.info["picture_box"] = (width + gap, 0, 2 * width + gap, height)
    return pair


def in_view(image: Image.Image, attention_map: ArrayLike, look: Look) -> Image.Image:
    """The picture and its map as the look's view says."""
    if look.view == "heatmap":
        values = checked_map(attention_map)
        picture = _roomy(as_rgb(image), values.shape)
        return heatmap(values, (picture.height, picture.width), look)
    return {"side by side": side_by_side, "spotlight": spotlight}.get(look.view, overlay)(
        image, attention_map, look
    )


def visualize_attention_on_image(
    image: Image.Image,
    attention_map: ArrayLike,
    colormap: str | None = None,
    alpha: float | None = None,
    view: str | None = None,
    smooth: bool | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    colorbar: bool = True,
    title: str | None = None,
    *,
    gamma: float | None = None,
    crossed: tuple[int, ...] = (),
    whole: Whole | None = None,
    subtitle: str | None = None,
    scale_label: str = "share of attention",
    unit: str = "%",
    min_side: int | None = None,
    max_side: int | None = None,
) -> Image.Image:
    """The map on its picture, ready to look at: view, colour bar and title in one RGB picture.

    `attention_map` is (h, w), un-normalised. None for colormap, alpha, view and smooth takes config's value:
    as shipped the picture glows, and an alpha, vmin or vmax without a colormap means "viridis" (see `Look`).
    A colour map's colours run from `vmin` to `vmax`, by default the map's own range (`shared_range` gives one
    for several maps); values beyond are drawn in the end's colour, and the colour bar then says ≤ or ≥. With
    unit "%" the bar prints values times 100; the glow's bar is in shares of the map, whatever its unit.
    `gamma`, `crossed` and `whole` are those of `Look`. The picture keeps its size unless `min_side` /
    `max_side` bound its longer side, in pixels. The colour bar and the title stand outside it: without a
    title its top left corner is the result's, and `.info["picture_box"]` always has its place
    (x0, y0, x1, y1).

    Raises:
        ValueError: one line, for a map, colour map, alpha, view or range that cannot be drawn.
    """
    chosen: dict[str, Any] = {
        "colormap": colormap,
        "alpha": alpha,
        "view": view,
        "smooth": smooth,
        "vmin": vmin,
        "vmax": vmax,
        "gamma": gamma,
        "crossed": crossed,
        "whole": whole,
    }
    look = Look(**{name: value for name, value in chosen.items() if value is not None})
    values = checked_map(attention_map)
    picture = _roomy(fitted(as_rgb(image), min_side, max_side), values.shape)
    content = in_view(picture, values, look)
    scale = scale_of(values, look, scale_label, unit) if colorbar else None
    return figure(content, scale, title, subtitle, text_size(picture.size))


def scale_of(
    values: NDArray[np.float64], look: Look, label: str = "share of attention", unit: str = "%"
) -> Scale:
    """What the colour bar of this map says."""
    low, high = value_range(values, look)
    if look.is_glow:
        what = "share of the map" if look.whole is None else "share of the whole map"
        label, unit = _glow_label([look], [values], what), "%"
        below, above = True, bool((glow.shares(values, look.whole) > high).any())
    else:
        below, above = bool((values < low).any()), bool((values > high).any())
    return Scale(look.bar, low, high, label + _contrast(look), unit, below, above, look.gamma)


def _contrast(look: Look) -> str:
    return "" if look.gamma == 1 else f" (γ {look.gamma:.2f})"


def _glow_label(looks: Sequence[Look], maps: Sequence[NDArray[np.float64]], what: str) -> str:
    """What the numbers of a glow are, and the outline where there is one."""
    pairs = zip(maps, looks, strict=True)
    has_outline = looks[0].view != "spotlight" and any(
        half_cells(one, look.whole).any() for one, look in pairs
    )
    return what + " · outline: half of it" * has_outline


def save_image(image: Image.Image, path: str | Path) -> Path:
    """Write a PNG that appears whole or not at all; the path."""
    with utils.atomic_write(path) as unfinished:
        image.save(unfinished, format="PNG")
    return Path(path)


def as_rgb(image: Image.Image) -> Image.Image:
    """The picture in RGB, see-through parts on white; ValueError if it is not a picture."""
    if not isinstance(image, Image.Image) or 0 in image.size:
        raise ValueError("expected a Pillow picture of at least one pixel")
    return rgb(image)


def fitted(image: Image.Image, min_side: int | None = None, max_side: int | None = None) -> Image.Image:
    """The picture scaled so that its longer side is at least min_side and at most max_side pixels."""
    if min_side is not None and max_side is not None and min_side > max_side:
        raise ValueError(f"min_side must not be above max_side; got {min_side} and {max_side}")
    longer = max(image.size)
    wanted = min(max(longer, min_side or longer), max_side or max(longer, min_side or longer))
    if wanted < 1:
        raise ValueError(f"a picture's longer side must be at least one pixel; got {wanted}")
    if wanted == longer:
        return image
    width, height = (max(1, round(side * wanted / longer)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _roomy(image: Image.Image, grid: tuple[int, ...]) -> Image.Image:
    """The picture, enlarged if it has fewer rows or columns of pixels than the grid (h, w) has cells."""
    factor = max(grid[0] / image.height, grid[1] / image.width)
    if factor <= 1:
        return image
    size_wh = (math.ceil(image.width * factor), math.ceil(image.height * factor))
    return image.resize(size_wh, Image.Resampling.LANCZOS)


# --- many maps ----------------------------------------------------------------------------------------------


def thumbnails(
    image: Image.Image, maps: Sequence[ArrayLike], look: Look | Sequence[Look] | None = None
) -> list[Image.Image]:
    """Each map drawn small, without a colour bar: over the picture, or alone if that is the look's view.

    `look` is of all, or of each.
    """
    looks = _looks(look or Look(), len(maps))
    side = min(THUMBNAIL_SIDE, max(96, int((THUMBNAIL_PIXELS / max(1, len(maps))) ** 0.5)))
    small = fitted(as_rgb(image), side, side)
    view = "overlay" if looks[0].view == "side by side" else looks[0].view
    pairs = zip(maps, looks, strict=True)
    return [in_view(small, one, replace(look, view=view)) for one, look in pairs]


def _looks(look: Look | Sequence[Look], count: int) -> list[Look]:
    """The look of each of so many maps."""
    return [look] * count if isinstance(look, Look) else list(look)


def map_grid(
    pictures: Sequence[Image.Image],
    maps: Sequence[ArrayLike],
    labels: Sequence[str],
    look: Look | Sequence[Look],
    columns: int | None = None,
    *,
    title: str | None = None,
    subtitle: str | None = None,
    scale_label: str = "share of attention",
    unit: str = "%",
) -> Image.Image:
    """Pictures of maps in a grid, with what their colours mean.

    That is one colour bar where the look has a range, and else each map's own range beside its label.
    `look` is of all, or of each.
    """
    checked, looks = [checked_map(one) for one in maps], _looks(look, len(maps))
    if not looks[0].has_range:
        ends = [range_labels(one, look, unit) for one, look in zip(checked, looks, strict=True)]
        labels = [f"{label}  {low} to {high}" for label, (low, high) in zip(labels, ends, strict=True)]
    key = grid_scale(checked, looks, scale_label, unit)
    return overlay_grid(pictures, labels, columns, title=title, subtitle=subtitle, scale=key)


def grid_scale(
    maps: Sequence[NDArray[np.float64]], look: Look | Sequence[Look], label: str, unit: str
) -> Scale:
    """What the one colour bar beside many maps says: their range, or that each has its own."""
    looks = _looks(look, len(maps))
    look = looks[0]
    low, high = value_range(maps[0], look) if look.has_range else (0.0, 1.0)
    if not look.has_range:
        label, unit = "of each map's own range", "%"
    if look.is_glow:
        label, unit = _glow_label(looks, maps, "share of the map" if look.has_range else label), "%"
    below = look.is_glow and look.has_range
    return Scale(look.bar, low, high, label + _contrast(look), unit, below, gamma=look.gamma)


def range_labels(values: NDArray[np.float64], look: Look, unit: str) -> list[str]:
    """The numbers at both ends of a map's colours, as text: values in their unit, under glow shares of it."""
    low, high = value_range(values, look)
    return number_labels([low, high], "%" if look.is_glow else unit)
