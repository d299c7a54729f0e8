"""Letters: no empty box in any script, widths that hold, directions that stay where they are."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from drawing import fonts
from drawing.characters import isolated
from drawing.fonts import drawable, font_notes
from drawing.scripts import FALLBACK_FONTS, SCRIPTS, script_of
from tests.report.formats.kit import font_of


def test_characters_without_a_glyph_are_spelt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_fallback_paths", tuple)
    fonts._font_with.cache_clear()
    try:
        assert drawable('"red é Ж → 中文"') == '"red é Ж → [U+4E2D][U+6587]"'
        assert drawable("a\nb\tc\u200b\u202e\x1b") == "a↵b⇥c"
        face = fonts._glyphs(fonts._main_font_path())
        assert all(face.get_char_index(ord(c)) for c in drawable("中 \U0001f916 \ue000 ﷽ 한국"))
    finally:
        fonts._font_with.cache_clear()


def test_a_font_of_the_system_is_used_for_characters_that_ours_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    other = str(Path(matplotlib.get_data_path(), "fonts", "ttf", "STIXGeneral.ttf"))
    ours = fonts._glyphs(fonts._main_font_path())
    lacking = next(chr(code) for code in fonts._glyphs(other).get_charmap() if not ours.get_char_index(code))
    monkeypatch.setattr(fonts, "_fallback_paths", lambda: (other,))
    fonts._font_with.cache_clear()
    try:
        assert drawable(lacking) == lacking
        runs = fonts.font(20).runs(f"a{lacking}b")
        assert [(text, font.getname()[0]) for text, font in runs] == [
            ("a", "DejaVu Sans"),
            (lacking, "STIXGeneral"),
            ("b", "DejaVu Sans"),
        ]
    finally:
        fonts._font_with.cache_clear()


def test_text_from_right_to_left_leaves_the_numbers_beside_it_in_place() -> None:
    face = fonts.font(14)
    label = f"token 1 “{isolated('אב')}”  0.07 % to 2.45 %"
    assert [text for text, _ in face.runs(label)] == ["token 1 “", "אב", "”  0.07 % to 2.45 %"]
    assert face.runs(isolated("")) == []


def test_words_from_right_to_left_stay_in_their_place_among_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a plainer layout draws the letters in the order in which they are seen, from left to right."""
    thai = font_of(tmp_path / "thai.ttf", "ก")
    monkeypatch.setattr(fonts, "_fallback_paths", lambda: (str(thai),))
    fonts._font_with.cache_clear()
    try:
        plain = ImageFont.truetype(fonts._main_font_path(), 20, layout_engine=ImageFont.Layout.BASIC)
        for text, seen in (("กאב ZZ", "Wבא ZZ"), ("אב ZZ", "ZZ בא"), ("ZZ אב ZZ", "ZZ בא ZZ")):
            found, expected = Image.new("RGB", (160, 30)), Image.new("RGB", (160, 30))
            fonts.font(20).write(ImageDraw.Draw(found), (0, 0), text, (255, 255, 255))
            at = (0, fonts.font(20).ascent)
            ImageDraw.Draw(expected).text(at, seen, (255, 255, 255), plain, anchor="ls")
            difference = np.abs(np.asarray(found, float) - np.asarray(expected, float)).mean()
            swapped = np.abs(np.asarray(expected, float)).mean()
            assert difference < 0.3 * swapped, text
    finally:
        fonts._font_with.cache_clear()


def test_long_texts_are_shortened_to_a_width() -> None:
    face = fonts.font(14)
    short = face.shortened("word " * 4000, 200)
    assert short.endswith("…")
    assert face.width(short) <= 200
    assert face.shortened("word", 200) == "word"


# --- Fonts that are missing ---------------------------------------------------------------------------------

SCRIPTS_SAID = {
    "Thai": ("สวัสดี", "Noto Sans Thai", "fonts-noto-core"),
    "Hindi": ("नमस्ते", "Noto Sans Devanagari", "fonts-noto-core"),
    "Chinese/Japanese/Korean": ("中文", "Noto Sans CJK", "fonts-noto-cjk"),
    "emoji": ("🤖", "Symbola", "fonts-symbola"),
    "Tamil": ("வணக்கம்", "Noto Sans Tamil", "fonts-noto-core"),
    "other scripts": ("\ua98f", "Noto Sans", "fonts-noto-core"),  # Javanese
}


@pytest.mark.parametrize("script", SCRIPTS_SAID)
def test_a_script_without_a_font_is_told_with_the_font_to_install(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, font, package = SCRIPTS_SAID[script]
    monkeypatch.setattr(fonts, "_fallback_paths", tuple)
    fonts._font_with.cache_clear()
    try:
        (note,) = font_notes(f"a word {said}")
        assert note == (
            "No font here has these letters, which are written as code points such as "
            f"[U+{ord(said[0]):04X}]: {script}. To see them, install {font} (Debian, Ubuntu: {package})."
        )
    finally:
        fonts._font_with.cache_clear()
    assert font_notes(said, drawn=lambda character: True) == ()


def test_scripts_that_are_drawn_anyway_need_no_font() -> None:
    for said in ("plain", "Ελληνικά Кириллица", "مرحبا بالعالم", "שלום", "a\n\u200b", ""):
        assert font_notes(said) == ()


def test_a_script_has_its_letters_and_its_fonts() -> None:
    for script in SCRIPTS:
        assert script.fonts
        for first, last in script.blocks:
            assert script_of(chr(first)) == script_of(chr(last)) == script
    assert [script_of(c).name for c in "aกหअ中가🐱ሰ"] == [
        *("other scripts", "Thai", "Thai", "Hindi", "Chinese/Japanese/Korean"),
        *("Chinese/Japanese/Korean", "emoji", "Ethiopic"),
    ]
    assert len(FALLBACK_FONTS) == len(set(FALLBACK_FONTS))
