"""Pixels: a map over its picture, with a numbered colour bar, and grids of such pictures.

Goes in: a Pillow picture and a map (h, w), un-normalised. Comes out: Pillow RGB pictures. Knows nothing of
models or tokens. Sizes are (h, w); Pillow's (width, height) is called `size_wh`, here only.

A map is coloured linearly from `vmin` (default: its lowest value) to `vmax` (its highest), and both numbers
stand on the colour bar. Cell (r, c) of a map (h, w) covers the pixel rows y with r·H/h <= y < (r+1)·H/h of a
picture of H rows, columns alike. The overlay is (1 - alpha) · picture + alpha · colour, with the same alpha
everywhere.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

import utils
from records.look import LARGEST, PERCEPTUAL, Look, check_colormap

Box = tuple[int, int, int, int]  # (x0, y0, x1, y1) in pixels, x1 and y1 outside
BOXES = ("picture_box", "original_box", "bar_box")  # kept in a result's .info

WHITE, INK, FAINT = (255, 255, 255), (32, 33, 36), (110, 114, 120)
MARKED = (255, 214, 102)  # ground of the words that a paragraph marks
MIN_SIDE, MAX_SIDE = 640, 2048  # longer side, in pixels, of a picture that is written as a file
THUMBNAIL_SIDE, THUMBNAIL_PIXELS = 320, 20e6  # longer side of a small picture; pixels of all together
ROWS_AT_ONCE = 64  # rows blended at a time, so that a 40-megapixel picture needs little memory

ISOLATES = "\u2068\u2069"  # Unicode's marks around text of a writing direction of its own
INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn")

# Tried in this order for characters that DejaVu Sans lacks; Pillow looks in the system's font folders.
FALLBACK_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "SourceHanSans-Regular.ttc",
    "msyh.ttc",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "Arial Unicode.ttf",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
)


@dataclass(frozen=True)
class Scale:
    """What a colour bar says: colours, the values at its two ends, and what the numbers are."""

    colormap: str
    vmin: float
    vmax: float
    label: str = "share of attention"
    unit: str = (
        "%"  # "%": values are shares and are printed times 100; else printed as they are, before the unit
    )
    below: bool = False  # values under vmin were drawn in the lowest colour
    above: bool = False  # values over vmax were drawn in the highest colour
    gamma: float = 1.0  # colours stand for values by this power of their place between the ends


# --- values and colours -------------------------------------------------------------------------------------


def colormaps() -> list[str]:
    """Names of matplotlib's colour maps: perceptually even ones first, reversed ones ("_r") last."""
    others = sorted(
        set(matplotlib.colormaps) - set(PERCEPTUAL), key=lambda name: (name.endswith("_r"), name.lower())
    )
    return [*PERCEPTUAL, *others]


@lru_cache(maxsize=32)
def palette(colormap: str) -> NDArray[np.uint8]:
    """Colours (n, 3) of a matplotlib colour map, RGB, lowest value first."""
    check_colormap(colormap)
    colours = matplotlib.colormaps[colormap]
    table = np.array(colours(np.arange(colours.N), bytes=True)[:, :3], dtype=np.uint8)
    table.flags.writeable = False
    return table


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


def colours(
    values: NDArray[np.float64], colormap: str, low: float, high: float, gamma: float = 1.0
) -> NDArray[np.uint8]:
    """RGB (..., 3) of the values from low to high, clipped there; the lowest if low == high.

    The place of a value between the ends is raised to the power gamma; 1 is linear.
    """
    table = palette(colormap)
    share = np.clip((values - low) / (high - low), 0, 1) ** gamma if high > low else np.zeros_like(values)
    return table[np.minimum((share * len(table)).astype(np.intp), len(table) - 1)]


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
    return _figure(content, scale, title, subtitle, text_size(picture.size))


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
    return utils.rgb(image)


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


# --- colour bar, title, grid --------------------------------------------------------------------------------


def text_size(size_wh: tuple[int, int]) -> int:
    """Height of letters, in pixels, that goes with a picture of that size."""
    return min(40, max(12, round(max(size_wh) / 45)))


def colour_bar(scale: Scale, length: int, size: int, horizontal: bool = False) -> Image.Image:
    """A colour bar with its numbers, about `length` pixels long; the coloured part is `.info["bar_box"]`.

    Highest value at the top, or at the right. The ends carry the real vmin and vmax, round values stand
    between.
    """
    face, thick, tick, gap = _font(size), round(1.1 * size), max(3, size // 3), max(3, size // 4)
    values, labels = _ticks(scale, min(7, max(2, length // ((8 if horizontal else 4) * size))))
    widths = [math.ceil(face.width(label)) for label in labels]
    along, across = (widths, face.height) if horizontal else ([face.height] * len(widths), max(widths))
    margin = max(along[0], along[-1]) // 2 + 1  # half of an end's label stands out beyond the coloured part
    length = max(length, 2 * margin + along[0] + along[-1])
    span = length - 2 * margin  # pixels from the lowest colour to the highest, both counted
    depth = thick + tick + gap + across
    canvas = Image.new("RGB", (length, depth) if horizontal else (depth, length), WHITE)
    ramp = _ramp(scale, span, thick)
    box = (margin, 0, margin + span, thick) if horizontal else (0, margin, thick, margin + span)
    canvas.paste(ramp if horizontal else ramp.transpose(Image.Transpose.ROTATE_90), box)
    canvas.info["bar_box"] = box

    draw = ImageDraw.Draw(canvas)
    places = [_place(value, scale, span) for value in values]
    for index in _apart(places, along, size):
        at, text = places[index], labels[index]
        if horizontal:
            x = margin + at
            start = (x - widths[index] / 2, float(thick + tick + gap))
            draw.line((x, thick, x, thick + tick - 1), fill=FAINT)
        else:
            y = margin + span - 1 - at
            start = (float(thick + tick + gap), y - face.middle)
            draw.line((thick, y, thick + tick - 1, y), fill=FAINT)
        face.write(draw, start, text, INK)
    return _with_caption(canvas, scale.label, face, horizontal)


def _ramp(scale: Scale, span: int, thick: int) -> Image.Image:
    """The colours from lowest (left) to highest (right); only the lowest where there is one value."""
    share = np.linspace(0, 1, span) if scale.vmax > scale.vmin else np.zeros(span)
    return Image.fromarray(np.repeat(colours(share, scale.colormap, 0, 1)[None], thick, 0))


def _place(value: float, scale: Scale, span: int) -> int:
    """Pixels from the low end of the bar; one value alone stands in the middle."""
    if scale.vmax == scale.vmin:
        return span // 2
    return round(((value - scale.vmin) / (scale.vmax - scale.vmin)) ** scale.gamma * (span - 1))


def _apart(places: list[int], extents: list[int], gap: int) -> list[int]:
    """Indices of labels that do not touch: both ends always, others where there is room."""
    kept = sorted({0, len(places) - 1})
    for index in range(1, len(places) - 1):
        if all(abs(places[index] - places[k]) >= (extents[index] + extents[k]) / 2 + gap for k in kept):
            kept.append(index)
    return kept


def _with_caption(bar: Image.Image, caption: str, face: _Font, horizontal: bool) -> Image.Image:
    """The bar with what its numbers are: under a horizontal bar, upright at the right of a vertical one."""
    strip = Image.new("RGB", (math.ceil(face.width(caption)) + 2, round(1.2 * face.height)), WHITE)
    if not caption or strip.width > (bar.width if horizontal else bar.height):
        return bar
    face.write(ImageDraw.Draw(strip), (1, strip.height - face.height), caption, FAINT)
    if not horizontal:
        strip = strip.transpose(Image.Transpose.ROTATE_90)
    width, height = bar.size
    size_wh = (width, height + strip.height) if horizontal else (width + strip.width, height)
    canvas = Image.new("RGB", size_wh, WHITE)
    canvas.paste(bar, (0, 0))
    canvas.paste(
        strip, ((width - strip.width) // 2, height) if horizontal else (width, (height - strip.height) // 2)
    )
    canvas.info.update(bar.info)
    return canvas


def _ticks(scale: Scale, about: int) -> tuple[list[float], list[str]]:
    """Values, lowest first, and their labels: the two ends as they are, round values between."""
    if scale.vmin == scale.vmax:
        return [scale.vmin], number_labels([scale.vmin], scale.unit)
    inner = MaxNLocator(nbins=about, steps=[1, 2, 2.5, 5, 10]).tick_values(scale.vmin, scale.vmax)
    values = [scale.vmin, *(float(v) for v in inner if scale.vmin < v < scale.vmax), scale.vmax]
    labels = number_labels(values, scale.unit)
    labels[0] = f"≤ {labels[0]}" if scale.below else labels[0]
    labels[-1] = f"≥ {labels[-1]}" if scale.above else labels[-1]
    return values, labels


def number_labels(values: Sequence[float], unit: str = "%") -> list[str]:
    """The numbers as text with their unit, with as many decimals as show three figures of their range.

    Numbers that are all under a thousandth, or over a million, share a power of ten: 1.25×10⁻⁷ %.
    """
    shown = [100 * value if unit == "%" else value for value in values]
    largest = max(abs(value) for value in shown)
    spread = (max(shown) - min(shown)) or largest
    power = 0 if largest == 0 or 1e-3 <= largest < 1e6 else max(-300, _magnitude(largest))
    decimals = 0 if spread == 0 else min(9, max(0, 2 + power - _magnitude(spread)))
    superscript = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    suffix = (f"×10{superscript}" if power else "") + (f" {unit}" if unit else "")
    texts = (f"{value / 10.0**power:z.{decimals}f}" if value else "0" for value in shown)
    return [f"0 {unit}".rstrip() if text == "0" else text.replace("-", "−") + suffix for text in texts]


def _magnitude(number: float) -> int:
    """Power of ten of the first figure: 2 for 123; just below a power counts as that power."""
    return math.floor(math.log10(number) + 1e-9)


def _figure(
    content: Image.Image, scale: Scale | None, title: str | None, subtitle: str | None, size: int
) -> Image.Image:
    """Content with its colour bar beside it and its title above; nothing is covered. Boxes in `.info`."""
    figure = content if scale is None else _with_bar(content, scale, size)
    heading = [(title, _font(round(1.25 * size)), INK), (subtitle, _font(size), FAINT)]
    lines = [(text, face, colour) for text, face, colour in heading if text]
    top = sum(round(1.35 * face.height) for _, face, _ in lines) + (size // 2 if lines else 0)
    widest = max((math.ceil(face.width(text)) for text, face, _ in lines), default=0)
    width = max(figure.width, min(widest, 24 * size))  # a narrow picture still has room for a few words
    canvas = Image.new("RGB", (width, top + figure.height), WHITE)
    canvas.paste(figure, (0, top))
    y = 0
    for text, face, colour in lines:
        face.write(ImageDraw.Draw(canvas), (0, y), face.shortened(text, width), colour)
        y += round(1.35 * face.height)
    boxes = {"picture_box": (0, 0, *content.size), **_boxes(figure)}
    canvas.info.update({name: _moved(box, (0, top)) for name, box in boxes.items()})
    return canvas


def _with_bar(content: Image.Image, scale: Scale, size: int) -> Image.Image:
    """Content with its colour bar at the right, or below where it is too flat for one."""
    width, height = content.size
    below = width > height and height < 12 * size
    bar = colour_bar(scale, max(width if below else height, 10 * size), size, below)
    place = (0, height + size // 2) if below else (width + size, 0)
    size_wh = (max(width, place[0] + bar.width), max(height, place[1] + bar.height))
    canvas = Image.new("RGB", size_wh, WHITE)
    canvas.paste(content, (0, 0))
    canvas.paste(bar, place)
    canvas.info.update(_boxes(content) | {"bar_box": _moved(bar.info["bar_box"], place)})
    return canvas


def _boxes(image: Image.Image) -> dict[str, Box]:
    return {name: box for name, box in image.info.items() if name in BOXES}


def _moved(box: Box, by: tuple[int, int]) -> Box:
    return box[0] + by[0], box[1] + by[1], box[2] + by[0], box[3] + by[1]


def overlay_grid(
    pictures: Sequence[Image.Image],
    labels: Sequence[str],
    columns: int | None = None,
    *,
    title: str | None = None,
    subtitle: str | None = None,
    scale: Scale | None = None,
) -> Image.Image:
    """Several pictures in rows, in the order given, each with its label above; boxes in `.info["boxes"]`.

    Without `columns` the result comes out about 4:3. `scale` adds one colour bar for pictures that share it.
    """
    if not pictures or len(pictures) != len(labels):
        raise ValueError(
            f"a grid needs as many labels as pictures; got {len(pictures)} pictures, {len(labels)} labels"
        )
    if columns is not None and columns < 1:
        raise ValueError(f"columns must be at least 1; got {columns}")
    cell_w, cell_h = (max(picture.size[axis] for picture in pictures) for axis in (0, 1))
    face = _font(text_size((cell_w, cell_h)) + 1)
    gap, strip = 2 * face.size // 2 + 4, round(1.5 * face.height)
    step_w, step_h = cell_w + gap, cell_h + strip + gap
    columns = min(columns or _balanced_columns(len(pictures), step_w, step_h), len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * step_w - gap, rows * step_h - gap), WHITE)
    boxes: list[Box] = []
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = index % columns * step_w, index // columns * step_h
        face.write(ImageDraw.Draw(sheet), (x, y), face.shortened(label, cell_w), INK)
        sheet.paste(as_rgb(picture), (x, y + strip))
        boxes.append((x, y + strip, x + picture.width, y + strip + picture.height))
    figure = _figure(sheet, scale, title, subtitle, max(face.size, text_size(sheet.size) // 2))
    corner = figure.info["picture_box"][:2]
    figure.info["boxes"] = [_moved(box, corner) for box in boxes]
    return figure


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


def _balanced_columns(count: int, step_w: int, step_h: int) -> int:
    """Columns for which the whole is closest to 4:3."""

    def imbalance(columns: int) -> float:
        return abs(math.log(columns * step_w / (-(-count // columns) * step_h) * 3 / 4))

    return min(range(1, count + 1), key=imbalance)


# --- text below a picture -----------------------------------------------------------------------------------


def paragraph(
    text: str,
    width: int,
    size: int,
    *,
    mark: tuple[int, int] | None = None,
    lines: int | None = None,
    colour: tuple[int, int, int] = INK,
) -> Image.Image:
    """The text in lines of `width` pixels, with letters `size` pixels high.

    Characters mark[0] up to mark[1] stand on a coloured ground. With `lines` it is at most so many lines
    high; of a longer text, those around the mark are shown, without a mark the first.
    """
    face = _font(size)
    broken = _broken(text, width, size)
    shown = broken if lines is None else broken[_first_line(broken, mark, lines) :][:lines]
    step = round(1.35 * face.height)
    canvas = Image.new("RGB", (width, step * max(1, len(shown))), WHITE)
    draw = ImageDraw.Draw(canvas)
    for row, (start, end) in enumerate(shown):
        ends = sorted({start, end, *(min(max(at, start), end) for at in mark or ())})
        x, y = 0.0, row * step
        for left, right in pairwise(ends):
            wide = face.width(text[left:right])
            if mark is not None and mark[0] <= left < mark[1]:
                draw.rectangle((round(x), y, round(x + wide), y + face.height), fill=MARKED)
            face.write(draw, (x, y), text[left:right], colour)
            x += wide
    return canvas


def _first_line(broken: Sequence[tuple[int, int]], mark: tuple[int, int] | None, lines: int) -> int:
    """First of so many lines to show: the marked one in the middle where there are more."""
    at = 0 if mark is None else next((i for i, (_, end) in enumerate(broken) if mark[0] < end), len(broken))
    return max(0, min(at - lines // 2, len(broken) - lines))


@lru_cache(maxsize=16)
def _broken(text: str, width: int, size: int) -> tuple[tuple[int, int], ...]:
    """Start and end in the text of each line: broken between words, or inside one wider than a line."""
    face, lines, start, end = _font(size), [], 0, 0
    for word in re.finditer(r"\S+\s*|\s+", text):
        if face.width(text[start : word.end()].rstrip()) > width:
            if end > start:
                lines.append((start, end))
            start = word.start()
            for at in range(word.start() + 1, word.end()):
                if face.width(text[start : at + 1].rstrip()) > width:
                    lines.append((start, at))
                    start = at
        end = word.end()
    return (*lines, (start, end)) if end > start else tuple(lines)


def with_notes(figure: Image.Image, notes: Sequence[str]) -> Image.Image:
    """The figure with small lines of text below it, broken at its width; its boxes stay where they are."""
    size = text_size(figure.size)
    parts = [paragraph(note, figure.width, max(11, round(0.8 * size)), colour=FAINT) for note in notes]
    canvas = Image.new(
        "RGB", (figure.width, figure.height + size + sum(part.height for part in parts)), WHITE
    )
    canvas.paste(figure, (0, 0))
    y = figure.height + size
    for part in parts:
        canvas.paste(part, (0, y))
        y += part.height
    canvas.info.update(figure.info)
    return canvas


# --- letters ------------------------------------------------------------------------------------------------


class _Font:
    """Letters of one size: DejaVu Sans (comes with matplotlib), then a font of the system, then code points.

    A character that no font at hand can draw is written as [U+4E2D]: never as an empty box.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        ascent, descent = _sized(_main_font_path(), size).getmetrics()
        self.ascent, self.height = ascent, ascent + descent
        self.middle = ascent + _sized(_main_font_path(), size).getbbox("0", anchor="ls")[1] / 2  # of a digit

    def runs(self, text: str) -> list[tuple[str, ImageFont.FreeTypeFont]]:
        """The text in pieces to draw from left to right, each with a font that has its characters."""
        pieces: list[tuple[str, ImageFont.FreeTypeFont]] = []
        joined = False
        for character in drawable(text):
            if character in ISOLATES:
                joined = False
                continue
            font = _sized(_font_with(character) or _main_font_path(), self.size)
            if joined and pieces[-1][1] is font:
                pieces[-1] = (pieces[-1][0] + character, font)
            else:
                pieces.append((character, font))
            joined = True
        return pieces

    def width(self, text: str) -> float:
        return sum(font.getlength(piece) for piece, font in self.runs(text))

    def shortened(self, text: str, width: float) -> str:
        """The text, cut with an ellipsis if it is wider than that many pixels."""
        text = plain_text(text)
        if self.width(text) <= width:
            return text
        short, long = 0, min(len(text), 400)
        while short < long:
            middle = (short + long + 1) // 2
            short, long = (middle, long) if self.width(text[:middle] + "…") <= width else (short, middle - 1)
        return text[:short].rstrip() + "…"

    def write(
        self, draw: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, fill: tuple[int, int, int]
    ) -> None:
        """Write with the top left corner at xy, all fonts on one base line."""
        x, y = xy
        for piece, font in self.runs(text):
            draw.text((x, y + self.ascent), piece, fill=fill, font=font, anchor="ls")
            x += font.getlength(piece)


def isolated(text: str) -> str:
    """The text marked so that its writing direction leaves what is around it in place."""
    return f"{ISOLATES[0]}{text}{ISOLATES[1]}"


@lru_cache(maxsize=64)
def _font(size: int) -> _Font:
    return _Font(size)


def plain_text(text: str) -> str:
    """The text in one line: line breaks and tabs as signs, other invisible characters left out."""
    signs = {"\n": "↵", "\r": "", "\t": "⇥"}
    shown = (signs.get(c, c) for c in text)
    return "".join(c for c in shown if c in ISOLATES or unicodedata.category(c) not in INVISIBLE)


def drawable(text: str) -> str:
    """The text with characters that no font at hand can draw written as code points, such as [U+4E2D]."""
    return "".join(c if c in ISOLATES or _font_with(c) else f"[U+{ord(c):04X}]" for c in plain_text(text))


def font_files(text: str) -> list[str]:
    """Files of the fonts that `drawable(text)` takes characters from, the main one first."""
    found = {_font_with(character) for character in drawable(text)}
    return [
        path for path in (_main_font_path(), *_fallback_paths()) if path in found or path == _main_font_path()
    ]


@lru_cache(maxsize=1)
def _main_font_path() -> str:
    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@lru_cache(maxsize=64)
def _sized(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=1)
def _fallback_paths() -> tuple[str, ...]:
    """Files of the fallback fonts that this system has."""
    found = []
    for name in FALLBACK_FONTS:
        try:
            found.append(str(ImageFont.truetype(name, 12).path))
        except OSError:
            continue
    return tuple(found)


@lru_cache(maxsize=4)
def _glyphs(path: str) -> FT2Font:
    return FT2Font(path)


@lru_cache(maxsize=4096)
def _font_with(character: str) -> str | None:
    """File of the first font that can draw the character, or None."""
    if _glyphs(_main_font_path()).get_char_index(ord(character)):
        return _main_font_path()
    return next((path for path in _fallback_paths() if _glyphs(path).get_char_index(ord(character))), None)
