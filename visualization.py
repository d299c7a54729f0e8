"""Pixels: a map over its picture, with a numbered colour bar, and many small ones.

Goes in: a Pillow picture and a map (h, w), un-normalised. Comes out: Pillow RGB pictures. Knows nothing of
models or tokens. Sizes are (h, w); Pillow's (width, height) is called `size_wh`, here only.

A map is coloured linearly from `vmin` (default: its lowest value) to `vmax` (its highest), and both numbers
stand on the colour bar. Cell (r, c) of a map (h, w) covers the pixel rows y with r·H/h <= y < (r+1)·H/h of a
picture of H rows, columns alike. The overlay is (1 - alpha) · picture + alpha · colour, with the same alpha
everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

import utils
from drawing.colour_bar import Scale, number_labels
from drawing.colours import INK, WHITE, colours
from drawing.figure import figure
from drawing.fonts import text_size
from drawing.grid import overlay_grid
from records.look import LARGEST, Look
from records.pictures import rgb

MIN_SIDE, MAX_SIDE = 640, 2048  # longer side, in pixels, of a picture that is written as a file
THUMBNAIL_SIDE, THUMBNAIL_PIXELS = 320, 20e6  # longer side of a small picture; pixels of all together
ROWS_AT_ONCE = 64  # rows blended at a time, so that a 40-megapixel picture needs little memory


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
    """(vmin, vmax) over all maps, for pictures whose colours can be compared with each other."""
    checked = [checked_map(one) for one in maps]
    if not checked:
        raise ValueError("a shared scale needs at least one map")
    return min(float(one.min()) for one in checked), max(float(one.max()) for one in checked)


def value_range(values: NDArray[np.float64], look: Look) -> tuple[float, float]:
    """(vmin, vmax) that the colours span: the look's own, else the map's lowest and highest value."""
    low = float(values.min()) if look.vmin is None else float(look.vmin)
    high = float(values.max()) if look.vmax is None else float(look.vmax)
    if low > high:
        raise ValueError(f"vmin must not be above vmax; got vmin={low:g}, vmax={high:g}")
    if low == high and (values != low).any():
        raise ValueError(
            f"vmin and vmax are both {low:g}, but the map runs from {values.min():g} to {values.max():g}"
        )
    return low, high


def cell_index(pixels: int, cells: int) -> NDArray[np.intp]:
    """Cell of each pixel along one axis: pixel y is in cell r if r·pixels/cells <= y < (r+1)·pixels/cells."""
    return np.arange(pixels) * cells // pixels


def _between(pixels: NDArray[np.intp], size: int, cells: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For pixels along one axis: the cell centre before each, and the weight of the next one."""
    position = np.clip((pixels + 0.5) * cells / size - 0.5, 0, cells - 1)
    before = np.minimum(position.astype(np.intp), max(cells - 2, 0))
    share = position - before
    return before, share * share * (3 - 2 * share)


def smooth_rows(values: NDArray[np.float64], size_hw: tuple[int, int], rows: slice) -> NDArray[np.float64]:
    """Those pixel rows of the map at size (H, W), blended between cell centres.

    The weights are a cubic with level ends (3t² - 2t³). Unlike bicubic interpolation it never leaves the
    range of the cells around a pixel: no value is invented, and a peak stays at the centre of its own cell.
    """
    (h, w), (height, width) = values.shape, size_hw
    row, down = _between(np.arange(height)[rows], height, h)
    col, right = _between(np.arange(width), width, w)
    upper, lower = values[row], values[np.minimum(row + 1, h - 1)]
    lines = upper + down[:, None] * (lower - upper)  # (pixel row, cell column)
    before, after = lines[:, col], lines[:, np.minimum(col + 1, w - 1)]
    return before + right * (after - before)


def _row_blocks(height: int) -> Iterator[slice]:
    for start in range(0, height, ROWS_AT_ONCE):
        yield slice(start, min(start + ROWS_AT_ONCE, height))


def _map_pixels(values: NDArray[np.float64], size_hw: tuple[int, int], look: Look) -> NDArray[np.uint8]:
    """RGB (H, W, 3) of the map drawn at that size."""
    low, high = value_range(values, look)
    if not look.smooth:
        rows, columns = cell_index(size_hw[0], values.shape[0]), cell_index(size_hw[1], values.shape[1])
        return colours(values, look.colormap, low, high, look.gamma)[rows[:, None], columns]
    pixels = np.empty((*size_hw, 3), np.uint8)
    for block in _row_blocks(size_hw[0]):
        blended = smooth_rows(values, size_hw, block)
        pixels[block] = colours(blended, look.colormap, low, high, look.gamma)
    return pixels


# --- views --------------------------------------------------------------------------------------------------


def heatmap(attention_map: ArrayLike, size_hw: tuple[int, int], look: Look | None = None) -> Image.Image:
    """The map alone at (height, width) pixels, without the picture."""
    values, look = checked_map(attention_map), look or Look()
    if min(size_hw) < 1:
        raise ValueError(f"a picture needs at least one pixel; got (h, w)={size_hw}")
    return _crossed_out(Image.fromarray(_map_pixels(values, size_hw, look)), values.shape, look.crossed)


def overlay(image: Image.Image, attention_map: ArrayLike, look: Look | None = None) -> Image.Image:
    """The map over the picture, at the picture's size: (1 - alpha) · picture + alpha · colour, rounded.

    A picture with fewer pixels than the map has cells is enlarged first, so that no cell is left out.
    """
    values, look = checked_map(attention_map), look or Look()
    picture = np.asarray(_roomy(as_rgb(image), values.shape))
    heat = _map_pixels(values, picture.shape[:2], look)
    for rows in _row_blocks(len(heat)):
        heat[rows] = np.rint(picture[rows] * (1 - look.alpha) + heat[rows] * look.alpha)
    return _crossed_out(Image.fromarray(heat), values.shape, look.crossed)


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
    subtitle: str | None = None,
    scale_label: str = "share of attention",
    unit: str = "%",
    min_side: int | None = None,
    max_side: int | None = None,
) -> Image.Image:
    """The map on its picture, ready to look at: view, colour bar and title in one RGB picture.

    `attention_map` is (h, w), un-normalised. None for colormap, alpha, view and smooth takes config's value.
    The colours run from `vmin` to `vmax`, by default the map's own range (`shared_range` gives one for
    several maps); values beyond are drawn in the end's colour, and the colour bar then says ≤ or ≥. With unit
    "%" the bar prints values times 100. `gamma` and `crossed` are those of `Look`. The picture keeps its size
    unless `min_side` / `max_side` bound its longer side, in pixels. The colour bar and the title stand
    outside it: without a title its top left corner is the result's, and `.info["picture_box"]` always has its
    place (x0, y0, x1, y1).

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
    }
    look = Look(**{name: value for name, value in chosen.items() if value is not None})
    values = checked_map(attention_map)
    picture = _roomy(fitted(as_rgb(image), min_side, max_side), values.shape)
    if look.view == "side by side":
        content = side_by_side(picture, values, look)
    elif look.view == "heatmap":
        content = heatmap(values, (picture.height, picture.width), look)
    else:
        content = overlay(picture, values, look)
    scale = scale_of(values, look, scale_label, unit) if colorbar else None
    return figure(content, scale, title, subtitle, text_size(picture.size))


def scale_of(
    values: NDArray[np.float64], look: Look, label: str = "share of attention", unit: str = "%"
) -> Scale:
    """What the colour bar of this map says."""
    low, high = value_range(values, look)
    below, above = bool((values < low).any()), bool((values > high).any())
    label += "" if look.gamma == 1 else f" (γ {look.gamma:.2f})"
    return Scale(look.colormap, low, high, label, unit, below, above, look.gamma)


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


def thumbnails(image: Image.Image, maps: Sequence[ArrayLike], look: Look | None = None) -> list[Image.Image]:
    """Each map drawn small, without a colour bar: over the picture, or alone if that is the look's view."""
    look = look or Look()
    side = min(THUMBNAIL_SIDE, max(96, int((THUMBNAIL_PIXELS / max(1, len(maps))) ** 0.5)))
    small = fitted(as_rgb(image), side, side)
    if look.view != "heatmap":
        return [overlay(small, one, look) for one in maps]
    sizes = [_roomy(small, checked_map(one).shape).size for one in maps]
    return [heatmap(one, (height, width), look) for one, (width, height) in zip(maps, sizes, strict=True)]


def map_grid(
    pictures: Sequence[Image.Image],
    maps: Sequence[ArrayLike],
    labels: Sequence[str],
    look: Look,
    columns: int | None = None,
    *,
    title: str | None = None,
    subtitle: str | None = None,
    scale_label: str = "share of attention",
    unit: str = "%",
) -> Image.Image:
    """Pictures of maps in a grid, with what their colours mean.

    That is one colour bar where the look names vmin and vmax, and else each map's own range beside its label.
    """
    if look.vmin is not None and look.vmax is not None:
        key = Scale(look.colormap, look.vmin, look.vmax, scale_label, unit, gamma=look.gamma)
    else:
        key = Scale(look.colormap, 0.0, 1.0, "of each map's own range", gamma=look.gamma)
        ranges = [value_range(checked_map(one), look) for one in maps]
        ends = [number_labels(list(both), unit) for both in ranges]
        labels = [f"{label}  {low} to {high}" for label, (low, high) in zip(labels, ends, strict=True)]
    return overlay_grid(pictures, labels, columns, title=title, subtitle=subtitle, scale=key)
