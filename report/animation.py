"""Animations: word after word, two a second, or clips under one map, as GIF and as MP4.

Goes in: a `Subject` and its pictures. Comes out: a file whose frames differ only in the map, its scale, the
word that is marked and what of a clip is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from drawing.colour_bar import colour_bar
from drawing.colours import FAINT, INK, MARKED, WHITE, palette
from drawing.text import paragraph
from report.parts import Pictures
from report.shots import Shot, shots_of
from report.view import TITLE, Subject, as_text, facts, notes_below, unwritten
from utils import Watch

MAX_FRAMES = 200  # of an animation; Pillow holds all of a GIF in memory
FRAME_SIDE = 960  # pixels of an animation's longer side, at most
GIF_TICKS, MP4_TICKS = 100, 1000  # in a second: what a frame's duration is counted in
LEAST_TICKS = 2  # of a GIF's frame: browsers show a shorter one for a tenth of a second
BAR_COLOURS = 64  # of a GIF's 256
SAMPLED = 80_000  # pixels of a frame, about, that its own colours are taken from: finding them takes longest
TEXT_COLOURS = (WHITE, INK, FAINT, MARKED)


@dataclass(frozen=True)
class _Film:
    """The frames of an animation, each drawn when it is asked for."""

    frames: Iterator[Image.Image]
    lasts: tuple[Fraction, ...]  # seconds of each frame
    notes: tuple[str, ...]

    def ticks(self, a_second: int, least: int = 1) -> list[int]:
        """Return how long each frame lasts in parts of a second; rounding adds up to no more than a part."""
        ends = [round(end * a_second) for end in accumulate(self.lasts)]
        return [max(least, end - start) for start, end in pairwise([0, *ends])]


def _film(subject: Subject, pictures: Pictures, watch: Watch, only: int | None) -> _Film:
    """Return the animation, and what a person should know of it."""
    shots, notes = shots_of(subject, pictures, MAX_FRAMES, FRAME_SIDE, only)
    letters = unwritten(subject)
    below = (*notes_below(facts(subject))[1:], *letters)

    def drawn() -> Iterator[Image.Image]:
        for done, shot in enumerate(shots):
            watch.tell(done, len(shots))
            yield _frame(shot, subject.text, below)
        watch.tell(len(shots), len(shots))

    return _Film(drawn(), tuple(shot.lasts for shot in shots), (*notes, *letters))


def _frame(shot: Shot, text: str, notes: Sequence[str]) -> Image.Image:
    """Return one frame; all have the same, even size."""
    content = shot.content()
    width = max(480, content.width)
    parts = [
        content,
        colour_bar(shot.scale, width, 14, horizontal=True),
        paragraph(text, width, 20, mark=shot.span, lines=3),
        paragraph(shot.heading, width, 14, lines=1),
        *(paragraph(note, width, 12, colour=FAINT) for note in notes),
    ]
    return _stacked(parts, width)


def _stacked(parts: Sequence[Image.Image], width: int, margin: int = 12) -> Image.Image:
    """Return the parts one below the other on white, at an even size."""
    height = sum(part.height for part in parts) + margin * (len(parts) + 1)
    size_wh = (-(-(width + 2 * margin) // 2) * 2, -(-height // 2) * 2)
    canvas, y = Image.new("RGB", size_wh, WHITE), margin
    for part in parts:
        canvas.paste(part, ((size_wh[0] - part.width) // 2, y))
        y += part.height + margin
    return canvas


def gif(
    subject: Subject, pictures: Pictures, path: Path, watch: Watch, only: int | None = None
) -> tuple[str, ...]:
    """Write an animated GIF, a frame for each token or word, two a second, without end.

    Where there is a clip, a frame for each of its own, for as long as it lasted; `only` is the number of the
    one clip that is shown, of several.
    """
    film = _film(subject, pictures, watch, only)
    indexed = (_indexed(frame, subject.selection.look.bar) for frame in film.frames)
    next(indexed).save(
        path,
        format="GIF",
        save_all=True,
        append_images=indexed,
        duration=[1000 // GIF_TICKS * ticks for ticks in film.ticks(GIF_TICKS, LEAST_TICKS)],
        loop=0,
        comment=as_text(facts(subject)).encode("utf-8", "replace"),
    )
    return film.notes


def _indexed(frame: Image.Image, bar: str) -> Image.Image:
    """Return the frame in 256 colours: those of texts and of the colour bar, and its own."""
    table = palette(bar)
    on_bar = table[np.linspace(0, len(table) - 1, BAR_COLOURS).astype(int)]
    fixed = [*TEXT_COLOURS, *map(tuple, on_bar.tolist())]
    reduced = max(1, math.isqrt(frame.width * frame.height // SAMPLED))
    some = frame.resize((frame.width // reduced, frame.height // reduced), Image.Resampling.NEAREST)
    own = np.array(some.quantize(256 - len(fixed)).getpalette("RGB")).reshape(-1, 3)
    for colour in TEXT_COLOURS:  # Pillow takes the nearest but for a few levels: white is to stay white
        own[np.abs(own - colour).max(axis=1) < 9] = colour
    colours = Image.new("P", (1, 1))
    colours.putpalette([*(part for colour in fixed for part in colour), *own.ravel().tolist()])
    return frame.quantize(palette=colours, dither=Image.Dither.NONE)


def mp4(
    subject: Subject, pictures: Pictures, path: Path, watch: Watch, only: int | None = None
) -> tuple[str, ...]:
    """Write the same animation as H.264 that browsers play (yuv420p, even sizes, index in front)."""
    import av

    film = _film(subject, pictures, watch, only)
    ticks = film.ticks(MP4_TICKS)
    starts = [0, *accumulate(ticks)]
    lasts = dict(zip(starts, ticks, strict=False))  # by when a frame begins
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["title"] = TITLE
        container.metadata["comment"] = as_text(facts(subject)).encode("utf-8", "replace").decode()
        stream: Any = None

        def write(frame: Any) -> None:
            for packet in stream.encode(frame):
                packet.duration = lasts[packet.pts]
                container.mux(packet)

        for start, picture in zip(starts, film.frames, strict=False):
            if stream is None:
                settings = {"crf": "18", "tune": "stillimage", "bf": "0"}
                rate = Fraction(len(ticks) * MP4_TICKS, starts[-1])
                stream = container.add_stream("libx264", rate=rate.limit_denominator(1000), options=settings)
                stream.width, stream.height, stream.pix_fmt = *picture.size, "yuv420p"
                stream.codec_context.time_base = Fraction(1, MP4_TICKS)
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = start, Fraction(1, MP4_TICKS)
            write(frame)
        if stream is not None:
            write(None)
    return film.notes
