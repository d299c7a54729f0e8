"""Boxes and points that an answer names, in the pixels of its picture, and how a map lies on them.

Goes in: a `Capture`. Comes out: `Box`es with the tokens that spell them; and of a box and a map (h, w), how
much of the map lies inside. Knows nothing of models and of how boxes are drawn.

The numbers of an answer are in the unit of its model's family, which its capture says (`settings["boxes"]`):
"pixels" of the picture as the model saw it, its grid times the side of a visual token (`settings["cell"]`),
or "thousandths" of its height and width. The two sides of a picture are resized by factors of their own.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from records.box_text import Written, written_boxes
from records.thoughts import thoughts
from records.tokens import Span

if TYPE_CHECKING:
    from records.capture import Capture

Corners = tuple[float, float, float, float]

PIXELS, THOUSANDTHS, UNKNOWN = "pixels", "thousandths", "unknown"  # of Capture.settings["boxes"]
THRESHOLD = 0.5  # of a map's highest value: cells from there on are compared with a box
THRESHOLD_TEXT = "the cells at least half as hot as the hottest"
NOT_WRITTEN_DOWN = (
    "this answer has boxes, but was kept before the unit of its model's boxes was written down; "
    "ask the model again, without what was kept (--no-cache)"
)
NOT_KNOWN = "this answer has boxes, but it is not known in which unit models of its kind write them"
_SAME = 1e-9  # of a map's highest value: less is rounding


@dataclass(frozen=True)
class Box:
    """A box or a point that an answer names, and the tokens that spell it."""

    label: str  # on one line; "" where the answer gives none
    xyxy: Corners  # left, top, right, bottom in pixels of the picture given, within it; of a point x, y, x, y
    tokens: tuple[int, ...]  # of the answer, ascending: those that spell its label and its numbers
    visual: int = 0  # which picture of the prompt it is taken to be in: the answer does not say

    @property
    def is_point(self) -> bool:
        """Whether it is a place without an extent."""
        return self.xyxy[:2] == self.xyxy[2:]


class BoxReading(NamedTuple):
    """The boxes of an answer, and what a person should know of them, one line each."""

    boxes: tuple[Box, ...]
    notes: tuple[str, ...]


class BoxFigures(NamedTuple):
    """How a map lies on a box, each 0..1."""

    share: float  # of the map that is inside; of a point, in the cell that holds it
    chance: float  # the same of a flat map: the box's part of the picture, of a point one cell's
    iou: float | None  # overlap with the cells of at least THRESHOLD of the highest value; None for a point


def boxes_in(capture: Capture, visual: int = 0) -> tuple[Box, ...]:
    """Return the boxes and points that an answer names, in its order, in pixels of the picture given.

    `visual` is the picture of the prompt that they are taken to be in, since an answer names none. What of a
    box reaches beyond the picture is cut off; one that lies outside of it is left out, as are those that
    cannot be read (see `written_boxes`) and those of the answer's thoughts. Corners may come in any order, as
    Qwen's own code takes them.

    Raises:
        ValueError: one line, where the answer has boxes and it is not known in which unit, and for a picture
            that is not there.
    """
    written, _ = _written(capture)
    return _placed(capture, written, visual).boxes if written else ()


def box_reading(capture: Capture, visual: int = 0) -> BoxReading:
    """Return the same with what a person should know: how many were left out or cut, or why all were."""
    written, unread = _written(capture)
    lines = (_counted(unread, "could not be read"),) if unread else ()
    try:
        boxes, notes = _placed(capture, written, visual) if written else BoxReading((), ())
    except ValueError as error:
        return BoxReading((), (str(error),))
    return BoxReading(boxes, (*notes, *lines))


def box_figures(box: Box, values: NDArray[np.floating], size: tuple[int, int]) -> BoxFigures:
    """Return how a map (h, w) lies on a box of a picture of `size` (h, w) in pixels.

    Cells count by the part of them that the box covers, and what speaks against a word (a value below zero)
    nowhere. The overlap is that of the box and the cells of at least half the map's highest value
    (`THRESHOLD`), as areas of the picture. A map without a value above zero is nowhere: 0.
    """
    covered, heat = coverage(box, values.shape, size), np.clip(values.astype(np.float64), 0, None)
    chance = float(covered.mean())
    if not heat.any():
        return BoxFigures(0.0, chance, None if box.is_point else 0.0)
    share = float((heat * covered).sum() / heat.sum())
    if box.is_point:
        return BoxFigures(share, chance, None)
    hot = heat >= (THRESHOLD - _SAME) * heat.max()
    both = float(covered[hot].sum())
    return BoxFigures(share, chance, both / (float(hot.sum()) + float(covered.sum()) - both))


def coverage(box: Box, grid: Sequence[int], size: tuple[int, int]) -> NDArray[np.float64]:
    """Return how much of each cell (h, w) a box covers, 0..1; of a point, 1 in the cell that holds it."""
    left, top, right, bottom = box.xyxy
    if box.is_point:
        found = np.zeros(tuple(grid))
        row, column = (
            min(int(at / side * cells), cells - 1)
            for at, side, cells in zip((top, left), size, grid, strict=True)
        )
        found[row, column] = 1
        return found
    rows = _overlap(top, bottom, size[0], grid[0])
    return rows[:, None] * _overlap(left, right, size[1], grid[1])


def _overlap(start: float, end: float, side: int, cells: int) -> NDArray[np.float64]:
    """Return which part of each cell along one side lies between two places in pixels (cell,)."""
    edges = np.linspace(0, side, cells + 1)
    between = np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)
    return np.clip(between, 0, None) * cells / side


def as_json(boxes: Sequence[Box]) -> list[dict[str, Any]]:
    """Return boxes as the models write them, in whole pixels of the picture given, ready for JSON."""
    return [
        {
            **(
                {"point_2d": [round(side) for side in box.xyxy[:2]]}
                if box.is_point
                else {"bbox_2d": [round(side) for side in box.xyxy]}
            ),
            **({"label": box.label} if box.label else {}),
        }
        for box in boxes
    ]


# --- From the text to the picture ---------------------------------------------------------------------------


class _Found(NamedTuple):
    """What is written, and the tokens that spell it."""

    written: Written
    tokens: tuple[int, ...]


def _written(capture: Capture) -> tuple[list[_Found], int]:
    """Return what the answer writes after its thoughts, and how many boxes could not be read."""
    text, spans = _with_names(capture)
    written, unread = written_boxes(text)
    left_out = set(thoughts(capture)) if written else set()
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    found = [_Found(one, _touching(starts, ends, one.spans)) for one in written]
    return [one for one in found if left_out.isdisjoint(one.tokens)], unread


def _with_names(capture: Capture) -> tuple[str, list[Span]]:
    """Return the answer with the names of special tokens in it, and where each token stands there.

    An answer's text leaves them out, and some families write boxes with them.
    """
    parts: list[str] = []
    spans: list[Span] = []
    at = added = 0
    for shown, (start, end) in zip(capture.tokens, capture.token_spans, strict=True):
        if start == end:
            parts.append(shown)
            spans.append((at + added, at + added + len(shown)))
            added += len(shown)
            continue
        parts.append(capture.text[at : max(at, end)])
        spans.append((start + added, end + added))
        at = max(at, end)
    return "".join(parts), spans


def _touching(starts: Sequence[int], ends: Sequence[int], wanted: Sequence[Span]) -> tuple[int, ...]:
    """Return the tokens that spell a part of one of some spans, ascending.

    `starts` and `ends` are the tokens' own, which ascend both.
    """
    found: set[int] = set()
    for first, last in wanted:
        found.update(range(bisect_right(ends, first), bisect_left(starts, last)))
    return tuple(sorted(found))


def _placed(capture: Capture, found: Sequence[_Found], visual: int) -> BoxReading:
    """Return what was found in pixels of the picture, and how much of it was cut or left out."""
    grid, size = _picture(capture, visual)
    units = _units(capture, grid)
    boxes: list[Box] = []
    outside = flat = cut = 0
    for written, tokens in found:
        numbers = written.numbers * (1 if len(written.numbers) == 4 else 2)
        ends = [number * size[1 - i % 2] / units[1 - i % 2] for i, number in enumerate(numbers)]
        wide, high = sorted(ends[::2]), sorted(ends[1::2])
        is_point = len(written.numbers) == 2
        if not is_point and (wide[0] == wide[1] or high[0] == high[1]):
            flat += 1
            continue
        inside_wide, inside_high = _within(wide, size[1]), _within(high, size[0])
        if inside_wide is None or inside_high is None:
            outside += 1
            continue
        cut += [*inside_wide, *inside_high] != [*wide, *high]
        corners = (inside_wide[0], inside_high[0], inside_wide[1], inside_high[1])
        boxes.append(Box(written.label, corners, tokens, visual))
    notes = (
        outside and _counted(outside, "lies outside the picture", "lie outside the picture"),
        flat and _counted(flat, "has no area", "have no area"),
        cut and _counted(cut, "is cut at the picture's edge", "are cut at the picture's edge"),
    )
    return BoxReading(tuple(boxes), tuple(note for note in notes if note))


def _within(ends: Sequence[float], side: int) -> tuple[float, float] | None:
    """Return what of a box lies within a side of the picture, in pixels; None where nothing does."""
    low, high = max(0.0, ends[0]), min(float(side), ends[1])
    is_there = low < high or (ends[0] == ends[1] and low == high)
    return (low, high) if is_there else None


def _counted(count: int, one: str, several: str | None = None) -> str:
    return f"{count} box {one}" if count == 1 else f"{count} boxes {several or one}"


def _picture(capture: Capture, visual: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the grid (h, w) and the size in pixels (h, w) of a picture of the prompt."""
    if not 0 <= visual < len(capture.visuals):
        raise ValueError(f"the answer's question has no picture {visual}; pictures are counted from 0")
    _, h, w = capture.visuals[visual].grid
    return (h, w), capture.visuals[visual].size


def _units(capture: Capture, grid: tuple[int, int]) -> tuple[float, float]:
    """Return how many of the units that the answer's boxes are in make the picture (height, width)."""
    unit, cell = capture.settings.get("boxes"), capture.settings.get("cell")
    if unit == THOUSANDTHS:
        return 1000.0, 1000.0
    if unit == PIXELS and isinstance(cell, int) and cell > 0:
        return float(grid[0] * cell), float(grid[1] * cell)
    raise ValueError(NOT_KNOWN if unit == UNKNOWN else NOT_WRITTEN_DOWN)
