"""Letters: which font draws a character, how wide a text is, and how it is written on a picture.

Goes in: texts in any script. Comes out: widths, pieces in fonts that have their characters, letters on a
Pillow picture. Knows nothing of maps.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont, features

from drawing.characters import ISOLATES, plain_text
from drawing.scripts import FALLBACK_FONTS, script_of

MOST_SCRIPTS = 6  # in a note


class Font:
    """Letters of one size: DejaVu Sans (comes with matplotlib), then fonts of the system, then code points.

    A character that no font at hand can draw is written as [U+4E2D]: never as an empty box.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        ascent, descent = _sized(_main_font_path(), size).getmetrics()
        self.ascent, self.height = ascent, ascent + descent
        self.middle = ascent + _sized(_main_font_path(), size).getbbox("0", anchor="ls")[1] / 2  # of a digit

    def runs(self, text: str) -> list[tuple[str, ImageFont.FreeTypeFont]]:
        """The text in pieces to draw from left to right, each with a font that has its characters."""
        return [(piece, font) for piece, font, _ in self._directed(text)]

    def _directed(self, text: str) -> list[tuple[str, ImageFont.FreeTypeFont, str]]:
        """The pieces, each with the direction of its text; what is isolated is a text of its own."""
        pieces: list[tuple[str, ImageFont.FreeTypeFont, str]] = []
        for part in re.split(f"[{ISOLATES}]", drawable(text)):
            joined, direction = False, _direction(part)
            for character in part:
                font = _sized(_font_with(character) or _main_font_path(), self.size)
                if joined and pieces[-1][1] is font:
                    pieces[-1] = (pieces[-1][0] + character, font, direction)
                else:
                    pieces.append((character, font, direction))
                joined = True
        return pieces

    def width(self, text: str) -> float:
        """Return how many pixels wide the text is."""
        return sum(font.getlength(piece) for piece, font in self.runs(text))

    def shortened(self, text: str, width: float) -> str:
        """The text, cut with an ellipsis if it is wider than that many pixels."""
        text = plain_text(text)
        if self.width(text) <= width:
            return text
        short, long = 0, min(len(text), 400)
        while short < long:
            middle = (short + long + 1) // 2
            short, long = (middle, long) if self.width(text[:middle] + "…") <= width else (short, middle - 1)
        return text[:short].rstrip() + "…"

    def write(
        self, draw: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, fill: tuple[int, int, int]
    ) -> None:
        """Write with the top left corner at xy, all fonts on one base line."""
        x, y = xy
        for piece, font, direction in self._directed(text):
            draw.text(
                (x, y + self.ascent),
                piece,
                fill=fill,
                font=font,
                anchor="ls",
                direction=direction if features.check("raqm") else None,  # else all is drawn as it is written
            )
            x += font.getlength(piece)


def _direction(text: str) -> str:
    """Return which way a text runs: as its first letter that has a direction does."""
    strong = next((kind for kind in map(unicodedata.bidirectional, text) if kind in ("L", "R", "AL")), "L")
    return "ltr" if strong == "L" else "rtl"


@lru_cache(maxsize=64)
def font(size: int) -> Font:
    """Return letters of that height in pixels."""
    return Font(size)


def text_size(size_wh: tuple[int, int]) -> int:
    """Height of letters, in pixels, that goes with a picture of that size."""
    return min(40, max(12, round(max(size_wh) / 45)))


def drawable(text: str) -> str:
    """The text with characters that no font at hand can draw written as code points, such as [U+4E2D]."""
    return "".join(c if c in ISOLATES or _font_with(c) else code_point(c) for c in plain_text(text))


def font_notes(text: str, drawn: Callable[[str], object] | None = None) -> tuple[str, ...]:
    """Return a note for the person where characters are written as code points: which fonts would show them.

    `drawn` says of a character whether it can be drawn; by default, whether a font at hand has it.
    """
    is_drawn = drawn or _font_with
    missing = [c for c in dict.fromkeys(plain_text(text)) if c not in ISOLATES and not is_drawn(c)]
    if not missing:
        return ()
    scripts = list(dict.fromkeys(map(script_of, missing)))[:MOST_SCRIPTS]
    columns = (
        [one.name for one in scripts],
        [one.install for one in scripts],
        [one.package for one in scripts],
    )
    names, fonts, packages = (", ".join(dict.fromkeys(column)) for column in columns)
    return (
        f"No font here has these letters, which are written as code points such as {code_point(missing[0])}: "
        f"{names}. To see them, install {fonts} (Debian, Ubuntu: {packages}).",
    )


def code_point(character: str) -> str:
    """Return how a character is written that no font can draw: [U+4E2D]."""
    return f"[U+{ord(character):04X}]"


def font_files(text: str) -> list[str]:
    """Files of the fonts that `drawable(text)` takes characters from, the main one first."""
    found = {_font_with(character) for character in drawable(text)}
    return [
        path for path in (_main_font_path(), *_fallback_paths()) if path in found or path == _main_font_path()
    ]


@lru_cache(maxsize=1)
def _main_font_path() -> str:
    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@lru_cache(maxsize=64)
def _sized(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=1)
def _fallback_paths() -> tuple[str, ...]:
    """Files of the fallback fonts that this system has."""
    found = []
    for name in FALLBACK_FONTS:
        try:
            found.append(str(ImageFont.truetype(name, 12).path))
        except OSError:
            continue
    return tuple(found)


@lru_cache(maxsize=4)
def _glyphs(path: str) -> FT2Font:
    return FT2Font(path)


@lru_cache(maxsize=4096)
def _font_with(character: str) -> str | None:
    """File of the first font that can draw the character, or None."""
    if _glyphs(_main_font_path()).get_char_index(ord(character)):
        return _main_font_path()
    return next((path for path in _fallback_paths() if _glyphs(path).get_char_index(ord(character))), None)
