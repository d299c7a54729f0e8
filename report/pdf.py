"""One document about one answer: picture, question, answer, settings, and the words' maps in a grid.

Goes in: a `Subject` and its pictures. Comes out: a PDF of A4 pages whose text can be selected.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fpdf import FPDF
from fpdf.fonts import TTFFont
from PIL import Image

import visualization
from drawing.boxes import draw_boxes
from drawing.characters import ISOLATES, plain_text
from drawing.colour_bar import colour_bar, number_labels
from drawing.colours import FAINT, INK
from drawing.fonts import code_point, drawable, font_files, font_notes
from drawing.grid import overlay_grid
from records.look import Look
from records.visuals import is_picture
from report.parts import Part, Pictures, labelled, scale_of_all, small, some_parts, where_text
from report.view import TITLE, UNPROVEN, Drawing, Subject, bounded, coloured, drawings, facts
from utils import Watch

logging.getLogger("fontTools").setLevel(logging.ERROR)  # it tells of each table that it leaves out

MAX_MAPS = 300
COLUMNS, IN_ROW = 4, 320  # pictures in a row where there are several, and pixels of their longer side
LONGEST = 100  # characters of a word that are looked at: more do not fit above its map


class _Document(FPDF):
    """An A4 document in fonts that have the text's characters, with the caveat and the page on each page."""

    def __init__(self, text: str, caveat: str) -> None:
        super().__init__(format="A4")
        self.caveat = caveat
        main, *others = font_files(text)
        self.add_font("text", fname=main)
        self.add_font("text", "B", Path(main).with_stem(f"{Path(main).stem}-Bold"))
        for file in others:
            with suppress(Exception):  # of a kind that cannot be embedded: its characters become code points
                self.add_font(Path(file).stem, fname=file)
        self.set_fallback_fonts([font for font in self.fonts if font != "textB"], exact_match=False)
        self.set_text_shaping(True)  # so that right-to-left text is in order
        self.set_margin(15)
        self.set_auto_page_break(True, 22)
        self.set_title(TITLE)
        self.set_lang("en")
        self.add_page()

    def footer(self) -> None:
        self.set_y(-18)
        self.set_text_color(*FAINT)
        self.set_font("text", size=7)
        self.multi_cell(0, 3.4, self.written(self.caveat), align="L", new_x="LMARGIN", new_y="NEXT")
        self.cell(0, 3.4, f"page {self.page_no()} of {{nb}}", align="R")

    def written(self, text: str) -> str:
        """Return one line of text in characters that the document's fonts have."""
        shown = drawable(text).strip(f"{ISOLATES} ")
        return "".join(c if self.has(c) else code_point(c) for c in shown)

    def has(self, character: str) -> bool:
        """Return whether a font of the document has the character."""
        fonts = (font for font in self.fonts.values() if isinstance(font, TTFFont))
        return any(ord(character) in font.cmap for font in fonts)

    def block(self, text: str, size: float, style: str = "", colour: tuple[int, int, int] = INK) -> None:
        """Write text, broken at the margin; the next one stands below it."""
        shown = "\n".join(map(self.written, text.splitlines()))
        self.set_text_color(*colour)
        self.set_font("text", style, size)
        self.multi_cell(0, 0.5 * size, shown, align="L", new_x="LMARGIN", new_y="NEXT")

    def place(self, text: str, x: float, y: float, width: float, size: float, style: str = "") -> None:
        """Write one line at a place, cut with an ellipsis where it is too wide."""
        self.set_text_color(*INK)
        self.set_font("text", style, size)
        shown = self.written(text[:LONGEST])
        while shown and self.get_string_width(shown) > width - 2 * self.c_margin:
            shown = shown.removesuffix("…")[:-1] + "…"
        self.set_xy(x, y)
        self.cell(width, 0.5 * size, shown)


def pdf(subject: Subject, pictures: Pictures, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write a PDF: pictures, question, answer and settings, then a map for each token or word.

    Of a clip some steps are shown, in even distances, the first and the last among them.
    """
    found, notes = bounded(drawings(subject), MAX_MAPS, "The document")
    parts, of_clips = some_parts(subject, pictures, "The document")
    notes += of_clips
    said = facts(subject)
    texts = "".join([*said.values(), *(one.text for one in found)])
    document = _Document(texts, said[UNPROVEN])
    notes += font_notes(texts, document.has)
    try:
        if is_picture(subject.capture.visuals):
            picture = visualization.fitted(visualization.as_rgb(parts[0].image), max_side=1200)
            _first_page(document, _with_boxes(picture, found), said, notes)
            document.add_page()
            _map_pages(document, picture, found, coloured(subject), watch)
        else:
            images = [visualization.fitted(part.image, IN_ROW, IN_ROW) for part in parts]
            _first_page(document, overlay_grid(images, [part.label for part in parts]), said, notes)
            document.add_page()
            _row_pages(document, subject, parts, found, watch)
        document.output(str(path))
    finally:
        for font in document.fonts.values():  # fpdf2 leaves their files open
            if isinstance(font, TTFFont):
                font.ttfont.close()
    return notes


def _with_boxes(picture: Image.Image, found: Sequence[Drawing]) -> Image.Image:
    """Return the picture with the answer's boxes on it."""
    drawn = picture.copy()
    draw_boxes(drawn, found[0].boxes._replace(chosen=()))
    return drawn


def _first_page(
    document: _Document, picture: Image.Image, said: Mapping[str, str], notes: Sequence[str]
) -> None:
    """Write what the maps were made from, and what else a person should know."""
    document.block(TITLE, 16, "B")
    document.ln(3)
    width = min(110.0, 90 * picture.width / picture.height)
    document.image(picture, w=width, alt_text="The picture")
    document.ln(3)
    for name, text in said.items():
        document.block(name, 8, colour=FAINT)
        document.block(text or "–", 12 if name in ("Question", "Answer") else 9, "B" * (name == "Answer"))
        document.ln(1.5)
    for note in notes:
        document.block(note, 9, "B")


def _map_pages(
    document: _Document, picture: Image.Image, found: Sequence[Drawing], look: Look, watch: Watch
) -> None:
    """Write the maps in rows, each with its word, its share on the image and its range of values."""
    maps = [visualization.checked_map(one.values) for one in found]
    looks = [one.look(look) for one in found]
    scale = visualization.grid_scale(maps, looks, found[0].scale_label, found[0].unit)
    bar = colour_bar(scale, 900, 22, horizontal=True)
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
        drawn = visualization.thumbnails(picture, [one.values], looks[done])[0]
        draw_boxes(drawn, one.boxes, all_=False)
        ends = visualization.range_labels(maps[done], looks[done], one.unit)
        document.place(one.text, x, y, width, 10, "B")
        document.place(f"{number_labels([one.on_image])[0]} of attention on {one.place}", x, y + 5, width, 7)
        document.place(f"colours from {ends[0]} to {ends[-1]}", x, y + 8.5, width, 7)
        document.image(
            drawn,
            x,
            y + 12.5,
            width,
            height,
            alt_text=plain_text(one.title),
            keep_aspect_ratio=True,
        )
    watch.tell(len(found), len(found))


def _row_pages(
    document: _Document, subject: Subject, parts: Sequence[Part], found: Sequence[Drawing], watch: Watch
) -> None:
    """Write each word with all pictures under its map, by one measure, and its share on each in words."""
    look = coloured(subject)
    each = [{one.name: one for one in drawings(part.subject)} for part in parts]
    for done, name in enumerate(one.name for one in found):
        watch.tell(done, len(found))
        drawn = [of_part[name] for of_part in each]
        images = [small(part.image, one, look, IN_ROW) for part, one in zip(parts, drawn, strict=True)]
        labels = [labelled(part, one) for part, one in zip(parts, drawn, strict=True)]
        scale = scale_of_all(subject, drawn[0], look)
        row = overlay_grid(images, labels, min(len(images), COLUMNS), scale=scale)
        room = document.h - document.t_margin - document.b_margin - 16  # a row is not broken
        width = min(
            document.epw, document.epw * row.width / (COLUMNS * IN_ROW), room * row.width / row.height
        )
        height = width * row.height / row.width
        if document.get_y() + height + 16 > document.h - document.b_margin and done:
            document.add_page()
        document.block(drawn[0].text[:LONGEST], 10, "B")
        where = where_text(subject, range(len(subject.capture.visuals)), drawn[0].tokens)
        document.block(f"{where}: {', '.join(labels)}", 7)
        document.ln(1)
        document.image(row, w=width, alt_text=plain_text(drawn[0].title))
        document.ln(4)
    watch.tell(len(found), len(found))
