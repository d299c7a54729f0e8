"""Files to take away: what is shown; what every file says; numbers."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attention_processor import AttentionProcessor
from records.capture import Capture
from records.selection import Selection
from report.formats import export
from report.png import spelled
from report.view import (
    coloured,
    drawings,
    facts,
    short_id,
    whole_drawing,
)
from tests.attention_processor.kit import ANSWER, GRID, TOKENS
from tests.report.formats.kit import (
    ALL,
    CAVEAT,
    SOME,
    WORDS,
    WRITTEN,
    of,
    texts_of,
)

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
        names = {name for name in packed.namelist() if name.startswith("attention-")}
        assert set(packed.namelist()) - names == {"README.txt", "about.json"}
        assert {name[: len(f"attention-{mark}-word-000")] for name in names} == {
            f"attention-{mark}-word-{number:03d}" for number in range(len(WORDS))
        }


@pytest.mark.parametrize(
    ("word", "ending"),
    [
        ("heart", "-heart"),
        (" blue-green ", "-blue-green"),
        ("../../etc/passwd", "-etc-passwd"),
        ("a\\b:c*?", "-a-b-c"),
        ("\x00\n", ""),
        ("...", ""),
        ("ﬁsh", "-fish"),
        ("猫", "-猫"),
        ("x" * 200, "-" + "x" * 40),
    ],
)
def test_in_an_archive_names_end_with_the_letters_of_their_word(word: str, ending: str) -> None:
    assert spelled(word) == ending


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
