"""What of an answer is explained, token by token: closed cases, with the real vocabulary's boundaries."""

from typing import Any

import pytest

from records.targets import (
    Contrast,
    Explained,
    Target,
    Term,
    Text,
    Words,
    explanation,
    needs_answer,
    token_explanations,
)
from tests.tiny import tiny_tokenizer

SAID = "A red circle, not a red box 鑫."  # the last word is a character of two tokens


@pytest.fixture(scope="module")
def words() -> Words:
    return Words(tiny_tokenizer("real"))


@pytest.fixture(scope="module")
def answer(words: Words) -> tuple[int, ...]:
    ids = words.ids(SAID)
    pieces = ["A", " red", " circle", ",", " not", " a", " red", " box"]
    assert [words.vocabulary.shown(token) for token in ids[:8]] == pieces
    assert len(ids) > 10
    return ids


def terms(explained: Explained) -> tuple[Term, ...]:
    (score,) = explained.scores
    return score.terms


def test_the_whole_answer_and_its_tokens(words: Words, answer: tuple[int, ...]) -> None:
    every = tuple(Term(place, token, 1) for place, token in enumerate(answer))
    cases: list[tuple[Target, tuple[Term, ...], str]] = [
        (None, every, "the whole answer"),
        (1, every[1:2], "token 1 “ red”"),
        (-len(answer), every[:1], "token 0 “A”"),
        (range(1, 3), every[1:3], "tokens 1, 2 “ red circle”"),
        ([2, 1, 2, 1 - len(answer)], every[1:3], "tokens 1, 2 “ red circle”"),
    ]
    for target, expected, name in cases:
        found = explanation(words, target, answer)
        assert (terms(found), found.token_ids, found.scores[0].name) == (expected, answer, name)
        assert found.scores[0].tokens == tuple(term.place for term in expected)


def test_each_token_alone(words: Words, answer: tuple[int, ...]) -> None:
    found = token_explanations(words, None, answer)
    assert [score.terms for score in found.scores] == [(Term(i, token),) for i, token in enumerate(answer)]
    assert [score.tokens for score in token_explanations(words, [-1, 2], answer).scores] == [
        (2,),
        (len(answer) - 1,),
    ]
    broken = found.scores[answer.index(words.ids(" 鑫")[-1])].name  # half a character is named by its bytes
    assert broken.endswith("⟩”")


def test_a_text_of_ones_own(words: Words, answer: tuple[int, ...]) -> None:
    own = words.ids("blue square")
    found = explanation(words, Text("blue square"), answer)
    assert found.token_ids == own
    assert terms(found) == tuple(Term(place, token) for place, token in enumerate(own))
    assert found.scores[0].name == "“blue square” as the answer"
    for text in ("blue square", " blue square"):  # where the answer has a space, there is one
        after = explanation(words, Text(text, at=1), answer)
        spaced = words.ids(" blue square")
        assert after.token_ids == (answer[0], *spaced)
        assert terms(after) == tuple(Term(1 + place, token) for place, token in enumerate(spaced))
        assert after.scores[0].tokens == (1, 2)
    comma = explanation(words, Text("blue", at=3), answer)
    assert comma.token_ids == (*answer[:3], *words.ids("blue"))
    end = explanation(words, Text(" Yes", at=len(answer)), answer)
    assert end.token_ids == (*answer, *words.ids(" Yes"))


def test_one_word_rather_than_another(words: Words, answer: tuple[int, ...]) -> None:
    (red,), (blue,) = words.ids(" red"), words.ids(" blue")
    found = explanation(words, Contrast("red", "blue", at=6), answer)
    assert terms(found) == (Term(6, red, 1), Term(6, blue, -1))
    assert (found.token_ids, found.scores[0].tokens) == (answer, (6,))
    assert found.scores[0].name == "“red” rather than “blue” at token 6"
    other = explanation(words, Contrast(blue, red, at=6), answer)
    assert terms(other) == (Term(6, blue, 1), Term(6, red, -1))
    assert other.token_ids == (*answer[:6], blue)
    found = explanation(words, Contrast("circle", "square"), answer)
    assert terms(found) == (Term(2, words.ids(" circle")[0]), Term(2, words.ids(" square")[0], -1))
    at_once = explanation(words, Contrast("Yes", "No", at=0), ())
    assert terms(at_once) == (Term(0, words.ids("Yes")[0]), Term(0, words.ids("No")[0], -1))


def test_words_that_begin_with_the_same_token_are_compared_after_it(
    words: Words, answer: tuple[int, ...]
) -> None:
    text = ("red box today", "red box tomorrow")
    found = explanation(words, Contrast(*text, at=6), answer)
    today, tomorrow = (words.ids(" " + one) for one in text)
    assert terms(found) == (Term(8, today[2]), Term(8, tomorrow[2], -1))
    assert found.token_ids == (*answer[:6], *today)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (99, r"there is no token 99: the answer has \d+ tokens, 0 to \d+"),
        ([True], "a token must be a whole number; got True"),
        ([1.5], r"a token must be a whole number; got 1\.5"),
        ([], "choose at least one token to explain"),
        (Text(" \n"), "the text to explain is empty"),
        (Text("a <|image_pad|>"), r"may not contain the control token <\|image_pad\|>"),
        (Text("a", at=99), r"a position in the answer of \d+ tokens must be 0 to \d+; got 99"),
        (Text("a", at=-1), r"must be 0 to \d+; got -1"),
        (Contrast("red", "blue"), r"the answer says 'red' 2 times \(at tokens 1, 6\): name the position"),
        (Contrast("green", "blue"), "the answer does not say 'green': name the position"),
        (Contrast("red", "red box", 1), "'red' and 'red box' cannot be contrasted: one begins with all"),
        (Contrast("red", "red", 1), "cannot be contrasted"),
        (Contrast(5, 10**7, 1), "there is no token id 10000000 in a vocabulary"),
    ],
)
def test_refusals(words: Words, answer: tuple[int, ...], target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        explanation(words, target, answer)


def test_only_a_target_at_the_start_needs_no_answer() -> None:
    without: list[Target] = [Text("a"), Contrast("a", "b", at=0)]
    needing: list[Target] = [None, 0, [1], Text("a", at=1), Contrast("a", "b"), Contrast("a", "b", at=3)]
    assert not any(map(needs_answer, without))
    assert all(map(needs_answer, needing))


def test_an_empty_answer(words: Words) -> None:
    for target in (None, 0):
        with pytest.raises(ValueError, match="the model gave an empty answer: there is nothing to explain"):
            explanation(words, target, ())
