"""A part cut out of a picture: its box, its pixels, how much more of it a model sees, and where it lies.

Goes in: boxes, pictures and their records. Comes out: the crop in the pixels that the picture was given in;
the gain; the place of the crop's cells on the whole; and a `Crop`, which an answer keeps. Knows nothing of
models, maps and pages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from records.visuals import Visual

if TYPE_CHECKING:
    from PIL.Image import Image

Corners = tuple[int, int, int, int]  # left, top, right, bottom in whole pixels of the picture given

SMALLEST = 28  # pixels of a crop's sides, at least: a smaller one is less than one visual token
MORE = 1.05  # times the detail: less is said to be no more, since grids round sides to whole cells


def box_within(corners: Sequence[float], size: tuple[int, int]) -> Corners:
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


def in_its_place(box: Corners, grid: tuple[int, int]) -> InPlace:
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
    box: Corners  # left, top, right, bottom in pixels of that one as it was given

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
