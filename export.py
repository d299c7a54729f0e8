"""What a person takes away of one answer: pictures, an archive, an animation, a document, a page, numbers.

Goes in: a `Capture`, its picture, and a `View`: what of it is shown, and how. Comes out: one file, whole or
not at all, that says what it was made from and what it does not prove. Knows nothing of models.

Every name is ours. What a model or a person wrote goes into a file, never into its name.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from fpdf import FPDF
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

import visualization
from attention_processor import Aggregation, AttentionProcessor, Word
from utils import NamedArrays, Watch, atomic_write, described_arrays, one_line
from visualization import (
    ISOLATES,
    Look,
    Scale,
    isolated,
    number_labels,
    paragraph,
    visualize_attention_on_image,
)

if TYPE_CHECKING:
    from attention_extractor import Capture

CAVEAT = (
    "Attention shows where the model looked, not why it chose a word: the word might be the same without "
    "that part of the picture, and some cells draw attention whatever the word."
)
SCALES = {
    "own": "each map from its own lowest to its own highest value",
    "shared": "one range for all tokens of question and answer",
}
MAX_PICTURES = 1000  # in an archive
MAX_FRAMES = 200  # of an animation; Pillow holds all of a GIF in memory
MAX_PDF_MAPS = 300
FRAME_SIDE = 960  # pixels of an animation's longer side, at most
FRAMES_A_SECOND = 2
TITLE = "Where each word looks"


# --- What is shown ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """What of a capture is shown, and how."""

    layers: tuple[int, ...]  # decoder layer numbers
    heads: tuple[int, ...]
    aggregation: Aggregation = "mean"
    tokens: tuple[int, ...] | None = None  # None: all of them
    by: Literal["token", "word"] = "word"  # what gets a map of its own where there are several
    of_prompt: bool = False  # the tokens are those of the prompt
    look: Look = field(default_factory=Look)
    scale: Literal["own", "shared"] = "own"

    def __str__(self) -> str:
        return f"layers {as_ranges(self.layers)} · heads {as_ranges(self.heads)} · {self.aggregation}"


@dataclass(frozen=True)
class Drawing:
    """One map to draw: a name for files, a title, the smaller line below it, and the map."""

    name: str
    title: str
    subtitle: str
    values: NDArray[np.float32]  # (h, w)
    text: str
    span: tuple[int, int]  # of the answer's characters, or of the prompt's
    on_image: float  # share of attention on the image, 0..1


def as_ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as they can be typed: [0, 1, 2, 5] is "0-2,5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts)


def drawings(capture: Capture, view: View) -> list[Drawing]:
    """Return a drawing for each chosen token, or for each word that has one of them, in order."""
    subject = _Subject(capture, view)
    if view.by == "word":
        return [subject.drawing(index, word) for index, word in subject.words()]
    return [subject.drawing(index, subject.token(index)) for index in subject.tokens]


def whole_drawing(capture: Capture, view: View) -> Drawing:
    """Return one drawing of all chosen tokens together: the mean of their maps."""
    subject = _Subject(capture, view)
    words = [(index, word) for index, word in subject.words() if word.tokens == subject.tokens]
    if len(subject.tokens) == 1 and (view.by == "token" or not words):
        return subject.drawing(subject.tokens[0], subject.token(subject.tokens[0]))
    if words:
        return replace(subject, view=replace(view, by="word")).drawing(*words[0])
    return subject.several()


@dataclass(frozen=True)
class _Subject:
    """The answer, or the prompt, of a capture under a view."""

    capture: Capture
    view: View

    @property
    def processor(self) -> AttentionProcessor:
        return AttentionProcessor(self.capture)

    @property
    def text(self) -> str:
        return self.capture.prompt if self.view.of_prompt else self.capture.text

    @property
    def shown(self) -> tuple[str, ...]:
        return self.capture.prompt_tokens if self.view.of_prompt else self.capture.tokens

    @property
    def tokens(self) -> tuple[int, ...]:
        return tuple(range(len(self.shown))) if self.view.tokens is None else self.view.tokens

    def words(self) -> list[tuple[int, Word]]:
        words = self.processor.prompt_words() if self.view.of_prompt else self.processor.words()
        chosen = set(self.tokens)
        return [(index, word) for index, word in enumerate(words) if not chosen.isdisjoint(word.tokens)]

    def token(self, token: int) -> Word:
        spans = self.capture.prompt_token_spans if self.view.of_prompt else self.capture.token_spans
        return Word(self.shown[token], (token,), *spans[token])

    def drawing(self, index: int, word: Word) -> Drawing:
        kind = f"{'prompt_' * self.view.of_prompt}{self.view.by}"
        return self._drawing(f"{kind}_{index:03d}", f"{kind.replace('_', ' ')} {index}", word)

    def several(self) -> Drawing:
        ends = [self.token(token) for token in (self.tokens[0], self.tokens[-1])]
        start, end = ends[0].start, ends[1].end
        kind = f"{'prompt_' * self.view.of_prompt}tokens"
        name = f"{kind}_{self.tokens[0]:03d}_{self.tokens[-1]:03d}"
        title = f"{kind.replace('_', ' ')} {as_ranges(self.tokens)}"
        return self._drawing(name, title, Word(self.text[start:end].strip(), self.tokens, start, end))

    def _drawing(self, name: str, title: str, word: Word) -> Drawing:
        view, processor = self.view, self.processor
        fold, shares = processor.get_attention_heatmap_for_token, processor.shares
        if view.of_prompt:
            fold, shares = processor.get_attention_heatmap_for_prompt_token, processor.prompt_shares
        on_image = float(shares(word.tokens, view.layers, view.heads)[0])
        return Drawing(
            name=name,
            title=f"{title} “{isolated(word.text)}”",
            subtitle=f"{number_labels([on_image])[0]} of attention on the image · {view}",
            values=fold(word.tokens, view.layers, view.heads, view.aggregation),
            text=word.text,
            span=(word.start, word.end),
            on_image=on_image,
        )


def coloured(capture: Capture, view: View) -> Look:
    """Return the view's look; for a shared scale, with the range over all tokens of prompt and answer."""
    if view.scale == "own" or view.look.vmin is not None:
        return view.look
    sides = [replace(view, tokens=None, by="token", of_prompt=of_prompt) for of_prompt in (False, True)]
    low, high = visualization.shared_range(one.values for side in sides for one in drawings(capture, side))
    return replace(view.look, vmin=low, vmax=high)


# --- What every file says -----------------------------------------------------------------------------------


def facts(capture: Capture, view: View) -> dict[str, str]:
    """Return what the maps were made from, and what they do not prove, as (name: text)."""
    (h, w), (height, width) = capture.grid, capture.image_size
    settings = capture.settings
    row = "the row in which the token itself asks" if view.of_prompt else "the row that predicted the token"
    made = "drawn" if settings.get("temperature") else "greedy"
    how = [made, *(f"{name.replace('_', ' ')} {value}" for name, value in sorted(settings.items()))]
    return {
        "Model": capture.model_name,
        "Question": capture.prompt,
        "Answer": capture.text + (" (stopped early)" if capture.stopped else ""),
        "Method": f"attention of {row}, {view.aggregation} over layers and heads",
        "Layers": f"{as_ranges(view.layers)} of 0-{capture.layer_count - 1}",
        "Heads": f"{as_ranges(view.heads)} of 0-{capture.prompt_attention.shape[2] - 1}",
        "Scale": f"{view.scale}: {SCALES[view.scale]}",
        "Picture": f"{width} × {height} pixels, {w} × {h} visual tokens",
        "Generation": ", ".join(how),
        "What it does not prove": CAVEAT,
    }


def short_id(capture: Capture) -> str:
    """Return 8 hexadecimal digits that tell one answer's files from another's."""
    said = [capture.model_name, capture.image_hash, capture.prompt, list(capture.token_ids), capture.settings]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]


def as_text(said: Mapping[str, str]) -> str:
    """Return facts as lines "Name: text"."""
    return "\n".join(f"{name}: {text}" for name, text in said.items())


def _notes(said: Mapping[str, str]) -> list[str]:
    """Return the lines below a picture."""
    short = " · ".join(f"{name.lower()} {said[name]}" for name in ("Layers", "Heads", "Scale"))
    return [
        f"{isolated(one_line(said['Question']))} → {isolated(one_line(said['Answer']))}",
        f"{said['Model']} · {said['Method']} · {short}",
        CAVEAT,
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
        min_side=visualization.MIN_SIDE,
        max_side=visualization.MAX_SIDE,
    )


def png(capture: Capture, image: Image.Image, view: View, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write one picture of all chosen tokens together, with its facts below it and in its metadata."""
    said = facts(capture, view)
    drawn = figure(image, whole_drawing(capture, view), coloured(capture, view))
    _save_png(visualization.with_notes(drawn, _notes(said)), path, said)
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
        scale = visualization.scale_of(visualization.checked_map(one.values), look)
        heading = (
            f"{index + 1} of {self.count} · {number_labels([one.on_image])[0]} of attention on the image"
        )
        parts = [
            content,
            visualization.colour_bar(scale, width, 14, horizontal=True),
            paragraph(self.text, width, 20, mark=one.span, lines=3),
            paragraph(heading, width, 14, lines=1),
            *(paragraph(note, width, 12, colour=visualization.FAINT) for note in self.notes),
        ]
        return _stacked(parts, width)


def _stacked(parts: Sequence[Image.Image], width: int, margin: int = 12) -> Image.Image:
    """Return the parts one below the other on white, at an even size."""
    height = sum(part.height for part in parts) + margin * (len(parts) + 1)
    size_wh = (-(-(width + 2 * margin) // 2) * 2, -(-height // 2) * 2)
    canvas, y = Image.new("RGB", size_wh, visualization.WHITE), margin
    for part in parts:
        canvas.paste(part, ((size_wh[0] - part.width) // 2, y))
        y += part.height + margin
    return canvas


def _frames(
    capture: Capture, image: Image.Image, view: View, watch: Watch
) -> tuple[int, Iterator[Image.Image], tuple[str, ...]]:
    """Return how many frames there are, the frames as they are drawn, and notes."""
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

    return len(found), drawn(), notes


def gif(capture: Capture, image: Image.Image, view: View, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write an animated GIF, a frame for each token or word, two a second, without end."""
    _, frames, notes = _frames(capture, image, view, watch)
    indexed = (frame.quantize(256, dither=Image.Dither.NONE) for frame in frames)
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


def mp4(capture: Capture, image: Image.Image, view: View, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write the same animation as H.264 that browsers play (yuv420p, even sizes, index in front)."""
    import av

    _, frames, notes = _frames(capture, image, view, watch)
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


class _Document(FPDF):
    """An A4 document in fonts that have the text's characters, with the caveat and the page on each page."""

    def __init__(self, text: str) -> None:
        super().__init__(format="A4")
        main, *others = visualization.font_files(text)
        self.add_font("text", fname=main)
        self.add_font("text", "B", Path(main).with_stem(f"{Path(main).stem}-Bold"))
        for number, file in enumerate(others):
            self.add_font(f"more{number}", fname=file)
        self.set_fallback_fonts([f"more{number}" for number in range(len(others))], exact_match=False)
        self.set_text_shaping(True)  # so that right-to-left text is in order
        self.set_margin(15)
        self.set_auto_page_break(True, 22)
        self.set_title(TITLE)
        self.set_lang("en")
        self.add_page()

    def footer(self) -> None:
        self.set_y(-18)
        self.set_text_color(*visualization.FAINT)
        self.set_font("text", size=7)
        self.multi_cell(0, 3.4, CAVEAT, align="L", new_x="LMARGIN", new_y="NEXT")
        self.cell(0, 3.4, f"page {self.page_no()} of {{nb}}", align="R")

    def block(self, text: str, size: float, style: str = "", width: float = 0) -> None:
        """Write text, broken at the margin; the next one stands below it."""
        shown = "\n".join(visualization.drawable(line).strip(ISOLATES) for line in text.splitlines())
        self.set_text_color(*visualization.INK)
        self.set_font("text", style, size)
        self.multi_cell(width, 0.5 * size, shown, align="L", new_x="LMARGIN", new_y="NEXT")

    def place(self, text: str, x: float, y: float, width: float, size: float, style: str = "") -> None:
        """Write one line at a place, cut with an ellipsis where it is too wide."""
        self.set_font("text", style, size)
        shown = visualization.drawable(text)
        while shown and self.get_string_width(shown) > width - 2 * self.c_margin:
            shown = shown.removesuffix("…")[:-1] + "…"
        self.set_xy(x, y)
        self.cell(width, 0.5 * size, shown)


def pdf(capture: Capture, image: Image.Image, view: View, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write a PDF: picture, question, answer and settings, then a map for each token or word."""
    said, look = facts(capture, view), coloured(capture, view)
    found, notes = bounded(drawings(capture, view), MAX_PDF_MAPS, "The document")
    document = _Document("".join([*said.values(), *(one.text for one in found)]))
    picture = visualization.fitted(visualization.as_rgb(image), max_side=1200)
    document.block(TITLE, 16, "B")
    document.ln(3)
    width = min(110.0, 90 * picture.width / picture.height)
    document.image(picture, w=width, alt_text="The picture")
    document.ln(3)
    for name, text in said.items():
        document.block(name, 8)
        document.block(text or "–", 12 if name in ("Question", "Answer") else 9, "B" * (name == "Answer"))
        document.ln(1.5)
    for note in notes:
        document.block(note, 9, "B")
    document.add_page()
    _map_pages(document, picture, found, look, watch)
    document.output(str(path))
    return notes


def _map_pages(
    document: _Document, picture: Image.Image, found: Sequence[Drawing], look: Look, watch: Watch
) -> None:
    """Write the maps in rows, each with its word, its share on the image and its range of values."""
    shared = look.vmin is not None and look.vmax is not None
    scale = Scale(look.colormap, 0.0, 1.0, "of each map's own range")
    if shared:
        scale = visualization.scale_of(np.array([[look.vmin, look.vmax]], dtype=np.float64), look)
    bar = visualization.colour_bar(scale, 900, 22, horizontal=True)
    document.image(bar, w=110, alt_text="The colours, from lowest to highest")
    document.ln(2)
    columns, gap = (2 if picture.width > 1.6 * picture.height else 3), 6.0
    width = (document.epw - gap * (columns - 1)) / columns
    height = min(width * picture.height / picture.width, 90.0)
    y = document.get_y()
    for done, one in enumerate(found):
        watch.tell(done, len(found))
        if done % columns == 0 and done:
            y += height + 18
        if y + height + 14 > document.h - document.b_margin:
            document.add_page()
            y = document.get_y()
        x = document.l_margin + done % columns * (width + gap)
        drawn = visualization.thumbnails(picture, [one.values], look)[0]
        low, high = visualization.value_range(visualization.checked_map(one.values), look)
        ends = number_labels([low, high])
        document.place(one.text, x, y, width, 10, "B")
        document.place(f"{number_labels([one.on_image])[0]} of attention on the image", x, y + 5, width, 7)
        document.place(f"colours from {ends[0]} to {ends[-1]}", x, y + 8.5, width, 7)
        document.image(
            drawn,
            x,
            y + 12.5,
            width,
            height,
            alt_text=visualization.plain_text(one.title),
            keep_aspect_ratio=True,
        )
    watch.tell(len(found), len(found))


def html_report(
    capture: Capture, image: Image.Image, view: View, path: Path, watch: Watch
) -> tuple[str, ...]:
    """Write one HTML file with the viewer and all maps in it; it opens from disk and asks for nothing."""
    viewer = importlib.import_module("viewer")
    maps, prompt_maps = viewer.attention_maps(capture, view.layers, view.heads, view.aggregation)
    shown = viewer.payload(
        capture,
        image,
        maps,
        prompt_maps=prompt_maps,
        layers=view.layers,
        heads=view.heads,
        aggregation=view.aggregation,
        look=view.look,
        scale=view.scale,
    )
    path.write_text(viewer.report(shown), encoding="utf-8")
    return ()


# --- Numbers ------------------------------------------------------------------------------------------------


def npz(capture: Capture, image: Image.Image, view: View, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write the raw maps of tokens, words and words of the prompt; `axes` and `settings` in it are JSON."""
    answer, asked = replace(view, of_prompt=False, by="word"), replace(view, of_prompt=True, by="word")
    if view.of_prompt:
        answer = replace(answer, tokens=None)
    else:
        asked = replace(asked, tokens=None)
    drawing = asdict(coloured(capture, view)) | {"scale": view.scale}
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays_of(capture, (answer, asked), drawing))
    return ()


def arrays_of(capture: Capture, views: Sequence[View], drawing: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the maps of some views of one capture (same layers and heads) with what they were made from."""
    view = views[0]
    found: dict[str, tuple[NDArray[Any], str]] = {}
    for one in views:
        found |= (_token_arrays(capture, one) if not one.of_prompt else {}) | (
            _word_arrays(capture, one) if one.by == "word" else {}
        )
    arrays: NamedArrays = {
        **found,
        "layers": (np.array(view.layers), "layer"),
        "heads": (np.array(view.heads), "head"),
    }
    said = {
        "grid": capture.grid,  # (h, w)
        "image_size": capture.image_size,  # (h, w)
        "image_hash": capture.image_hash,
        "model": capture.model_name,
        "prompt": capture.prompt,
        "answer": capture.text,
        "method": facts(capture, view)["Method"],
        "aggregation": view.aggregation,
        "caveat": CAVEAT,
    }
    return described_arrays(arrays, said, {"generation": capture.settings, "drawing": dict(drawing)})


def _token_arrays(capture: Capture, view: View) -> dict[str, tuple[NDArray[Any], str]]:
    """Return the chosen tokens' maps and what is known of each token."""
    view = replace(view, by="token")
    chosen = list(_Subject(capture, view).tokens)
    shares = [AttentionProcessor(capture).shares(token, view.layers, view.heads) for token in chosen]
    return {
        "maps": (np.stack([drawing.values for drawing in drawings(capture, view)]), "token,h,w"),
        "token_positions": (np.array(chosen), "token"),
        "token_ids": (np.array([capture.token_ids[token] for token in chosen]), "token"),
        "tokens": (np.array([capture.tokens[token] for token in chosen]), "token"),
        "logprobs": (capture.logprobs.float().cpu().numpy()[chosen], "token"),
        "shares": (np.stack(shares), "token,part"),
        "share_parts": (np.array(["image", "prompt", "answer"]), "part"),
    }


def _word_arrays(capture: Capture, view: View) -> dict[str, tuple[NDArray[Any], str]]:
    """Return the words' maps, texts and tokens; a word's tokens are filled up with -1."""
    kind = "prompt_word" if view.of_prompt else "word"
    words = [word for _, word in _Subject(capture, view).words()]
    tokens = np.full((len(words), max(len(word.tokens) for word in words)), -1)
    for row, word in zip(tokens, words, strict=True):
        row[: len(word.tokens)] = word.tokens
    return {
        f"{kind}_maps": (np.stack([drawing.values for drawing in drawings(capture, view)]), f"{kind},h,w"),
        f"{kind}s": (np.array([word.text for word in words]), kind),
        f"{kind}_tokens": (tokens, f"{kind},token of {kind}"),
    }


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
    "gif": Format("Animation (GIF)", ".gif", "word after word, two a second", gif),
    "mp4": Format("Animation (MP4)", ".mp4", "the same as a video", mp4),
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
    chosen, form = "", FORMATS[kind]
    if view.tokens is not None:
        chosen = f"-{whole_drawing(capture, view).name.replace('_', '-')}"
    path = Path(folder) / f"attention-{short_id(capture)}{chosen}{form.ending}"
    with atomic_write(path) as unfinished:
        notes = form.write(capture, image, view, unfinished, watch or Watch())
    return Exported(path, notes)
