"""What a person takes away of one answer: pictures, an archive, an animation, a document, a page, numbers.

Goes in: a `Capture`, its picture, and a `View`: what of it is shown, and how. Comes out: one file, whole or
not at all, that says what it was made from and what it does not prove. Knows nothing of models.

Every name is ours. What a model or a person wrote goes into a file, never into its name.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

import visualization
from drawing.characters import isolated
from drawing.colour_bar import colour_bar, number_labels
from drawing.colours import FAINT, INK, MARKED, WHITE, palette
from drawing.text import paragraph, with_notes
from utils import Watch, atomic_write, one_line
from views import TITLE, UNPROVEN, Drawing, View, arrays_of, coloured, drawings, facts, whole_drawing
from visualization import Look, visualize_attention_on_image

if TYPE_CHECKING:
    from records.capture import Capture

MAX_PICTURES = 1000  # in an archive
MAX_FRAMES = 200  # of an animation; Pillow holds all of a GIF in memory
MAX_PDF_MAPS = 300
FRAME_SIDE = 960  # pixels of an animation's longer side, at most
FRAMES_A_SECOND = 2
BAR_COLOURS = 64  # of a GIF's 256
TEXT_COLOURS = (WHITE, INK, FAINT, MARKED)


# --- What every file says -----------------------------------------------------------------------------------


def short_id(capture: Capture) -> str:
    """Return 8 hexadecimal digits that tell one answer's files from another's."""
    said = [capture.model_name, capture.image_hash, capture.prompt, list(capture.token_ids), capture.settings]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]


def as_text(said: Mapping[str, str]) -> str:
    """Return facts as lines "Name: text"."""
    return "\n".join(f"{name}: {text}" for name, text in said.items())


def _notes(said: Mapping[str, str]) -> list[str]:
    """Return the lines below a picture."""
    names = ("Layers", "Heads", "Values", "Settings", "Scale")
    short = " · ".join(f"{name.lower()} {said[name]}" for name in names if name in said)
    return [
        f"{isolated(one_line(said['Question']))} → {isolated(one_line(said['Answer']))}",
        f"{said['Model']} · {said['Method']} · {short}",
        said[UNPROVEN],
    ]


def bounded(found: Sequence[Drawing], limit: int, what: str) -> tuple[list[Drawing], tuple[str, ...]]:
    """Return at most so many, in even steps, and a note where some were left out."""
    if len(found) <= limit:
        return list(found), ()
    steps = np.linspace(0, len(found) - 1, limit).round().astype(int)
    note = f"{what} shows {limit} of {len(found)} maps, in even steps; choose fewer tokens to see each."
    return [found[step] for step in steps], (note,)


# --- Pictures -----------------------------------------------------------------------------------------------


def figure(image: Image.Image, one: Drawing, look: Look) -> Image.Image:
    """Return the picture under a map, with title and colour bar, ready to be a file."""
    return visualize_attention_on_image(
        image,
        one.values,
        **asdict(look),
        title=one.title,
        subtitle=one.subtitle,
        scale_label=one.scale_label,
        unit=one.unit,
        min_side=visualization.MIN_SIDE,
        max_side=visualization.MAX_SIDE,
    )


def png(capture: Capture, image: Image.Image, view: View, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write one picture of all chosen tokens together, with its facts below it and in its metadata."""
    said = facts(capture, view)
    drawn = figure(image, whole_drawing(capture, view), coloured(capture, view))
    _save_png(with_notes(drawn, _notes(said)), path, said)
    return ()


def _save_png(picture: Image.Image, file: Path | io.BytesIO, said: Mapping[str, str]) -> None:
    metadata = PngImagePlugin.PngInfo()
    for name, text in said.items():
        metadata.add_itxt(name, text.encode("utf-8", "replace").decode("utf-8"))
    picture.save(file, format="PNG", pnginfo=metadata)


def archive(capture: Capture, image: Image.Image, view: View, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write a ZIP with a picture of each token or word, and what they are, as text and as JSON."""
    said, look, mark = facts(capture, view), coloured(capture, view), short_id(capture)
    found, notes = bounded(drawings(capture, view), MAX_PICTURES, "The archive")
    picture = visualization.fitted(
        visualization.as_rgb(image), visualization.MIN_SIDE, visualization.MAX_SIDE
    )
    files = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:
        for done, one in enumerate(found):
            watch.tell(done, len(found))
            name = f"attention-{mark}-{one.name.replace('_', '-')}.png"
            content = io.BytesIO()
            _save_png(figure(picture, one, look), content, {**said, "Shown": one.title})
            packed.writestr(name, content.getvalue())
            low, high = visualization.value_range(visualization.checked_map(one.values), look)
            files.append(
                {"file": name, "text": one.text, "on_image": one.on_image, "lowest": low, "highest": high}
            )
        listed = json.dumps({"facts": said, "notes": notes, "pictures": files}, ensure_ascii=False, indent=2)
        packed.writestr("about.json", listed.encode("utf-8", "replace"))
        packed.writestr("README.txt", "\n\n".join([as_text(said), *notes, ""]).encode("utf-8", "replace"))
    watch.tell(len(found), len(found))
    return notes


# --- Animations ---------------------------------------------------------------------------------------------


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
        look, width = self.look, max(480, self.picture.width)
        if look.view == "side by side":
            content = visualization.side_by_side(self.picture, one.values, look)
            width = max(width, content.width)
        elif look.view == "heatmap":
            content = visualization.heatmap(one.values, (self.picture.height, self.picture.width), look)
        else:
            content = visualization.overlay(self.picture, one.values, look)
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
    capture: Capture, image: Image.Image, view: View, watch: Watch
) -> tuple[Iterator[Image.Image], tuple[str, ...]]:
    """Return the frames, each drawn when it is asked for, and notes."""
    found, notes = bounded(drawings(capture, view), MAX_FRAMES, "The animation")
    look, said = coloured(capture, view), facts(capture, view)
    side = FRAME_SIDE // 2 - 24 if look.view == "side by side" else FRAME_SIDE - 400
    picture = visualization.fitted(visualization.as_rgb(image), min(480, side), side)
    text = capture.prompt if view.of_prompt else capture.text
    stage = _Stage(picture, look, text, tuple(_notes(said)[1:]), len(found))

    def drawn() -> Iterator[Image.Image]:
        for done, one in enumerate(found):
            watch.tell(done, len(found))
            yield stage.frame(done, one)
        watch.tell(len(found), len(found))

    return drawn(), notes


def gif(capture: Capture, image: Image.Image, view: View, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write an animated GIF, a frame for each token or word, two a second, without end."""
    frames, notes = _frames(capture, image, view, watch)
    indexed = (_indexed(frame, view.look.colormap) for frame in frames)
    next(indexed).save(
        path,
        format="GIF",
        save_all=True,
        append_images=indexed,
        duration=1000 // FRAMES_A_SECOND,
        loop=0,
        comment=as_text(facts(capture, view)).encode("utf-8", "replace"),
    )
    return notes


def _indexed(frame: Image.Image, colormap: str) -> Image.Image:
    """Return the frame in 256 colours: those of texts and of the colour bar, and its own."""
    table = palette(colormap)
    bar = table[np.linspace(0, len(table) - 1, BAR_COLOURS).astype(int)]
    fixed = [*TEXT_COLOURS, *map(tuple, bar.tolist())]
    own = np.array(frame.quantize(256 - len(fixed)).getpalette("RGB")).reshape(-1, 3)
    for colour in TEXT_COLOURS:  # Pillow takes the nearest but for a few levels: white is to stay white
        own[np.abs(own - colour).max(axis=1) < 9] = colour
    colours = Image.new("P", (1, 1))
    colours.putpalette([*(part for colour in fixed for part in colour), *own.ravel().tolist()])
    return frame.quantize(palette=colours, dither=Image.Dither.NONE)


def mp4(capture: Capture, image: Image.Image, view: View, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write the same animation as H.264 that browsers play (yuv420p, even sizes, index in front)."""
    import av

    frames, notes = _frames(capture, image, view, watch)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["title"] = TITLE
        container.metadata["comment"] = as_text(facts(capture, view)).encode("utf-8", "replace").decode()
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


# --- Documents ----------------------------------------------------------------------------------------------


def pdf(capture: Capture, image: Image.Image, view: View, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write a PDF: picture, question, answer and settings, then a map for each token or word."""
    from pdf_report import write_pdf

    found, notes = bounded(drawings(capture, view), MAX_PDF_MAPS, "The document")
    write_pdf(path, image, found, coloured(capture, view), facts(capture, view), notes, watch)
    return notes


def html_report(
    capture: Capture, image: Image.Image, view: View, path: Path, watch: Watch
) -> tuple[str, ...]:
    """Write one HTML file with the viewer and all maps in it; it opens from disk and asks for nothing."""
    import viewer

    shown = viewer.payload(capture, image, **viewer.maps_of(capture, view), look=view.look, scale=view.scale)
    path.write_text(viewer.report(shown), encoding="utf-8")
    return ()


# --- Numbers ------------------------------------------------------------------------------------------------


def npz(capture: Capture, image: Image.Image, view: View, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write the raw maps of tokens, words and words of the prompt; `axes` and `settings` in it are JSON.

    Only attention has maps of the prompt.
    """
    answer, asked = replace(view, of_prompt=False, by="word"), replace(view, of_prompt=True, by="word")
    if view.of_prompt:
        answer = replace(answer, tokens=None)
    else:
        asked = replace(asked, tokens=None)
    drawing = asdict(coloured(capture, view)) | {"scale": view.scale}
    views = (answer, asked) if view.made is None else (replace(view, by="word"),)
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays_of(capture, views, drawing))
    return ()


# --- All of them --------------------------------------------------------------------------------------------


class Format(NamedTuple):
    """A kind of file: its name and what is in it, for people; its ending; what writes it."""

    name: str
    ending: str
    description: str
    write: Callable[[Capture, Image.Image, View, Path, Watch], tuple[str, ...]]


FORMATS = {
    "png": Format("Picture", ".png", "the chosen tokens together, in one picture", png),
    "zip": Format("Pictures", ".zip", "a picture of each word or token, in an archive", archive),
    "gif": Format("Animation", ".gif", "word after word, two a second", gif),
    "mp4": Format("Video", ".mp4", "the same, as a video", mp4),
    "pdf": Format("Document", ".pdf", "picture, question, answer, settings and the words' maps", pdf),
    "html": Format("Interactive page", ".html", "one file to explore in a browser, offline", html_report),
    "npz": Format("Numbers", ".npz", "the raw maps, with their axes named; numpy.load opens it", npz),
}


class Exported(NamedTuple):
    """A file that was written, and what a person should know of it."""

    path: Path
    notes: tuple[str, ...]


def export(
    kind: str, capture: Capture, image: Image.Image, view: View, folder: Path, watch: Watch | None = None
) -> Exported:
    """Write one of FORMATS into a folder, whole or not at all, and return it; a file of its name is replaced.

    Raises:
        ValueError: for an unknown format, nothing to draw, a token, layer or head that is not there.
        Stopped: if the watch's event was set; nothing is left behind.
    """
    if kind not in FORMATS:
        raise ValueError(f"a format is one of {', '.join(FORMATS)}; got {kind!r}")
    if not (capture.prompt_token_ids if view.of_prompt else capture.token_ids):
        raise ValueError("the answer is empty: there is nothing to draw")
    form, chosen = FORMATS[kind], "-prompt" if view.of_prompt else ""
    if view.tokens is not None:
        chosen = f"-{whole_drawing(capture, view).name.replace('_', '-')}"
    path = Path(folder) / f"attention-{short_id(capture)}{chosen}{form.ending}"
    with atomic_write(path) as unfinished:
        notes = form.write(capture, image, view, unfinished, watch or Watch())
    return Exported(path, notes)
