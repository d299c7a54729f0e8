"""A closer look: which part of a picture to cut out and ask about again, and what that gains.

Goes in: a map (h, w), boxes, the records of pictures. Comes out: a window in pixels of the picture given, the
crop, how much more of it the model sees, where the crop's cells lie on the whole, and a `Crop`, which an
answer keeps. Knows nothing of models and pages.

A model sees a large picture shrunk, so that small things in it are a few pixels. Asked again with the part
that it looked at, cut out of the picture as it was given, beside the whole, it can read them (ViCrop: Zhang
et al. 2025, arXiv 2502.17422).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from records.visuals import PLACEHOLDERS, Kind, Visual, placeholders

if TYPE_CHECKING:
    from PIL.Image import Image

Whole = tuple[int, int, int, int]  # left, top, right, bottom in whole pixels of the picture given

SIDE = 224  # pixels of the smallest window's sides, as published
TIMES = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)  # the windows that are tried: so many times as wide and high
SMALLEST = 28  # pixels of a crop's sides, at least: a smaller one is less than one visual token
MORE = 1.05  # times the detail: less is said to be no more, since grids round sides to whole cells
FLAT = "this map is flat: it points at no part of the picture; say which by a box"
_SAME = 1e-9  # of a map's sum: less is rounding


# --- Which part ---------------------------------------------------------------------------------------------


def window_of(values: NDArray[np.floating], size: tuple[int, int]) -> Whole:
    """Return the window of a picture of `size` (h, w) in pixels that stands out most in its map (h, w).

    Windows are squares of 224 pixels of the picture given times 1, 1.2, … 2; in a picture with a side of less
    than twice that, of half its shorter side times these. None is wider or higher than the picture, narrower
    or lower than a cell or than 28 pixels, or all of the picture. Of each size it is the place with the
    largest sum of the map; of the sizes the one whose sum is most above those of the same window one cell to
    the left, right, up and down, for each cell of it (ViCrop: Zhang et al. 2025, arXiv 2502.17422).

    Deviations from the published code: a window begins at any pixel, and cells count by the part of them in
    it, where that code takes whole cells and then puts a window of the size around them; a small picture
    still has windows smaller than itself, where it takes all of it; a value below zero counts nowhere. Of
    equal places it is that nearest to the middle of the map's heat.

    Raises:
        ValueError: one line, for a flat map, for one that is none (h, w) of finite values, and for a picture
            that has no part of 28 pixels a side.
    """
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"expected a map (h, w) of finite values; got shape {values.shape}")
    heat = np.clip(values.astype(np.float64), 0, None)
    if heat.max() - heat.min() <= _SAME * heat.max():
        raise ValueError(FLAT)
    grid = (values.shape[0], values.shape[1])
    sizes = _sizes(size, grid)
    if min(size) < SMALLEST or not sizes:
        raise ValueError(f"a picture of {size[1]} × {size[0]} pixels is too small to be cut")
    windows = [_place(heat, size, window) for window in sizes]
    best = max(windows, key=lambda window: round(window.above / heat.sum(), 12))  # of equal ones the smallest
    (top, left), (height, width) = best.start, best.size
    return left, top, left + width, top + height


class _Window(NamedTuple):
    """The best place of a window of one size, and how far it stands out."""

    start: tuple[int, int]  # (top, left)
    size: tuple[int, int]  # (h, w) in pixels
    above: float  # its sum less the mean of its neighbours', for each cell


def _sizes(size: tuple[int, int], grid: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the windows (h, w) in pixels that are tried in a picture, smallest first."""
    side = min(SIDE, min(size) / 2)
    found: list[tuple[int, int]] = []
    for times in TIMES:
        # A cell's height or width, rounded up, may begin within a pixel: one more holds it whole.
        least = [math.ceil(pixels / cells) + 1 for pixels, cells in zip(size, grid, strict=True)]
        high, wide = (
            min(pixels, max(round(side * times), cell, SMALLEST))
            for pixels, cell in zip(size, least, strict=True)
        )
        if (high, wide) != size and (high, wide) not in found:
            found.append((high, wide))
    return found


def _place(heat: NDArray[np.float64], size: tuple[int, int], window: tuple[int, int]) -> _Window:
    """Return the place of a window with the largest sum, and how far that is above its neighbours'."""
    cells = (size[0] / heat.shape[0], size[1] / heat.shape[1])
    starts = [_starts(*side) for side in zip(size, heat.shape, window, strict=True)]
    rows, columns = (
        _covered(begin, wide, pixels, count)
        for begin, wide, pixels, count in zip(starts, window, size, heat.shape, strict=True)
    )
    sums = rows @ heat @ columns.T  # (top, left)
    best = np.argwhere(sums >= sums.max() - _SAME * heat.sum())
    middle = [_middle(heat.sum(axis=1 - axis), cells[axis]) for axis in (0, 1)]
    centres = np.stack([starts[axis][best[:, axis]] + window[axis] / 2 for axis in (0, 1)], axis=1)
    row, column = best[np.argmin(((centres - middle) ** 2).sum(axis=1))]
    start = (int(starts[0][row]), int(starts[1][column]))
    near = [
        _sum(heat, size, (start[0] + down * cells[0], start[1] + right * cells[1]), window)
        for down, right in ((0, -1), (0, 1), (-1, 0), (1, 0))
        if 0 <= start[0] + down * cells[0] <= size[0] - window[0]
        and 0 <= start[1] + right * cells[1] <= size[1] - window[1]
    ]
    area = window[0] * window[1] / (cells[0] * cells[1])
    return _Window(start, window, (float(sums[row, column]) - float(np.mean(near))) / area if near else 0.0)


def _starts(pixels: int, count: int, window: int) -> NDArray[np.int64]:
    """Return where a window along one side can have its largest sum, in whole pixels, ascending.

    Between two borders of cells that one of its ends crosses, the sum is linear: the largest is beside one.
    """
    borders = np.arange(count + 1) * (pixels / count)
    ends = np.concatenate([borders, borders - window])
    near = np.concatenate([np.floor(ends), np.ceil(ends), [0, pixels - window]])
    return np.unique(near[(near >= 0) & (near <= pixels - window)]).astype(np.int64)


def _covered(starts: NDArray[Any], window: int, pixels: int, count: int) -> NDArray[np.float64]:
    """Return which part of each cell a window along one side covers (start, cell), 0..1."""
    borders = np.arange(count + 1) * (pixels / count)
    ends = np.minimum(borders[1:], starts[:, None] + window)
    between = ends - np.maximum(borders[:-1], starts[:, None])
    return np.clip(between, 0, None) * count / pixels


def _sum(
    heat: NDArray[np.float64], size: tuple[int, int], start: tuple[float, float], window: tuple[int, int]
) -> float:
    """Return the sum of a map in one window."""
    rows, columns = (
        _covered(np.array([begin]), wide, pixels, count)[0]
        for begin, wide, pixels, count in zip(start, window, size, heat.shape, strict=True)
    )
    return float(rows @ heat @ columns)


def _middle(heat: NDArray[np.float64], cell: float) -> float:
    """Return the middle of the heat along one side, in pixels."""
    return float(((np.arange(len(heat)) + 0.5) * heat).sum() / heat.sum() * cell)


# --- The crop -----------------------------------------------------------------------------------------------


def box_within(corners: Sequence[float], size: tuple[int, int]) -> Whole:
    """Return a box, dragged or typed, in whole pixels of a picture of `size` (h, w), cut off at its edges.

    `corners` are two opposite ones, x, y, x, y, in any order; pixels that the box touches are in it.

    Raises:
        ValueError: one line, for what is no box, one outside of the picture, and one of less than 28 pixels a
            side.
    """
    if len(corners) != 4 or not all(math.isfinite(side) for side in corners):
        raise ValueError("a crop has four numbers: left, top, right, bottom in pixels of the picture")
    (left, right), (top, bottom) = sorted(corners[::2]), sorted(corners[1::2])
    height, width = size
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise ValueError(f"the crop lies outside of the picture, which has {width} × {height} pixels")
    box = (
        max(0, math.floor(left)),
        max(0, math.floor(top)),
        min(width, math.ceil(right)),
        min(height, math.ceil(bottom)),
    )
    if min(wide := box[2] - box[0], high := box[3] - box[1]) < SMALLEST:
        raise ValueError(
            f"the crop is too small, {wide} × {high} pixels; each side needs at least {SMALLEST}"
        )
    return box


def cropped(image: Image, box: Sequence[float]) -> Image:
    """Return the part of a picture in a box, in the pixels that it was given in; see `box_within`."""
    return image.crop(box_within(box, (image.height, image.width)))


class InPlace(NamedTuple):
    """Where the cells of a crop's map lie on the whole picture: an offset, and the size of a cell."""

    left: float  # of the first cell, in pixels of the whole picture
    top: float
    cell_width: float
    cell_height: float

    def corners(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Return a cell's left, top, right and bottom in pixels of the whole picture."""
        left, top = self.left + column * self.cell_width, self.top + row * self.cell_height
        return left, top, left + self.cell_width, top + self.cell_height

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Return the row and column of the cell at a place of the whole picture; beyond the crop none is."""
        row, column = (y - self.top) / self.cell_height, (x - self.left) / self.cell_width
        return math.floor(row), math.floor(column)


def in_its_place(box: Whole, grid: tuple[int, int]) -> InPlace:
    """Return how a crop's map of `grid` (h, w) lies on the picture that the crop was cut from."""
    left, top, right, bottom = box
    return InPlace(left, top, (right - left) / grid[1], (bottom - top) / grid[0])


# --- What it gains ------------------------------------------------------------------------------------------


def detail(visual: Visual, cell: int) -> float:
    """Return how many pixels of a picture's sides the model sees for each of its own, 0..1.

    It is the mean (geometric) of both sides; 1: it was not shrunk. What is enlarged has no more detail than
    it had. `cell` is the side of a visual token in pixels (`Capture.settings["cell"]`).
    """
    _, *grid = visual.grid
    high, wide = (min(1.0, count * cell / side) for count, side in zip(grid, visual.size, strict=True))
    return math.sqrt(high * wide)


def detail_gain(whole: Visual, crop: Visual, cell: int) -> float:
    """Return how many times as many pixels, along a side, the model sees of a thing in the crop.

    1 where the whole was not shrunk: there is nothing to gain. What was seen of both, by their grids; of a
    crop that was not asked about yet, `most_gain` is known.
    """
    return detail(crop, cell) / detail(whole, cell)


def most_gain(whole: Visual, cell: int) -> float:
    """Return the gain of a crop that the model sees in all its pixels: no crop of the picture has more."""
    return 1 / detail(whole, cell)


def gain_text(gain: float) -> str:
    """Return what a crop gained, in a sentence; below 1.05 it is nothing: grids have whole cells."""
    if gain < MORE:
        return "The crop shows no more detail: the model had seen the picture in as many pixels."
    return f"The crop shows {gain:.1f} times the detail, along each side."


# --- What an answer keeps of it -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Crop:
    """Which picture of an answer is a crop, and of what."""

    visual: int  # the number of the crop among the pictures of the prompt, from 0
    of: int  # the number of the picture that it was cut from
    box: Whole  # left, top, right, bottom in pixels of that one as it was given

    def __post_init__(self) -> None:
        """Refuse a picture that is its own crop, and what is no box."""
        left, top, right, bottom = self.box
        if min(self.visual, self.of) < 0 or self.visual == self.of:
            raise ValueError(f"expected a crop of another picture; got {self.visual} of {self.of}")
        if not (0 <= left < right and 0 <= top < bottom):
            raise ValueError(f"expected a box left, top, right, bottom; got {self.box}")

    @property
    def as_json(self) -> dict[str, Any]:
        """The same, as `Capture.settings["crop"]` has it."""
        return {"visual": self.visual, "of": self.of, "box": list(self.box)}

    def check(self, visuals: Sequence[Visual]) -> None:
        """Raise ValueError unless both are pictures of an answer, of these sizes."""
        if max(self.visual, self.of) >= len(visuals):
            raise ValueError(f"the answer is about {len(visuals)} pictures; its crop says {self}")
        crop, whole = visuals[self.visual], visuals[self.of]
        left, top, right, bottom = self.box
        if (crop.kind, whole.kind) != ("image", "image") or crop.size != (bottom - top, right - left):
            raise ValueError(f"the crop of the answer is no picture of the size of its box {self.box}")
        if right > whole.size[1] or bottom > whole.size[0]:
            raise ValueError(f"the box {self.box} of the crop reaches beyond its picture {whole.size}")


def crop_of_json(facts: Mapping[str, Any]) -> Crop:
    """Return the crop that `Crop.as_json` wrote."""
    left, top, right, bottom = facts["box"]
    return Crop(facts["visual"], facts["of"], (left, top, right, bottom))


def moved(box: Sequence[float], crop: Crop) -> tuple[float, ...]:
    """Return a box on a crop (x, y, x, y) in pixels of the picture that the crop was cut from."""
    return tuple(side + crop.box[number % 2] for number, side in enumerate(box))


def with_place(prompt: str, kinds: Sequence[Kind]) -> str:
    """Return a prompt about visuals of these kinds with a place for one picture more, the crop.

    Where the prompt says where its pictures stand, the crop's `<image>` follows the last of them directly;
    else it is as it was: then all stand before it. One that has the place already stays.
    """
    places = list(placeholders([*kinds, "image"]).finditer(prompt))
    if len(places) != len(kinds) or not kinds:
        return prompt
    end = places[-1].end()
    return prompt[:end] + PLACEHOLDERS["image"] + prompt[end:]


def without_place(prompt: str, kinds: Sequence[Kind]) -> str:
    """Return a prompt about visuals of these kinds, of which the last is a crop, without the crop's place."""
    places = list(placeholders(kinds).finditer(prompt))
    if len(places) != len(kinds):
        return prompt
    return prompt[: places[-1].start()] + prompt[places[-1].end() :]
