"""The boxes of an answer in words, for files and the shell: their names, places and figures.

Goes in: boxes, and a map (h, w). Comes out: lines of text. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drawing.boxes import Boxes
from drawing.colour_bar import number_labels
from records.boxes import THRESHOLD_TEXT, Box, BoxReading, box_figures

if TYPE_CHECKING:
    from records.visuals import Visual

MOST_BELOW = 3  # boxes that are told of below a picture


def boxes_of(visual: Visual, reading: BoxReading, spelled: Collection[int]) -> Boxes:
    """Return the boxes to draw on a picture; those that some tokens spell stand out."""
    chosen = tuple(i for i, box in enumerate(reading.boxes) if not set(spelled).isdisjoint(box.tokens))
    return Boxes(reading.boxes, visual.size, chosen)


def box_line(number: int, box: Box) -> str:
    """Return a box's name and place in pixels of the picture given: "box 1 [50, 60, 350, 150]: cat"."""
    kind, sides = ("point", box.xyxy[:2]) if box.is_point else ("box", box.xyxy)
    label = f": {box.label}" if box.label else ""
    return f"{kind} {number + 1} [{', '.join(str(round(side)) for side in sides)}]{label}"


def figures_line(number: int, box: Box, values: NDArray[np.floating], size: tuple[int, int]) -> str:
    """Return the same with how a map (h, w) lies on it."""
    share, chance, iou = box_figures(box, values, size)
    inside, flat = (number_labels([part])[0] for part in (share, chance))
    overlap = "" if iou is None else f", IoU {iou:.2f} with {THRESHOLD_TEXT}"
    return f"{box_line(number, box)} · {inside} of the map inside (chance {flat}){overlap}"


def boxes_facts(reading: BoxReading) -> dict[str, str]:
    """Return what every file says of an answer's boxes, as (name: text); nothing where there are none."""
    lines = [box_line(number, box) for number, box in enumerate(reading.boxes)]
    return {"Boxes": "; ".join([*lines, *reading.notes])} if lines or reading.notes else {}


def lines_below(found: Boxes, values: NDArray[np.floating]) -> list[str]:
    """Return a line for each box that a map's word spells, or for the first ones where it spells none."""
    numbers = found.chosen or range(len(found.boxes))
    return [figures_line(number, found.boxes[number], values, found.size) for number in numbers[:MOST_BELOW]]
