"""Each format read back with a tool of its own, and compared with maps and pictures made on their own."""

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from fpdf import FPDF
from PIL import Image
from pypdf import PdfReader

import viewer
import visualization
from attention_processor import AttentionProcessor
from drawing import fonts
from drawing.colour_bar import number_labels
from drawing.colours import MARKED
from drawing.fonts import _fallback_paths, _font_with, _main_font_path, drawable
from drawing.text import _broken, paragraph
from methods import METHODS, selected_maps
from records.capture import Capture
from records.look import Look
from records.pictures import image_hash
from records.selection import Selection
from records.tokens import spelled
from report import animation, pdf, png
from report.formats import FORMATS, export
from report.view import (
    TITLE,
    Subject,
    bounded,
    coloured,
    drawings,
    facts,
    short_id,
    whole_drawing,
)
from tests.test_attention_processor import ANSWER, GRID, HEADS, RECORDED, TOKENS, made_capture, text_rows
from utils import Stopped, Watch

CAVEAT = METHODS["attention"].caveat

ALL = Selection(layers=RECORDED, heads=tuple(range(HEADS)))
SOME = replace(ALL, layers=(0, 5), heads=(1,), aggregation="max", look=Look("magma", 0.4, smooth=True))
WORDS = ["The", "red", "cat", "and", "the", "blue", "cat's", "hat", ".", "\n"]
LONG = ("zip", "gif", "mp4", "pdf")  # with progress and Stop
WRITTEN = ("png", *LONG, "npz")


@pytest.fixture(scope="module")
def image() -> Image.Image:
    """A picture of 196 x 140 pixels."""
    cells = np.random.default_rng(3).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((196, 140), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def capture(image: Image.Image) -> Capture:
    settings = {"temperature": 0.0, "max_new_tokens": 64, "dtype": "float32"}
    return made_capture(image_hash=image_hash(image), model_name="made/model-1", settings=settings)


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


# --- what is shown ---


def test_a_drawing_for_each_word_and_each_token(capture: Capture) -> None:
    processor = AttentionProcessor(capture)
    by_word, by_token = (
        drawings(of(capture, SOME)),
        drawings(of(capture, replace(SOME, by="token"))),
    )
    assert [one.text for one in by_word] == [word.text for word in processor.words()] == WORDS
    assert [one.text for one in by_token] == list(ANSWER)
    for word, one in zip(processor.words(), by_word, strict=True):
        expected = processor.get_attention_heatmap_for_token(word.tokens, [0, 5], [1], "max")
        np.testing.assert_array_equal(one.values, expected)
        assert one.on_image == pytest.approx(float(processor.shares(word.tokens, [0, 5], [1])[0]))
        assert capture.text[slice(*one.span)] == one.text
    assert by_token[3].name == "token_003"
    assert by_word[6].name == "word_006"


def test_chosen_tokens_choose_their_words(capture: Capture) -> None:
    chosen = replace(ALL, tokens=(5, 7))  # " blue" and "'s"
    assert [one.name for one in drawings(of(capture, chosen))] == ["word_005", "word_006"]
    assert [one.name for one in drawings(of(capture, replace(chosen, by="token")))] == [
        "token_005",
        "token_007",
    ]
    asked = replace(ALL, of_prompt=True, tokens=(1,))
    assert [(one.name, one.text) for one in drawings(of(capture, asked))] == [("prompt_word_001", "is")]


def test_one_drawing_of_all_chosen_tokens(capture: Capture) -> None:
    processor = AttentionProcessor(capture)
    cases: list[tuple[Selection, str, str, list[int]]] = [
        (ALL, "tokens_000_010", "the whole answer", list(range(TOKENS))),
        (replace(ALL, tokens=(1, 2, 5)), "tokens_001_005", "tokens 1-2,5", [1, 2, 5]),
        (replace(ALL, tokens=(6, 7)), "word_006", "word 6", [6, 7]),
        (replace(ALL, tokens=(5,)), "word_005", "word 5", [5]),
        (replace(ALL, tokens=(6,)), "token_006", "token 6", [6]),
        (replace(ALL, tokens=(5,), by="token"), "token_005", "token 5", [5]),
    ]
    for view, name, title, tokens in cases:
        one = whole_drawing(of(capture, view))
        assert (one.name, one.title.split(" “")[0]) == (name, title)
        expected = processor.get_attention_heatmap_for_token(tokens)
        np.testing.assert_array_equal(one.values, expected)


def test_a_shared_scale_spans_every_token_of_prompt_and_answer(capture: Capture) -> None:
    shared = coloured(of(capture, replace(SOME, scale="shared", tokens=(2,))))
    both = [capture.attention, capture.prompt_attention]
    cells = np.concatenate([part[:, [0, 2]][:, :, [1]].amax((1, 2)).numpy().ravel() for part in both])
    assert shared.vmin == pytest.approx(cells.min())
    assert shared.vmax == pytest.approx(cells.max())
    assert coloured(of(capture, SOME)) == SOME.look
    fixed = replace(SOME, scale="shared", look=replace(SOME.look, vmin=0.0, vmax=0.5))
    assert coloured(of(capture, fixed)).vmax == 0.5


# --- what every file says ---


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_file_says_what_it_was_made_from(
    kind: str, capture: Capture, image: Image.Image, tmp_path: Path
) -> None:
    made = export(kind, of(capture, replace(SOME, scale="shared")), image, tmp_path)
    expected = ["made/model-1", "Who is there?", "max over layers and heads", CAVEAT, "shared"]
    if kind != "npz":  # which has the numbers themselves
        expected += [
            capture.text,
            "0,5 of 0-5",
            "1 of 0-1",
            "196 × 140",
            "7 × 5",
            "greedy",
            "max new tokens 64",
        ]
    texts = texts_of(made.path)
    assert len(texts) == (len(WORDS) + 1 if kind == "zip" else 1)
    for text in texts:
        for part in expected:
            assert "".join(part.split()) in "".join(text.split()), part
    assert made.notes == ()
    assert list(tmp_path.iterdir()) == [made.path]


def test_facts_say_where_a_choice_ends(capture: Capture) -> None:
    said = facts(
        of(replace(capture, stopped=True, settings={"temperature": 0.7}), replace(ALL, of_prompt=True))
    )
    assert said["Answer"].endswith("(stopped early)")
    assert said["Generation"].startswith("drawn, ")
    assert said["Method"] == "attention of the row in which the token itself asks, mean over layers and heads"


def test_names_are_ours(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    evil = replace(capture, model_name="../../evil")
    mark = short_id(evil)
    names = {
        export("npz", of(evil, view), image, tmp_path).path.name
        for view in (ALL, replace(ALL, tokens=(1, 2)))
    }
    names |= {export("npz", of(evil, replace(ALL, of_prompt=True)), image, tmp_path).path.name}
    names |= {export("npz", of(evil, replace(ALL, of_prompt=True, tokens=(1,))), image, tmp_path).path.name}
    endings = ("", "-tokens-001-002", "-prompt", "-prompt-word-001")
    assert names == {f"attention-{mark}{ending}.npz" for ending in endings}
    assert len(mark) == 8
    assert mark != short_id(capture)
    with zipfile.ZipFile(export("zip", of(evil, ALL), image, tmp_path).path) as packed:
        pictures = {f"attention-{mark}-word-{number:03d}.png" for number in range(len(WORDS))}
        assert set(packed.namelist()) == pictures | {"README.txt", "about.json"}


# --- pictures ---


def test_a_picture_is_the_map_on_its_picture(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    view = replace(SOME, tokens=(5,), look=replace(SOME.look, view="side by side"))
    path = export("png", of(capture, view), image, tmp_path).path
    heat = AttentionProcessor(capture).get_attention_heatmap_for_token(5, [0, 5], [1], "max")
    expected = visualization.visualize_attention_on_image(
        image, heat, **asdict(view.look), title=" ", subtitle=" ", min_side=640
    )
    with Image.open(path) as picture:
        assert picture.height > expected.height  # the facts stand below
        below = np.asarray(picture)[expected.height :]
        for name in ("picture_box", "original_box", "bar_box"):
            box = expected.info[name]
            np.testing.assert_array_equal(np.asarray(picture.crop(box)), np.asarray(expected.crop(box)))
    assert (below < 200).any()


def test_an_archive_has_a_picture_of_each_token(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    path = export("zip", of(capture, replace(ALL, by="token", scale="shared")), image, tmp_path).path
    look = coloured(of(capture, replace(ALL, scale="shared")))
    processor = AttentionProcessor(capture)
    with zipfile.ZipFile(path) as packed:
        assert packed.testzip() is None
        about = json.loads(packed.read("about.json"))
        assert [one["text"] for one in about["pictures"]] == list(ANSWER)
        assert about["pictures"][4]["lowest"] == look.vmin
        assert about["facts"]["Question"] == "Who is there?"
        for token, one in enumerate(about["pictures"]):
            heat = processor.get_attention_heatmap_for_token(token)
            expected = visualization.visualize_attention_on_image(
                image, heat, **asdict(look), title=" ", subtitle=" ", min_side=640
            )
            with Image.open(io.BytesIO(packed.read(one["file"]))) as picture:
                box = expected.info["picture_box"]
                np.testing.assert_array_equal(np.asarray(picture.crop(box)), np.asarray(expected.crop(box)))


# --- animations ---


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


@pytest.mark.parametrize("kind", ["gif", "mp4"])
@pytest.mark.parametrize("scale", ["own", "shared"])
@pytest.mark.parametrize("view", ["overlay", "heatmap", "side by side"])
def test_an_animation_shows_each_word_in_turn(
    kind: str, scale: Any, view: str, capture: Capture, image: Image.Image, tmp_path: Path
) -> None:
    shown = replace(ALL, scale=scale, look=Look("viridis", 0.7, view))
    frames = frames_of(export(kind, of(capture, shown), image, tmp_path).path)
    assert len(frames) == len(WORDS)
    width, height = frames[0].size
    assert (width % 2, height % 2) == (0, 0)
    assert max(width, height) <= animation.FRAME_SIDE
    look, processor = coloured(of(capture, shown)), AttentionProcessor(capture)
    size = (326, 456) if view == "side by side" else (343, 480)  # 140 x 196 enlarged
    picture = image.resize(size[::-1], Image.Resampling.LANCZOS)
    expected = []
    for word in processor.words():
        heat = processor.get_attention_heatmap_for_token(word.tokens)
        over = visualization.overlay if view == "overlay" else visualization.side_by_side
        drawn = visualization.heatmap(heat, size, look) if view == "heatmap" else over(picture, heat, look)
        expected.append(drawn)
    box = (12, 12, 12 + expected[0].width, 12 + expected[0].height)
    for index, frame in enumerate(frames):
        assert frame.size == (width, height)
        far = [difference(frame.crop(box), drawn) for drawn in expected]
        # A GIF has 256 colours, a video a fourth of the colour resolution.
        assert far[index] < (9 if kind == "gif" else 6)
        assert far[index] == min(far)


def test_only_map_bar_and_mark_move(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    frames = frames_of(export("gif", of(capture, ALL), image, tmp_path).path)
    arrays = np.stack([np.asarray(frame, int) for frame in frames])
    marked = (np.abs(arrays - MARKED).max(-1) < 12).sum((1, 2))
    assert (marked[:-1] > 100).all()  # a word each, but for the white space at the end
    columns = [np.flatnonzero((np.abs(one - MARKED).max(-1) < 12).any(0)) for one in arrays[:3]]
    assert columns[0].max() < columns[1].min() + 4 < columns[1].max() < columns[2].min() + 4
    still = np.ptp(arrays[:, -100:], axis=0).mean()
    assert still < 3  # the lines at the bottom, but for each frame's own 256 colours


def test_an_animation_runs_at_two_words_a_second(
    capture: Capture, image: Image.Image, tmp_path: Path
) -> None:
    with Image.open(export("gif", of(capture, ALL), image, tmp_path).path) as animation:
        assert animation.info["loop"] == 0
        for frame in range(animation.n_frames):  # type: ignore[attr-defined]
            animation.seek(frame)
            assert animation.info["duration"] == 500
    path = export("mp4", of(capture, ALL), image, tmp_path).path
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (float(stream.average_rate or 0), stream.frames) == (2.0, len(WORDS))
        assert container.duration == pytest.approx(len(WORDS) / 2 * av.time_base, rel=0.01)
        assert container.metadata["title"] == TITLE
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # starts before it is loaded whole


def test_a_narrow_picture_leaves_room_for_the_answer(capture: Capture, tmp_path: Path) -> None:
    narrow = Image.new("RGB", (140, 1400), "teal")
    frames = frames_of(export("mp4", of(capture, ALL), narrow, tmp_path).path)
    assert frames[0].width >= 480
    assert max(frames[0].size) <= animation.FRAME_SIDE


# --- documents ---


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


@pytest.mark.parametrize("kind", WRITTEN)
def test_any_text_can_be_written(kind: str, capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    path = export(kind, of(strange(capture), replace(ALL, by="token")), image, tmp_path).path
    assert path.stat().st_size > 1000
    if kind != "npz":
        assert "Héllo" in texts_of(path)[0]


@pytest.fixture
def fallback_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that sets the fonts which are tried after DejaVu Sans."""

    def clear() -> None:
        _fallback_paths.cache_clear()
        _font_with.cache_clear()

    def use(*files: Path) -> None:
        clear()
        monkeypatch.setattr(fonts, "FALLBACK_FONTS", tuple(map(str, files)))

    yield use
    clear()


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
    fallback_fonts(font_of_one_character(tmp_path / "cat.ttf"))
    assert drawable("猫") == "猫"
    add_font = FPDF.add_font

    def picky(self: FPDF, family: str, *arguments: Any, **named: Any) -> None:
        if family == "cat":
            raise NotImplementedError
        add_font(self, family, *arguments, **named)

    monkeypatch.setattr(FPDF, "add_font", picky)
    text = texts_of(export("pdf", of(strange(capture), ALL), image, tmp_path).path)[0]
    assert "[U+732B]" in text


def font_of_one_character(path: Path) -> Path:
    """Write a font in which 猫 is drawn as the main font draws W."""
    font = TTFont(_main_font_path())
    for table in font["cmap"].tables:
        if table.isUnicode():
            table.cmap = {ord("猫"): table.cmap[ord("W")]}
    font.save(path)
    return path


def test_a_document_takes_the_fonts_that_pictures_take(
    capture: Capture, image: Image.Image, tmp_path: Path, fallback_fonts: Callable[..., None]
) -> None:
    fallback_fonts(font_of_one_character(tmp_path / "cat.ttf"))
    text = texts_of(export("pdf", of(strange(capture), ALL), image, tmp_path).path)[0]
    assert "猫" in text
    assert "[U+732B]" not in text


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


# --- numbers ---


def test_numbers_have_their_axes_named(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    with np.load(export("npz", of(capture, SOME), image, tmp_path).path, allow_pickle=False) as file:
        made = dict(file)
    axes = json.loads(str(made["axes"]))
    sizes: dict[str, int] = {"h": GRID[0], "w": GRID[1], "token": TOKENS, "layer": 2, "head": 1, "part": 3}
    assert {"maps", "word_maps", "prompt_word_maps", "shares", "layers", "heads"} <= set(axes)
    for name, named in axes.items():
        assert len(named) == made[name].ndim, name
        for axis, size in zip(named, made[name].shape, strict=True):
            assert sizes.setdefault(axis, size) == size, (name, axis)
    processor = AttentionProcessor(capture)
    for token in range(TOKENS):
        expected = processor.get_attention_heatmap_for_token(token, [0, 5], [1], "max")
        np.testing.assert_array_equal(made["maps"][token], expected)
    assert made["words"].tolist() == WORDS
    assert made["prompt_words"].tolist() == ["Who", "is", "there", "?"]
    assert json.loads(str(made["settings"]))["drawing"]["colormap"] == "magma"


def test_numbers_of_chosen_tokens(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    with np.load(export("npz", of(capture, replace(ALL, tokens=(6, 2))), image, tmp_path).path) as made:
        assert made["token_positions"].tolist() == [6, 2]
        assert made["words"].tolist() == ["cat", "cat's"]
        assert len(made["prompt_words"]) == 4


# --- bounds, Stop, errors ---


@pytest.mark.parametrize(
    ("kind", "room", "bound"),
    [
        ("zip", png, "MAX_PICTURES"),
        ("gif", animation, "MAX_FRAMES"),
        ("mp4", animation, "MAX_FRAMES"),
        ("pdf", pdf, "MAX_MAPS"),
    ],
)
def test_what_is_left_out_is_said(
    kind: str,
    room: Any,
    bound: str,
    capture: Capture,
    image: Image.Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, bound, 4)
    seen: list[tuple[int, int]] = []
    made = export(kind, of(capture, ALL), image, tmp_path, Watch(lambda *step: seen.append(step)))
    assert len(made.notes) == 1
    assert f"shows 4 of {len(WORDS)} maps" in made.notes[0]
    assert seen[-1] == (4, 4)
    if kind in ("gif", "mp4"):
        assert len(frames_of(made.path)) == 4
    else:
        shown = texts_of(made.path)
        assert len(shown) == 5 if kind == "zip" else "shows 4 of" in shown[0]


def test_even_steps_keep_both_ends(capture: Capture) -> None:
    found, _ = bounded(drawings(of(capture, ALL)), 4, "It")
    assert [one.name for one in found] == ["word_000", "word_003", "word_006", "word_009"]


@pytest.mark.parametrize("kind", LONG)
def test_progress_and_stop(kind: str, capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = export(kind, of(capture, ALL), image, tmp_path, Watch(lambda *step: seen.append(step))).path
    assert seen == [(done, len(WORDS)) for done in range(len(WORDS) + 1)]
    before, stop = path.read_bytes(), threading.Event()

    def after_three(done: int, count: int) -> None:
        if done == 3:
            stop.set()

    with pytest.raises(Stopped):
        export(kind, of(capture, replace(ALL, scale="shared")), image, tmp_path, Watch(after_three, stop))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_what_cannot_be_exported_is_refused(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    empty = replace(
        capture,
        token_ids=(),
        tokens=(),
        text="",
        token_spans=(),
        attention=capture.attention[:0],
        shares=capture.shares[:0],
        text_attention=text_rows(capture.shares[:0], len(capture.context_tokens)),
        logprobs=capture.logprobs[:0],
    )
    cases: list[tuple[str, Capture, Selection, str]] = [
        ("bmp", capture, ALL, "a format is one of png, zip, gif, mp4, pdf, html, npz; got 'bmp'"),
        ("gif", empty, ALL, "the answer is empty"),
        ("zip", capture, replace(ALL, layers=(1,)), "layer 1 was not recorded"),
        ("pdf", capture, replace(ALL, heads=(7,)), "there is no head 7"),
    ]
    for kind, one, view, message in cases:
        with pytest.raises(ValueError, match=message):
            export(kind, of(one, view), image, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_format_is_described() -> None:
    assert list(FORMATS) == ["png", "zip", "gif", "mp4", "pdf", "html", "npz"]
    for kind, form in FORMATS.items():
        assert form.ending == f".{kind}"
        assert form.name
        assert form.description


# --- text in pictures ---


def test_a_paragraph_breaks_where_it_is_full() -> None:
    text = "one two three four " * 12 + "x" * 300
    for width in (120, 333):
        lines = _broken(text, width, 20)
        assert "".join(text[start:end] for start, end in lines) == text
        face = fonts.font(20)
        assert all(face.width(text[start:end].rstrip()) <= width for start, end in lines)
        first = text[slice(*lines[0])]
        assert first.endswith(" ")
        assert paragraph(text, width, 20).size[0] == width


def test_the_marked_word_is_always_in_view() -> None:
    text = " ".join(f"word{number}" for number in range(200))
    whole = paragraph(text, 300, 16, lines=3)
    for mark in [(0, 5), (600, 606), (len(text) - 7, len(text))]:
        shown = np.asarray(paragraph(text, 300, 16, mark=mark, lines=3))
        assert shown.shape[:2] == whole.size[::-1]
        assert (np.abs(shown.astype(int) - MARKED).max(-1) == 0).sum() > 50
