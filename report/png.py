"""Pictures: one of all chosen tokens together, or an archive with one of each.

Goes in: a `Subject` and its pictures. Comes out: a PNG, or a ZIP of them, each with its facts in its
metadata.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

import visualization
from drawing.boxes import draw_boxes
from drawing.text import with_notes
from records.look import Look
from records.visuals import is_picture
from report.boxes import lines_below
from report.parts import Part, Pictures, parts_of, sheet
from report.view import (
    Drawing,
    Subject,
    as_text,
    bounded,
    coloured,
    drawings,
    facts,
    notes_below,
    short_id,
    unwritten,
    whole_drawing,
)
from utils import Watch
from visualization import visualize_attention_on_image

MAX_PICTURES = 1000  # in an archive
LONGEST_WORD = 40  # characters of a word in a file's name


def figure(image: Image.Image, one: Drawing, look: Look) -> Image.Image:
    """Return the picture under a map and its boxes, with title and colour bar, ready to be a file."""
    drawn = visualize_attention_on_image(
        image,
        one.values,
        **asdict(one.look(look)),
        title=one.title,
        subtitle=one.subtitle,
        scale_label=one.scale_label,
        unit=one.unit,
        min_side=visualization.MIN_SIDE,
        max_side=visualization.MAX_SIDE,
    )
    for name in ("original_box", "picture_box"):
        if name in drawn.info:
            draw_boxes(drawn, one.boxes, drawn.info[name])
    return drawn


def png(subject: Subject, pictures: Pictures, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write one picture of all chosen tokens together, with its facts below it and in its metadata.

    Of several pictures it is all of them, of a clip all of its steps, under one map.
    """
    said, notes = facts(subject), unwritten(subject)
    if is_picture(subject.capture.visuals):
        one = whole_drawing(subject)
        drawn = figure(parts_of(subject, pictures)[0].image, one, coloured(subject))
        boxes = lines_below(one.boxes, one.values)
    else:
        drawn, boxes = sheet(subject, parts_of(subject, pictures)), []
    _save_png(with_notes(drawn, [*boxes, *notes_below(said), *notes]), path, said)
    return notes


def _save_png(picture: Image.Image, file: Path | io.BytesIO, said: Mapping[str, str]) -> None:
    metadata = PngImagePlugin.PngInfo()
    for name, text in said.items():
        metadata.add_itxt(name, text.encode("utf-8", "replace").decode("utf-8"))
    picture.save(file, format="PNG", pnginfo=metadata)


def spelled(text: str) -> str:
    """Return a word as the end of a name inside an archive: its letters and digits, not all too many."""
    letters = re.sub(r"[^\w]+|_", "-", unicodedata.normalize("NFKC", text)).strip("-")
    return f"-{letters[:LONGEST_WORD].strip('-')}" if letters else ""


def archive(subject: Subject, pictures: Pictures, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write a ZIP with a picture of each token or word, and what they are, as text and as JSON.

    Of several pictures, and of the steps of a clip, each has a folder.
    """
    said, look, mark = facts(subject), coloured(subject), short_id(subject.capture)
    parts = parts_of(subject, pictures)
    shown, notes = bounded(drawings(subject), max(1, MAX_PICTURES // len(parts)), "The archive")
    notes += unwritten(subject)
    names, count = {one.name for one in shown}, len(shown) * len(parts)
    files: list[dict[str, Any]] = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:
        for part in parts:
            picture = visualization.fitted(
                visualization.as_rgb(part.image), visualization.MIN_SIDE, visualization.MAX_SIDE
            )
            place = {name.lower(): text for name, text in _placed(part).items()}
            for one in (found for found in drawings(part.subject) if found.name in names):
                watch.tell(len(files), count)
                name = f"attention-{mark}-{one.name.replace('_', '-')}{spelled(one.text)}.png"
                name = "/".join(filter(None, (part.folder, name)))
                content = io.BytesIO()
                _save_png(figure(picture, one, look), content, {**said, "Shown": one.title, **_placed(part)})
                packed.writestr(name, content.getvalue())
                low, high = visualization.value_range(visualization.checked_map(one.values), one.look(look))
                shares = {"on_image": one.on_image, "lowest": low, "highest": high}
                files.append({"file": name, **place, "text": one.text, **shares})
        listed = json.dumps({"facts": said, "notes": notes, "pictures": files}, ensure_ascii=False, indent=2)
        packed.writestr("about.json", listed.encode("utf-8", "replace"))
        packed.writestr("README.txt", "\n\n".join([as_text(said), *notes, ""]).encode("utf-8", "replace"))
    watch.tell(count, count)
    return notes


def _placed(part: Part) -> dict[str, str]:
    """Return what a picture says of where it belongs, where there are several."""
    return {"Place": part.label} if part.folder else {}
