"""Animations: word after word, two a second, as GIF and as MP4.

Goes in: a `Subject` and its picture. Comes out: a file whose frames differ only in the map, its scale and the
word that is marked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

import visualization
from drawing.boxes import draw_boxes
from drawing.colour_bar import colour_bar, number_labels
from drawing.colours import FAINT, INK, MARKED, WHITE, palette
from drawing.text import paragraph
from records.look import Look
from report.view import (
    TITLE,
    Drawing,
    Subject,
    as_text,
    bounded,
    coloured,
    drawings,
    facts,
    notes_below,
    unwritten,
)
from utils import Watch

MAX_FRAMES = 200  # of an animation; Pillow holds all of a GIF in memory
FRAME_SIDE = 960  # pixels of an animation's longer side, at most
FRAMES_A_SECOND = 2
BAR_COLOURS = 64  # of a GIF's 256
TEXT_COLOURS = (WHITE, INK, FAINT, MARKED)


@dataclass(frozen=True)
class _Stage:
    """What all frames of an animation share, so that nothing but the map and the mark moves."""

    picture: Image.Image
    look: Look
    text: str  # the answer, or the prompt
    notes: tuple[str, ...]
    count: int

    def frame(self, index: int, one: Drawing) -> Image.Image:
        """Return one frame; all have the same, even size."""
        look, width = one.look(self.look), max(480, self.picture.width)
        content = visualization.in_view(self.picture, one.values, look)
        draw_boxes(content, one.boxes, content.info.get("picture_box"), all_=False)
        width = max(width, content.width)
        scale = visualization.scale_of(visualization.checked_map(one.values), look, one.scale_label, one.unit)
        heading = (
            f"{index + 1} of {self.count} · {number_labels([one.on_image])[0]} of attention on the image"
        )
        parts = [
            content,
            colour_bar(scale, width, 14, horizontal=True),
            paragraph(self.text, width, 20, mark=one.span, lines=3),
            paragraph(heading, width, 14, lines=1),
            *(paragraph(note, width, 12, colour=FAINT) for note in self.notes),
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


def _frames(
    subject: Subject, image: Image.Image, watch: Watch
) -> tuple[Iterator[Image.Image], tuple[str, ...]]:
    """Return the frames, each drawn when it is asked for, and notes."""
    found, notes = bounded(drawings(subject), MAX_FRAMES, "The animation")
    letters = unwritten(subject)
    look, said = coloured(subject), facts(subject)
    side = FRAME_SIDE // 2 - 24 if look.view == "side by side" else FRAME_SIDE - 400
    picture = visualization.fitted(visualization.as_rgb(image), min(480, side), side)
    stage = _Stage(picture, look, subject.text, (*notes_below(said)[1:], *letters), len(found))

    def drawn() -> Iterator[Image.Image]:
        for done, one in enumerate(found):
            watch.tell(done, len(found))
            yield stage.frame(done, one)
        watch.tell(len(found), len(found))

    return drawn(), (*notes, *letters)


def gif(subject: Subject, image: Image.Image, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write an animated GIF, a frame for each token or word, two a second, without end."""
    frames, notes = _frames(subject, image, watch)
    indexed = (_indexed(frame, subject.selection.look.bar) for frame in frames)
    next(indexed).save(
        path,
        format="GIF",
        save_all=True,
        append_images=indexed,
        duration=1000 // FRAMES_A_SECOND,
        loop=0,
        comment=as_text(facts(subject)).encode("utf-8", "replace"),
    )
    return notes


def _indexed(frame: Image.Image, bar: str) -> Image.Image:
    """Return the frame in 256 colours: those of texts and of the colour bar, and its own."""
    table = palette(bar)
    on_bar = table[np.linspace(0, len(table) - 1, BAR_COLOURS).astype(int)]
    fixed = [*TEXT_COLOURS, *map(tuple, on_bar.tolist())]
    own = np.array(frame.quantize(256 - len(fixed)).getpalette("RGB")).reshape(-1, 3)
    for colour in TEXT_COLOURS:  # Pillow takes the nearest but for a few levels: white is to stay white
        own[np.abs(own - colour).max(axis=1) < 9] = colour
    colours = Image.new("P", (1, 1))
    colours.putpalette([*(part for colour in fixed for part in colour), *own.ravel().tolist()])
    return frame.quantize(palette=colours, dither=Image.Dither.NONE)


def mp4(subject: Subject, image: Image.Image, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write the same animation as H.264 that browsers play (yuv420p, even sizes, index in front)."""
    import av

    frames, notes = _frames(subject, image, watch)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["title"] = TITLE
        container.metadata["comment"] = as_text(facts(subject)).encode("utf-8", "replace").decode()
        stream = None
        for frame in frames:
            if stream is None:
                settings = {"crf": "18", "tune": "stillimage"}
                stream = container.add_stream("libx264", rate=Fraction(FRAMES_A_SECOND), options=settings)
                stream.width, stream.height, stream.pix_fmt = *frame.size, "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        if stream is not None:
            container.mux(stream.encode(None))
    return notes
