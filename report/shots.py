"""What each frame of an animation shows: a word's map on the picture, on all pictures, or on a moving clip.

Goes in: a `Subject` and its pictures. Comes out: a `Shot` for each frame, drawn when it is asked for. Knows
nothing of files.

Pictures are shown word after word. Where there is a clip, all that is chosen has one map, which does not
change; the clips run under it in their own time, all from the start, and pictures stand beside them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from PIL import Image

import visualization
from drawing.boxes import draw_boxes
from drawing.colour_bar import Scale
from drawing.grid import overlay_grid
from records.look import Look
from records.videos import Video, frames_a_step
from records.visuals import is_picture
from report.parts import (
    Part,
    Pictures,
    labelled,
    parts_of,
    parts_on,
    scale_of_all,
    share_text,
    small,
    where_text,
)
from report.places import all_of, seconds
from report.view import Drawing, Subject, bounded, coloured, drawings, whole_drawing

WORDS_A_SECOND = 2
LEAST_SIDE = 96  # pixels of the longer side of one of several pictures


class Shot(NamedTuple):
    """One frame of an animation."""

    content: Callable[[], Image.Image]  # the picture, or all of them, under the map; of the same size in all
    scale: Scale
    span: tuple[int, int]  # of the text, which is marked
    heading: str
    lasts: Fraction  # seconds


def shots_of(
    subject: Subject, pictures: Pictures, limit: int, side: int, only: int | None = None
) -> tuple[list[Shot], tuple[str, ...]]:
    """Return at most so many shots, and a note where some were left out; `side` is that of a whole frame.

    `only` is the number of the one clip that is shown, of several.
    """
    visuals = subject.capture.visuals
    if any(one.kind == "video" for one in visuals):
        return _moving(subject, pictures, limit, side, range(len(visuals)) if only is None else [only])
    found, notes = bounded(drawings(subject), limit, "The animation")
    shown = _words_on_one if is_picture(visuals) else _words_on_all
    return shown(subject, pictures, found, side), notes


def _heading(index: int, count: int, share: float, where: str) -> str:
    return f"{index + 1} of {count} · {share_text(share)} of attention on {where}"


def _words_on_one(
    subject: Subject, pictures: Pictures, found: Sequence[Drawing], frame_side: int
) -> list[Shot]:
    """Return a shot for each word on the one picture."""
    look = coloured(subject)
    side = frame_side // 2 - 24 if look.view == "side by side" else frame_side - 400
    image = parts_of(subject, pictures)[0].image
    picture = visualization.fitted(visualization.as_rgb(image), min(480, side), side)
    shots = []
    for index, one in enumerate(found):
        own = one.look(look)
        values = visualization.checked_map(one.values)
        shots.append(
            Shot(
                partial(_on_picture, picture, one, own),
                visualization.scale_of(values, own, one.scale_label, one.unit),
                one.span,
                _heading(index, len(found), one.on_image, "the image"),
                Fraction(1, WORDS_A_SECOND),
            )
        )
    return shots


def _on_picture(picture: Image.Image, one: Drawing, look: Look) -> Image.Image:
    content = visualization.in_view(picture, one.values, look)
    draw_boxes(content, one.boxes, content.info.get("picture_box"), all_=False)
    return content


def _words_on_all(
    subject: Subject, pictures: Pictures, found: Sequence[Drawing], frame_side: int
) -> list[Shot]:
    """Return a shot for each word, on all pictures side by side."""
    look, parts, names = coloured(subject), parts_of(subject, pictures), {one.name for one in found}
    each = [[one for one in drawings(part.subject) if one.name in names] for part in parts]
    where, side = all_of(subject.capture.visuals), side_of(len(parts), frame_side)
    shots = []
    for index, drawn in enumerate(zip(*each, strict=True)):
        shown = list(zip(parts, drawn, [part.image for part in parts], strict=True))
        shots.append(
            Shot(
                partial(_side_by_side, shown, look, side),
                scale_of_all(subject, drawn[0], look),
                drawn[0].span,
                _heading(index, len(found), sum(one.on_image for one in drawn), where),
                Fraction(1, WORDS_A_SECOND),
            )
        )
    return shots


def side_of(count: int, frame_side: int) -> int:
    """Return the longer side, in pixels, of each of so many pictures in a frame."""
    columns = columns_of(count)
    wide, high = frame_side - 24, frame_side - 400
    return max(LEAST_SIDE, min(wide // columns - 24, high // -(-count // columns) - 48))


def columns_of(count: int) -> int:
    """Return in how many columns so many pictures stand: up to three in a row."""
    return count if count <= 3 else math.ceil(count**0.5)


def _side_by_side(shown: Sequence[tuple[Part, Drawing, Image.Image]], look: Look, side: int) -> Image.Image:
    """Return pictures, each under the map of its part, with their labels."""
    images = [small(image, one, look, side) for _, one, image in shown]
    labels = [labelled(part, one) for part, one, _ in shown]
    return overlay_grid(images, labels, columns_of(len(shown)))


# --- Clips --------------------------------------------------------------------------------------------------


def _moving(
    subject: Subject, pictures: Pictures, limit: int, frame_side: int, numbers: Sequence[int]
) -> tuple[list[Shot], tuple[str, ...]]:
    """Return a shot for each moment at which a frame of a clip follows another, under the map of all."""
    look, one = coloured(subject), whole_drawing(subject)
    each = [parts_on(subject, pictures, number) for number in numbers]
    pictures = tuple(pictures[number] for number in numbers)
    drawn = [[whole_drawing(part.subject) for part in parts] for parts in each]
    scale, side = scale_of_all(subject, one, look), side_of(len(pictures), frame_side)
    where = where_text(subject, numbers, one.tokens)
    starts, end = moments(pictures)
    kept, notes = _some(starts, limit)
    shots = []
    for start, following in zip(kept, [*kept[1:], end], strict=True):
        shown = []
        for picture, parts, maps in zip(pictures, each, drawn, strict=True):
            step, image = _at(picture, start, len(parts))
            shown.append((parts[step], maps[step], image))
        heading = f"{seconds(float(start))} of {seconds(float(end))} · {where}"
        lasts = following - start
        shots.append(Shot(partial(_side_by_side, shown, look, side), scale, one.span, heading, lasts))
    return shots, notes


def moments(pictures: Pictures) -> tuple[list[Fraction], Fraction]:
    """Return when a frame of a clip follows another, in seconds from 0 on, and when the last clip ends.

    A clip whose frames' times go beyond what its duration says ends with its last frame's, as long as the
    frames are apart on average.
    """
    clips = [one for one in pictures if isinstance(one, Video)]
    starts = sorted({Fraction(time).limit_denominator(10**6) for clip in clips for time in clip.times})
    ends = []
    for clip in clips:
        apart = (clip.times[-1] - clip.times[0]) / max(1, len(clip.times) - 1) or clip.duration or 1.0
        ends.append(clip.duration if clip.duration > clip.times[-1] else clip.times[-1] + apart)
    return starts, Fraction(max(ends)).limit_denominator(10**6)


def _at(shown: Image.Image | Video, moment: Fraction, steps: int) -> tuple[int, Image.Image]:
    """Return the step and the frame that a clip shows at a moment; of a picture itself."""
    if isinstance(shown, Image.Image):
        return 0, shown
    times = [Fraction(time).limit_denominator(10**6) for time in shown.times]
    frame = max(0, bisect_right(times, moment) - 1)
    return frame // frames_a_step(shown, steps), shown.picture(frame)


def _some(starts: Sequence[Fraction], limit: int) -> tuple[list[Fraction], tuple[str, ...]]:
    """Return at most so many moments, in even steps, and a note where some were left out."""
    if len(starts) <= limit:
        return list(starts), ()
    kept = [starts[number * len(starts) // limit] for number in range(limit)]
    return kept, (f"The animation shows {limit} of {len(starts)} frames, in even steps.",)
