"""Files to take away: documents."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from fpdf import FPDF
from PIL import Image
from pypdf import PdfReader

import viewer
from attention_processor import AttentionProcessor
from drawing.colour_bar import number_labels
from drawing.fonts import _main_font_path, drawable
from methods import selected_maps
from records.capture import Capture
from report.formats import export
from report.view import (
    TITLE,
)
from tests.attention_processor.kit import ANSWER
from tests.report.formats.kit import (
    ALL,
    CAVEAT,
    SOME,
    WORDS,
    WRITTEN,
    font_of,
    of,
    speaking,
    strange,
    texts_of,
)


def test_a_document_has_every_word_with_its_map(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    path = export("pdf", of(capture, SOME), image, tmp_path).path
    reader = PdfReader(path)
    pages = [page.extract_text() for page in reader.pages]
    for number, page in enumerate(pages, 1):
        assert f"page {number} of {len(pages)}" in page
        assert "".join(CAVEAT.split()) in "".join(page.split())
    lines = [line.strip() for page in pages[1:] for line in page.splitlines()]
    assert [line for line in lines if line in WORDS] == WORDS[:-1]
    processor = AttentionProcessor(capture)
    shares = [float(processor.shares(word.tokens, [0, 5], [1])[0]) for word in processor.words()]
    told = [line for line in lines if line.endswith("of attention on the image")]
    assert told == [f"{number_labels([share])[0]} of attention on the image" for share in shares]
    assert sum(len(page.images) for page in reader.pages) == 1 + 1 + len(WORDS)  # picture, bar, maps
    assert reader.metadata is not None
    assert reader.metadata.title == TITLE


def test_a_document_of_many_words_goes_on_over_pages(
    capture: Capture, image: Image.Image, tmp_path: Path
) -> None:
    few = PdfReader(export("pdf", of(capture, replace(ALL, tokens=(1,))), image, tmp_path).path)
    tall = image.resize((140, 400))
    many = PdfReader(export("pdf", of(capture, replace(ALL, by="token")), tall, tmp_path).path)
    assert len(few.pages) == 2
    assert len(many.pages) > 2


@pytest.mark.parametrize("kind", WRITTEN)
def test_any_text_can_be_written(kind: str, capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    path = export(kind, of(strange(capture), replace(ALL, by="token")), image, tmp_path).path
    assert path.stat().st_size > 1000
    if kind != "npz":
        assert "Héllo" in texts_of(path)[0]


def test_a_document_shows_no_empty_boxes(
    capture: Capture, image: Image.Image, tmp_path: Path, fallback_fonts: Callable[..., None]
) -> None:
    fallback_fonts()
    text = texts_of(export("pdf", of(strange(capture), ALL), image, tmp_path).path)[0]
    assert "[U+732B]" in text  # 猫, which DejaVu lacks
    assert "猫" not in text
    assert "\ufffd" not in text
    assert "**x**" in text  # not taken for markup


def test_a_character_that_bold_letters_lack_is_drawn(
    capture: Capture, image: Image.Image, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    main = Path(_main_font_path())
    has = TTFont(main).getBestCmap().keys() - TTFont(main.with_stem(f"{main.stem}-Bold")).getBestCmap().keys()
    said = "".join(chr(code) for code in sorted(has) if chr(code).isprintable())[:3]
    bold = replace(capture, tokens=(said, *ANSWER[1:]), text=said + capture.text[3:])
    with caplog.at_level("WARNING"):
        text = texts_of(export("pdf", of(bold, ALL), image, tmp_path).path)[0]
    assert said in text
    assert caplog.messages == []  # fpdf2 warns of glyphs that are missing


def test_a_font_that_cannot_be_embedded_leaves_code_points(
    capture: Capture,
    image: Image.Image,
    tmp_path: Path,
    fallback_fonts: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fallback_fonts(font_of(tmp_path / "cat.ttf"))
    assert drawable("猫") == "猫"
    add_font = FPDF.add_font

    def picky(self: FPDF, family: str, *arguments: Any, **named: Any) -> None:
        if family == "cat":
            raise NotImplementedError
        add_font(self, family, *arguments, **named)

    monkeypatch.setattr(FPDF, "add_font", picky)
    text = texts_of(export("pdf", of(strange(capture), ALL), image, tmp_path).path)[0]
    assert "[U+732B]" in text


def test_a_document_takes_the_fonts_that_pictures_take(
    capture: Capture, image: Image.Image, tmp_path: Path, fallback_fonts: Callable[..., None]
) -> None:
    fallback_fonts(font_of(tmp_path / "cat.ttf"))
    text = texts_of(export("pdf", of(strange(capture), ALL), image, tmp_path).path)[0]
    assert "猫" in text
    assert "[U+732B]" not in text


SPOKEN = {
    "Thai": "สวัสดี",
    "Hindi": "नमस्ते",
    "Chinese/Japanese/Korean": "中文",
    "emoji": "🤖",
    "Ethiopic": "ሰላም",
}


@pytest.mark.parametrize(
    ("kind", "script"), [*(("pdf", script) for script in SPOKEN), *((kind, "Thai") for kind in WRITTEN[:4])]
)
def test_a_file_shows_a_script_or_says_which_font_to_install(
    kind: str,
    script: str,
    capture: Capture,
    image: Image.Image,
    tmp_path: Path,
    fallback_fonts: Callable[..., None],
) -> None:
    said = SPOKEN[script]
    spoken = of(speaking(capture, said), replace(ALL, tokens=(0,), by="token"))
    fallback_fonts()
    made = export(kind, spoken, image, tmp_path)
    (note,) = made.notes
    assert f"written as code points such as [U+{ord(said[0]):04X}]: {script}. To see them, install " in note
    if kind == "pdf":
        text = " ".join(texts_of(made.path)[0].split())
        assert note in text
        assert said not in text
        assert "\ufffd" not in text
    if kind == "zip":
        assert note in texts_of(made.path)[0]
    fallback_fonts(font_of(tmp_path / "own.ttf", said))
    made = export(kind, spoken, image, tmp_path)
    assert made.notes == ()
    if kind == "pdf":
        assert set(said) <= set("".join(texts_of(made.path)))
        assert "[U+" not in texts_of(made.path)[0]


def test_a_script_that_the_main_font_has_is_shown(
    capture: Capture, image: Image.Image, tmp_path: Path, fallback_fonts: Callable[..., None]
) -> None:
    fallback_fonts()
    for said in ("مرحبا", "שלום", "Ελληνικά", "Кириллица"):
        made = export("pdf", of(speaking(capture, said), ALL), image, tmp_path)
        assert made.notes == ()
        assert "[U+" not in texts_of(made.path)[0]


def test_the_interactive_page_is_the_viewers(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    path = export("html", of(capture, replace(SOME, scale="shared")), image, tmp_path).path
    maps = selected_maps(capture, SOME)
    expected = viewer.payload(
        capture,
        image,
        *maps,
        look=SOME.look,
        scale="shared",
        leaned=viewer.leaned_on(capture, (0, 5)),
    )
    assert path.read_text("utf-8") == viewer.report(expected)
