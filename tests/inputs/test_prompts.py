"""Any prompt and any given answer: read as it is written, or refused in one clear line."""

import unicodedata
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import config
from model import encode
from model.given_answer import answer_ids
from page.inputs import asked, given_answer
from records.targets import Words, target_choice
from tests.inputs.kit import TIMES, refusal_of
from tests.inputs.pictures import scene
from tests.inputs.tally import Tally
from tests.inputs.values import ADDED, EMPTY, LONE, LONG, ODD, anything, texts
from tests.tiny import SPECIAL_TOKENS, tiny_model

LAYOUT = {*SPECIAL_TOKENS[:3], *(token for token in SPECIAL_TOKENS if "vision" in token or "_pad" in token)}
READ = "What is <|im|> here?"
FIXED = (*ODD, *LONE, *EMPTY, *ADDED, *(f"a {token} b" for token in ADDED), *(token[:-1] for token in ADDED))
LONGEST = (
    *("x" * LONG, "😀" * LONG, "\0" * LONG, " " * LONG, "\ud800" * LONG, "<|image_pad|>" * LONG),
    *("é" * 4000, "😀" * 4000, "e\u0301" * 2000, "<tool_call>" * 300, "a " * 2000 + "a"),
)


@pytest.fixture(scope="module")
def small() -> tuple[Any, Any]:
    return tiny_model(vocabulary="bytes")


@pytest.fixture(scope="module", params=["bytes", "real"])
def read_by(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    return tiny_model(vocabulary=request.param)


def picture() -> Image.Image:
    return Image.fromarray(scene()).resize((84, 56))


def template_of(encoded: Any) -> list[int]:
    """Return the tokens around a prompt."""
    is_prompt = set(encoded.prompt_positions.tolist())
    return [token for at, token in enumerate(encoded.input_ids.tolist()) if at not in is_prompt]


def expect_read(read_by: tuple[Any, Any], plain: Any, prompt: str, tally: Tally) -> None:
    """Compare the tokens of an accepted prompt with its text, and all others with those of another prompt."""
    found: list[Any] = []
    line = refusal_of(ValueError, lambda: found.append(encode(*read_by, picture(), prompt)))
    hidden = any("\ud800" <= c <= "\udfff" for c in prompt)
    fits = bool(prompt.strip()) and len(prompt) <= config.MAX_PROMPT_CHARACTERS and not hidden
    allowed = fits and not any(token in prompt for token in LAYOUT)
    assert (line is None) == allowed, (line, prompt[:60])
    if line is not None:
        tally.refused("prompts")
        return
    encoded, tokenizer = found[0], read_by[1].tokenizer
    ids = encoded.input_ids[encoded.prompt_positions]
    text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert text == unicodedata.normalize("NFC", prompt)
    assert template_of(encoded) == template_of(plain)
    assert encoded.image_positions.tolist() == plain.image_positions.tolist()
    tally.right("prompts")


def test_every_odd_text_and_every_added_token(read_by: tuple[Any, Any], tally: Tally) -> None:
    plain = encode(*read_by, picture(), READ)
    for prompt in (*FIXED, *LONGEST):
        expect_read(read_by, plain, prompt, tally)


@settings(max_examples=150 * TIMES)
@given(texts)
def test_any_text_is_read_as_it_is_written(read_by: tuple[Any, Any], tally: Tally, prompt: str) -> None:
    expect_read(read_by, encode(*read_by, picture(), READ), prompt, tally)


@settings(max_examples=150 * TIMES)
@given(anything)
@example("\ud800")
def test_the_page_takes_a_question_or_says_why_not(tally: Tally, prompt: Any) -> None:
    if refusal_of(ValueError, asked, prompt) is None:
        assert asked(prompt) == prompt.strip()
        prompt.encode()
        tally.right("questions of the page")
    else:
        tally.refused("questions of the page")


@settings(max_examples=150 * TIMES)
@given(anything)
def test_the_page_takes_an_answer_or_says_why_not(tally: Tally, answer: Any) -> None:
    if refusal_of(ValueError, given_answer, answer) is None:
        assert given_answer(answer) in (answer, None)
        tally.right("given answers")
    else:
        tally.refused("given answers")


@settings(max_examples=60 * TIMES)
@given(st.one_of(texts, st.lists(st.integers(-5, 160_000), max_size=5), anything))
def test_an_answer_from_elsewhere_is_read_or_refused(
    small: tuple[Any, Any], tally: Tally, answer: Any
) -> None:
    model, processor = small
    encoded = encode(model, processor, picture(), READ)
    found: list[tuple[int, ...]] = []
    line = refusal_of(
        ValueError, lambda: found.append(answer_ids(model, processor, encoded.prompt_length, answer))
    )
    if line is not None:
        tally.refused("given answers")
        return
    if isinstance(answer, str):
        assert processor.tokenizer.decode(found[0]) == unicodedata.normalize("NFC", answer)
    else:
        assert found[0] == tuple(answer)[: len(found[0])]
    tally.right("given answers")


@settings(max_examples=150 * TIMES)
@given(texts)
@example("\ud800")
@example("x" * LONG)
def test_a_text_to_explain_has_tokens_or_is_refused(small: tuple[Any, Any], tally: Tally, text: str) -> None:
    words = Words(small[1].tokenizer)
    if refusal_of(ValueError, words.ids, text) is None:
        assert words.tokenizer.decode(words.ids(text)) == unicodedata.normalize("NFC", text)
        tally.right("texts to explain")
    else:
        tally.refused("texts to explain")
    for typed in (f"text:{text}", f"contrast:{text}/b", text):
        refused = refusal_of(ValueError, target_choice, typed) is not None
        (tally.refused if refused else tally.right)("targets as they are typed")
