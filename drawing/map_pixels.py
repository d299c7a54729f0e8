"""The pixels of a map under a look: in the colours of a colour map, or what lights up a picture.

Goes in: a map (h, w), checked, a size (H, W) and a `Look`. Comes out: RGB pixels, or v at each pixel. Rows
are made some at a time, so that a 40-megapixel picture needs little memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drawing import glow
from drawing.colours import colours, places
from drawing.enlarge import cell_index, cubic_weights, flat_weights, smooth_rows
from records.look import Look

ROWS_AT_ONCE = 64


def value_range(values: NDArray[np.float64], look: Look) -> tuple[float, float]:
    """(low, high) that the colours span: the look's own, else the map's lowest and highest value.

    Of a map that is a part of another they are that one's. Under glow they are shares of the map: an even
    one, and the one with the hottest colour.
    """
    if look.is_glow:
        even, own = glow.glow_scale(values, look.whole)
        return even, own if look.vmax is None else look.vmax
    ends = (look.whole.lowest, look.whole.highest) if look.whole else (values.min(), values.max())
    low = float(ends[0] if look.vmin is None else look.vmin)
    high = float(ends[1] if look.vmax is None else look.vmax)
    if low > high:
        raise ValueError(f"vmin must not be above vmax; got vmin={low:g}, vmax={high:g}")
    if low == high and (values != low).any():
        raise ValueError(
            f"vmin and vmax are both {low:g}, but the map runs from {values.min():g} to {values.max():g}"
        )
    return low, high


def row_blocks(height: int) -> Iterator[slice]:
    """The rows of a picture, some at a time."""
    for start in range(0, height, ROWS_AT_ONCE):
        yield slice(start, min(start + ROWS_AT_ONCE, height))


def map_pixels(values: NDArray[np.float64], size_hw: tuple[int, int], look: Look) -> NDArray[np.uint8]:
    """RGB (H, W, 3) of the map drawn at that size."""
    low, high = value_range(values, look)
    if not look.smooth:
        rows, columns = cell_index(size_hw[0], values.shape[0]), cell_index(size_hw[1], values.shape[1])
        return colours(values, look.colormap, low, high, look.gamma)[rows[:, None], columns]
    pixels = np.empty((*size_hw, 3), np.uint8)
    for block in row_blocks(size_hw[0]):
        blended = smooth_rows(values, size_hw, block)
        pixels[block] = colours(blended, look.colormap, low, high, look.gamma)
    return pixels


def heat_rows(
    values: NDArray[np.float64], size_hw: tuple[int, int], look: Look
) -> Callable[[slice], NDArray[np.float64]]:
    """What returns v, 0..1, at some pixel rows of size (H, W): for the spotlight under either kind of look.

    Under a colour map v is the place between the ends of its range, blended as its colours are.
    """
    (h, w), (height, width) = values.shape, size_hw
    if look.is_glow or not look.smooth:
        weights = cubic_weights if look.is_glow and look.smooth else flat_weights
        down, lines = weights(height, h), _heat(values, values, look) @ weights(width, w).T
        return lambda rows: np.clip(down[rows] @ lines, 0, 1)
    return lambda rows: _heat(values, smooth_rows(values, size_hw, rows), look)


def _heat(values: NDArray[np.float64], shown: NDArray[np.float64], look: Look) -> NDArray[np.float64]:
    """v, 0..1, of a map, or under a colour map of values that were blended from it."""
    if look.is_glow:
        return glow.heat(values, look.vmax, look.gamma, look.whole)
    return places(shown, *value_range(values, look), look.gamma)


def lit(
    picture: Image.Image,
    values: NDArray[np.float64],
    look: Look,
    light: Callable[[NDArray[np.uint8], NDArray[np.float64]], NDArray[np.uint8]],
) -> Image.Image:
    """The picture with light(pixels, v) for its pixels."""
    pixels = np.array(picture)
    heat = heat_rows(values, (picture.height, picture.width), look)
    for rows in row_blocks(picture.height):
        pixels[rows] = light(pixels[rows], heat(rows))
    return Image.fromarray(pixels)
