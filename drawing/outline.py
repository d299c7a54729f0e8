"""The outline of the cells that hold half of a map: where it is, without asking a reader to compare colours.

Goes in: a map (h, w), a picture. Comes out: the cells, the lines around them, the picture with these lines.
viewer/js/state/outline.js finds the same cells and lines.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drawing.colours import WHITE
from drawing.glow import heat, shares
from records.look import Whole

Segment = tuple[int, int, int, int]  # (column, row) of one end and of the other, in cells: 0..w and 0..h

NEAR_BLACK = (17, 17, 19)
DARK, LIGHT = 4.4, 2.2  # widths in pixels, on a picture of up to so many pixels:
SIDE = 800
HALF = 0.5 - 1e-9  # sums of shares are rounded


def half_cells(values: NDArray[np.float64], whole: Whole | None = None) -> NDArray[np.bool_]:
    """(h, w), true for the fewest cells that hold half of the map's positive mass; none of a flat map.

    Of equal cells the first in reading order are taken. Of a map that is a part of another, the `whole`,
    they are those of that one's cells that are here, and of equal ones all.
    """
    if whole is not None:
        return np.asarray(values >= whole.half)
    found = np.zeros(values.size, bool)
    found[_half(values)] = True
    return found.reshape(values.shape)


def whole_of(values: NDArray[np.float64]) -> Whole:
    """What a map of all pictures (patch,) holds, by which its part on each of them is drawn."""
    positive, half = np.maximum(values, 0), _half(values)
    lowest = float(values[half].min()) if len(half) else np.inf
    return Whole(float(positive.sum()), values.size, float(values.min()), float(values.max()), lowest)


def _half(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """The fewest cells that hold half of the map's positive mass, the hottest first; none of a flat map."""
    if not heat(values).any():
        return np.zeros(0, np.intp)
    share = shares(values).ravel()
    order = np.argsort(-share, kind="stable")
    return order[: 1 + int(np.searchsorted(np.cumsum(share[order]), HALF))]


def border_segments(cells: NDArray[np.bool_]) -> list[Segment]:
    """Lines between cells (h, w) that are in and those that are not, the grid's own border included.

    Long ones are whole. First the level ones, row by row from left to right, then the upright ones, column by
    column downwards.
    """
    padded = np.pad(cells, 1)
    level = padded[1:, 1:-1] != padded[:-1, 1:-1]  # (line between rows, column)
    upright = padded[1:-1, 1:] != padded[1:-1, :-1]  # (row, line between columns)
    return [
        *((start, line, end, line) for line, start, end in _runs(level)),
        *((line, start, line, end) for line, start, end in _runs(upright.T)),
    ]


def _runs(lines: NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """(line, start, end) of each run of true values along the second axis."""
    for number, line in enumerate(lines):
        ends = np.flatnonzero(np.diff(np.pad(line, 1).astype(np.int8)))
        for start, end in ends.reshape(-1, 2).tolist():
            yield number, start, end


def outlined(picture: Image.Image, cells: NDArray[np.bool_]) -> Image.Image:
    """The picture with a white line on a near-black one along the borders of those cells.

    Both run along the true borders, whichever pixels these cut through; at the picture's edge they stand
    inside it, to be seen whole.
    """
    segments = border_segments(cells)
    if not segments:
        return picture
    pixels, scale = np.array(picture), max(1.0, max(picture.size) / SIDE)
    for thick, colour in ((DARK * scale, NEAR_BLACK), (LIGHT * scale, WHITE)):
        covered = _coverage(segments, cells.shape, pixels.shape[:2], thick, DARK * scale / 2)
        seen = covered > 0
        share = covered[seen][:, None] / 255
        pixels[seen] = np.rint(pixels[seen] * (1 - share) + np.array(colour) * share)
    return Image.fromarray(pixels)


def _coverage(
    segments: list[Segment], grid: tuple[int, ...], size_hw: tuple[int, ...], thick: float, inside: float
) -> NDArray[np.uint8]:
    """(H, W), 0..255: how much of each pixel the lines cover; their middles stay `inside` of the edges."""
    covered = np.zeros(size_hw, np.uint8)
    for segment in segments:
        spans = []
        for first, last, cells, pixels in zip(segment[1::-1], segment[:1:-1], grid, size_hw, strict=True):
            ends = np.clip(np.array([first, last]) * pixels / cells, inside, pixels - inside)
            spans.append(_covered(ends[0] - thick / 2, ends[1] + thick / 2, pixels))
        (top, down), (left, across) = spans
        box = covered[top : top + len(down), left : left + len(across)]
        np.maximum(box, np.rint(255 * down[:, None] * across).astype(np.uint8), out=box)
    return covered


def _covered(start: float, end: float, pixels: int) -> tuple[int, NDArray[np.float64]]:
    """The first pixel that a stretch touches, and how much of it and each one behind is covered, 0..1."""
    first, last = max(0, int(np.floor(start))), min(pixels, int(np.ceil(end)))
    pixel = np.arange(first, last)
    return first, np.minimum(pixel + 1, end) - np.maximum(pixel, start)
