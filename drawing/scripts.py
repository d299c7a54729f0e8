"""Which fonts have the letters of which script, and what to install where there is none.

Goes in: a character. Comes out: the script that it belongs to, with its fonts. Knows nothing of the fonts
that are there.
"""

from typing import NamedTuple


class Script(NamedTuple):
    """A script: its name, its letters, files of fonts that have them, and the font that people install."""

    name: str
    blocks: tuple[tuple[int, int], ...]  # first and last code point of each
    fonts: tuple[str, ...]  # in this order
    install: str
    package: str = "fonts-noto-core"  # of Debian and Ubuntu

    def has(self, character: str) -> bool:
        """Return whether the character is one of its letters."""
        return any(first <= ord(character) <= last for first, last in self.blocks)


def _noto(name: str, *blocks: tuple[int, int], file: str = "", others: tuple[str, ...] = ()) -> Script:
    """Return a script that Noto Sans has in a font of its own; `others` are Windows's and macOS's fonts."""
    files = (f"NotoSans{file or name}-Regular.ttf", f"NotoSans{file or name}-Regular.otf", *others)
    return Script(name, blocks, files, f"Noto Sans {file or name}")


INDIC = ("Nirmala.ttc", "Nirmala.ttf")  # Windows's
SCRIPTS = (
    Script(
        "Chinese/Japanese/Korean",
        (
            *((0x1100, 0x11FF), (0x2E80, 0x33FF), (0x3400, 0x9FFF), (0xA960, 0xA97F), (0xAC00, 0xD7FF)),
            *((0xF900, 0xFAFF), (0xFE30, 0xFE4F), (0xFF00, 0xFFEF), (0x20000, 0x3FFFF)),
        ),
        (
            "NotoSansCJK-Regular.ttc",
            "NotoSansCJKsc-Regular.otf",
            "SourceHanSans-Regular.ttc",
            "msyh.ttc",
            "PingFang.ttc",
            "Hiragino Sans GB.ttc",
            "Arial Unicode.ttf",  # macOS's, which has most of the scripts below too
            "wqy-zenhei.ttc",
            "wqy-microhei.ttc",
            "DroidSansFallbackFull.ttf",
        ),
        "Noto Sans CJK",
        "fonts-noto-cjk",
    ),
    _noto("Thai", (0x0E00, 0x0E7F), others=("LeelawUI.ttf",)),
    _noto("Hindi", (0x0900, 0x097F), (0xA8E0, 0xA8FF), file="Devanagari", others=INDIC),
    _noto("Bengali", (0x0980, 0x09FF), others=INDIC),
    _noto("Gurmukhi", (0x0A00, 0x0A7F), others=INDIC),
    _noto("Gujarati", (0x0A80, 0x0AFF), others=INDIC),
    _noto("Tamil", (0x0B80, 0x0BFF), others=INDIC),
    _noto("Telugu", (0x0C00, 0x0C7F), others=INDIC),
    _noto("Kannada", (0x0C80, 0x0CFF), others=INDIC),
    _noto("Malayalam", (0x0D00, 0x0D7F), others=INDIC),
    _noto("Sinhala", (0x0D80, 0x0DFF), others=INDIC),
    _noto("Lao", (0x0E80, 0x0EFF), others=("LeelawUI.ttf",)),
    _noto("Burmese", (0x1000, 0x109F), file="Myanmar", others=("mmrtext.ttf",)),
    _noto("Khmer", (0x1780, 0x17FF), (0x19E0, 0x19FF), others=("LeelawUI.ttf",)),
    _noto("Ethiopic", (0x1200, 0x139F), (0x2D80, 0x2DDF), others=("ebrima.ttf",)),
    _noto("Arabic", (0x0600, 0x06FF), (0x0750, 0x077F), (0x08A0, 0x08FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF)),
    _noto("Hebrew", (0x0590, 0x05FF), (0xFB1D, 0xFB4F)),
    Script(
        "emoji",
        ((0x2190, 0x2BFF), (0x1D400, 0x1D7FF), (0x1F000, 0x1FAFF)),
        (
            *("NotoEmoji-Regular.ttf", "Symbola_hint.ttf", "Symbola.ttf", "seguiemj.ttf", "seguisym.ttf"),
            *("NotoSansSymbols2-Regular.ttf", "NotoSansSymbols-Regular.ttf", "NotoSansMath-Regular.ttf"),
            "Apple Symbols.ttf",
        ),
        "Symbola",
        "fonts-symbola",
    ),
)
OTHERS = Script("other scripts", (), (), "Noto Sans")
FALLBACK_FONTS = tuple(dict.fromkeys(file for script in SCRIPTS for file in script.fonts))


def script_of(character: str) -> Script:
    """Return the script of a character; OTHERS for one that has no row of its own."""
    return next((script for script in SCRIPTS if script.has(character)), OTHERS)
