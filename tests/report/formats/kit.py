"""What several tests here share."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from PIL import Image
from pypdf import PdfReader

from drawing.fonts import _main_font_path
from methods import METHODS, selected_maps
from records.capture import Capture
from records.look import Look
from records.selection import Selection
from records.tokens import spelled
from report.view import (
    Subject,
)
from tests.attention_processor.kit import HEADS, RECORDED, text_rows

CAVEAT = METHODS["attention"].caveat
ALL = Selection(layers=RECORDED, heads=tuple(range(HEADS)))
SOME = replace(ALL, layers=(0, 5), heads=(1,), aggregation="max", look=Look("magma", 0.4, smooth=True))
WORDS = ["The", "red", "cat", "and", "the", "blue", "cat's", "hat", ".", "\n"]
LONG = ("zip", "gif", "mp4", "pdf")  # with progress and Stop
WRITTEN = ("png", *LONG, "npz")


def of(capture: Capture, selection: Selection) -> Subject:
    """Return what files are written of: the selection's maps too."""
    return Subject(capture, selection, selected_maps(capture, selection))


def texts_of(path: Path) -> list[str]:
    """Return each text that a reader of the file sees, read with a tool that did not write it."""
    if path.suffix == ".png":
        with Image.open(path) as picture:
            return ["\n".join(f"{name}: {text}" for name, text in picture.text.items())]  # type: ignore[attr-defined]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as packed:
            pictures = [name for name in packed.namelist() if name.endswith(".png")]
            texts = [packed.read("README.txt").decode()]
            for name in pictures:
                with Image.open(io.BytesIO(packed.read(name))) as picture:
                    said = picture.text.items()  # type: ignore[attr-defined]
                    texts.append("\n".join(f"{name}: {text}" for name, text in said))
            return texts
    if path.suffix == ".gif":
        with Image.open(path) as picture:
            return [picture.info["comment"].decode()]
    if path.suffix == ".mp4":
        with av.open(str(path)) as container:
            return [container.metadata["comment"]]
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return ["\n".join(str(arrays[name]) for name in arrays.files)]
    pages = [page.extract_text() for page in PdfReader(path).pages]
    return ["\n".join(pages)]


def difference(left: Image.Image, right: Image.Image) -> float:
    assert left.size == right.size
    return float(np.abs(np.asarray(left.convert("RGB"), float) - np.asarray(right, float)).mean())


def frames_of(path: Path) -> list[Image.Image]:
    if path.suffix == ".gif":
        with Image.open(path) as animation:
            found = []
            for frame in range(animation.n_frames):  # type: ignore[attr-defined]
                animation.seek(frame)
                found.append(animation.convert("RGB"))
            return found
    with av.open(str(path)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


STRANGE = ("Héllo", " שלום", " مرحبا", " 猫", " 🐱", " e\u0301", " <b>&amp;**x**", " \x07\x1b[31m", " ﬁ")


def strange(capture: Capture, prompt: str = "\ud83d lone \u202e猫") -> Capture:
    text, spans = spelled([token.encode() for token in STRANGE])
    count = len(STRANGE)
    return replace(
        capture,
        token_ids=tuple(range(count)),
        tokens=STRANGE,
        text=text,
        token_spans=spans,
        attention=capture.attention[:count],
        shares=capture.shares[:count],
        logprobs=capture.logprobs[:count],
        text_attention=text_rows(capture.shares[:count], len(capture.context_tokens)),
        prompt=prompt,
        prompt_token_spans=((0, 1), (1, 2), (2, 3), (3, len(prompt))),
    )


def speaking(capture: Capture, said: str) -> Capture:
    """Return an answer whose first token is this word, beside others as they were."""
    tokens = (said, *capture.tokens[1:])
    text, spans = spelled([token.encode() for token in tokens])
    return replace(capture, tokens=tokens, text=text, token_spans=spans)


def font_of(path: Path, letters: str = "猫") -> Path:
    """Write a font in which these letters are drawn as the main font draws W."""
    font = TTFont(_main_font_path())
    glyph = font.getBestCmap()[ord("W")]
    for table in font["cmap"].tables:
        if table.isUnicode():
            last = 0x10FFFF if table.format == 12 else 0xFFFF
            table.cmap = {ord(letter): glyph for letter in letters if ord(letter) <= last}
    font.save(path)
    return path
