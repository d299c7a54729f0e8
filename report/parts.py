"""An answer about several pictures, or a clip: each picture and each step of a clip, with its map.

Goes in: a `Subject` and the pictures and clips of its answer. Comes out: a `Part` for each picture and step,
and one picture of all of them under one map, drawn by one measure. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

import visualization
from drawing.boxes import draw_boxes
from drawing.characters import isolated
from drawing.colour_bar import Scale, number_labels
from drawing.grid import overlay_grid
from records.look import Look
from records.videos import Video, moment
from records.visuals import by_visual
from report.places import all_of, folder_of, label_of, whole_place_of
from report.view import Drawing, Subject, bounded, coloured, drawings, whole_drawing
from utils import one_line

if TYPE_CHECKING:
    from records.capture import Capture

Pictures = tuple[Image.Image | Video, ...]  # of an answer, in the order of its prompt
Given = Image.Image | Video | Sequence[Image.Image | Video]
SHEET_SIDE, SHEET_PIXELS = 640, 4e6  # longer side of a picture in a sheet, at most; pixels of all, about
MAX_STEPS = 8  # of a clip, where each word has a row
IN_SHEET, ROWS, CELLS = 200, 48, 160  # longer side of a picture in a row; rows and pictures at most


def pictures_of(capture: Capture, given: Given | None) -> Pictures:
    """Return the pictures and clips of an answer: its own, or where it has none with it, those given.

    Raises:
        ValueError: one line, where there are none, or not as many as the answer is about.
    """
    found: Pictures = capture.pictures
    if not found and given is not None:
        found = tuple(given) if isinstance(given, Sequence) else (given,)
    if len(found) != len(capture.visuals):
        raise ValueError(f"the answer is about {len(capture.visuals)} pictures; {len(found)} were given")
    return found


class Part(NamedTuple):
    """One picture, or one step of a clip."""

    subject: Subject  # that shows it
    image: Image.Image
    label: str  # "picture 2", "clip 3, 1.25 s", "1.25 s"
    folder: str  # of its files among those of others: "picture_2", "clip_3/step_005", "step_005"; "" for one


def parts_of(subject: Subject, pictures: Pictures) -> list[Part]:
    """Return every picture and every step of a clip, with its first frame, in the order of the prompt."""
    return [part for number in range(len(pictures)) for part in parts_on(subject, pictures, number)]


def parts_on(subject: Subject, pictures: Pictures, number: int) -> list[Part]:
    """Return one picture of several, or the steps of one clip."""
    visuals, shown = subject.capture.visuals, pictures[number]
    folder, found = folder_of(visuals, number), []
    for step in range(visuals[number].grid[0]):
        image, name = shown, folder
        if isinstance(shown, Video):
            image = moment(shown, step, visuals[number].grid[0])
            name = "/".join(part for part in (folder, f"step_{step:03d}") if part)
        assert isinstance(image, Image.Image)
        chosen = subject.choosing(visual=number, frame=step)
        found.append(Part(chosen, image, label_of(visuals, number, step), name))
    return found


def some_parts(subject: Subject, pictures: Pictures, what: str) -> tuple[list[Part], tuple[str, ...]]:
    """Return the pictures and so many steps of each clip, and a note where steps were left out of `what`."""
    shown: list[Part] = []
    notes = []
    for number, visual in enumerate(subject.capture.visuals):
        parts = parts_on(subject, pictures, number)
        if len(parts) > MAX_STEPS:
            steps = np.linspace(0, len(parts) - 1, MAX_STEPS).round().astype(int)
            notes.append(f"{what} shows {MAX_STEPS} of {len(parts)} steps of {visual.name}.")
            parts = [parts[step] for step in steps]
        shown += parts
    return shown, tuple(notes)


def words_sheet(subject: Subject, pictures: Pictures, what: str) -> Image.Image:
    """Return a row for each word or token: all pictures and steps under its map, drawn by one measure.

    Where some are left out, the sheet says so; `what` is its name.
    """
    parts, notes = some_parts(subject, pictures, what)
    most = max(1, min(ROWS, CELLS // len(parts)))
    each, more = zip(*(bounded(drawings(part.subject), most, what) for part in parts), strict=True)
    look, images, labels = coloured(subject), [], []
    for row in zip(*each, strict=True):
        for part, one in zip(parts, row, strict=True):
            images.append(small(part.image, one, look, IN_SHEET))
            labels.append(f"“{isolated(one_line(one.text))}” · {labelled(part, one)}")
    told = " · ".join([subject.found.line, *notes, *more[0]])
    return overlay_grid(images, labels, len(parts), title=one_line(subject.capture.text), subtitle=told)


def share_text(share: float) -> str:
    """Return a share as a label says it: "6 %"."""
    return number_labels([share])[0]


def labelled(part: Part, one: Drawing) -> str:
    """Return what stands above a part under a map: "picture 2 · 6 %"."""
    return f"{part.label} · {share_text(one.on_image)}"


def small(image: Image.Image, one: Drawing, look: Look, side: int) -> Image.Image:
    """Return a part under its map, with the boxes of the map's words; its longer side has so many pixels."""
    look = one.look(look)
    shown = replace(look, view="overlay" if look.view == "side by side" else look.view)
    drawn = visualization.in_view(visualization.fitted(image, side, side), one.values, shown)
    draw_boxes(drawn, one.boxes, all_=False)
    return drawn


def sheet(
    subject: Subject,
    parts: Sequence[Part],
    drawn_of: Callable[[Subject], Drawing] = whole_drawing,
    side: int | None = None,
    columns: int | None = None,
) -> Image.Image:
    """Return all parts under one map in one picture, each with its share of attention, by one measure.

    `drawn_of` is the map of a part; `side` the longer one of each part, by default as fits their number.
    """
    side = side or max(96, min(SHEET_SIDE, int((SHEET_PIXELS / len(parts)) ** 0.5)))
    found, look = [drawn_of(part.subject) for part in parts], coloured(subject)
    images = [small(part.image, one, look, side) for part, one in zip(parts, found, strict=True)]
    labels = [labelled(part, one) for part, one in zip(parts, found, strict=True)]
    where = where_text(subject, {part.subject.selection.visual for part in parts}, found[0].tokens)
    return overlay_grid(
        images,
        labels,
        columns,
        title=found[0].title,
        subtitle=f"{where} · {subject.found.line}",
        scale=scale_of_all(subject, found[0], look),
    )


def where_text(subject: Subject, numbers: Collection[int], tokens: Sequence[int]) -> str:
    """Return how much of some tokens' attention is on these pictures and clips: one of them, or all."""
    visuals = subject.capture.visuals
    shares = [steps.sum() for steps in by_visual(subject.plane_shares(tokens), visuals)]
    place = all_of(visuals) if len(numbers) == len(visuals) else whole_place_of(visuals, *numbers)
    return f"{share_text(float(sum(shares[number] for number in numbers)))} of attention on {place}"


def scale_of_all(subject: Subject, one: Drawing, look: Look) -> Scale:
    """Return what the colour bar says of a map on all pictures and steps."""
    whole = visualization.checked_map(subject.found.mean_map(one.tokens).reshape(1, -1))
    return visualization.scale_of(whole, replace(one.look(look), crossed=()), one.scale_label, one.unit)
