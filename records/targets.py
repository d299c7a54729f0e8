"""What of an answer is explained: all of it, some tokens, a text of one's own, or one word against another.

Goes in: the token ids of an answer and a `Target`, or what a person typed for one. Comes out: `Explained`,
the answer that the model is made to read and scores that are sums of its logits. Knows nothing of models,
pictures or pages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import config
from records.tokens import Vocabulary, spelled
from utils import HALF, is_broken, ranges_of, shown


@dataclass(frozen=True)
class Text:
    """A text of one's own: its score is the sum of its tokens' logits, each predicted after those before it.

    With `at` 0 it is the answer, in place of the model's. Otherwise it stands after the first `at` tokens of
    the model's answer; a space is put before it if the token that it replaces begins with one.
    """

    text: str
    at: int = 0


@dataclass(frozen=True)
class Contrast:
    """Why `a` rather than `b`: the score is logit(a) - logit(b) at one position of the answer.

    Both are texts, or token ids. They are compared at their first tokens, or, where these are the same, after
    them at the first that differ. `at` is the position in the answer (a token); None: where the answer says
    `a`, which it must do exactly once. Spaces as for `Text`.
    """

    a: str | int
    b: str | int
    at: int | None = None


Target = int | Sequence[int] | Text | Contrast | None  # None: the whole answer; numbers: tokens of it


class Term(NamedTuple):
    """One logit of a score: of which token, where it is the `place`-th token of the answer, and its sign."""

    place: int
    token_id: int
    sign: int = 1


@dataclass(frozen=True)
class Score:
    """A sum of logits."""

    terms: tuple[Term, ...]
    name: str

    @property
    def tokens(self) -> tuple[int, ...]:
        """The tokens of the answer that it speaks of, ascending."""
        return tuple(sorted({term.place for term in self.terms}))


@dataclass(frozen=True)
class Explained:
    """An answer that is put into the model's mouth, and scores of it."""

    token_ids: tuple[int, ...]
    scores: tuple[Score, ...]


class Words:
    """What is needed of a tokenizer: token ids of a text, texts of token ids."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.vocabulary = tokenizer, Vocabulary(tokenizer)

    def ids(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text; ValueError for none, too many, control tokens and half characters."""
        if not isinstance(text, str) or not text.strip():
            raise ValueError("the text to explain is empty")
        if len(text) > (limit := config.MAX_PROMPT_CHARACTERS):
            raise ValueError(
                f"the text to explain has {len(text):,} characters; at most {limit:,} are allowed"
            )
        if is_broken(text):
            raise ValueError(f"the text to explain {HALF}")
        ids = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        control = self.tokenizer.added_tokens_decoder
        for token in ids:
            if token in control:
                raise ValueError(
                    f"the text to explain may not contain the control token {control[token].content}"
                )
        return ids

    def ids_at(self, said: str | int, answer: Sequence[int], at: int) -> tuple[int, ...]:
        """Return the tokens of a text that stands in the answer from token `at` on; a token id as it is."""
        if not isinstance(said, str):
            if isinstance(said, bool) or not 0 <= said < len(self.tokenizer):
                raise ValueError(
                    f"there is no token id {shown(said)} in a vocabulary of {len(self.tokenizer)}"
                )
            return (said,)
        spaced = 0 < at < len(answer) and self.vocabulary.piece(answer[at]).startswith(b" ")
        return self.ids(f" {said}" if spaced and said[:1].strip() else said)

    def name(self, token: int) -> str:
        """Return a token's display text in quotes."""
        return f"“{self.vocabulary.shown(token)}”"


def explanation(words: Words, target: Target, answer: tuple[int, ...]) -> Explained:
    """Return the answer and the one score that the target means."""
    if isinstance(target, Text):
        return _of_text(words, target, answer)
    if isinstance(target, Contrast):
        return _of_contrast(words, target, answer)
    tokens = _token_numbers(target, len(answer))
    name = "the whole answer" if target is None else _tokens_name(words, tokens, answer)
    return Explained(answer, (Score(tuple(Term(token, answer[token]) for token in tokens), name),))


def token_explanations(words: Words, tokens: Target, answer: tuple[int, ...]) -> Explained:
    """Return the answer and a score for each of the tokens."""
    scores = (
        Score((Term(token, answer[token]),), _tokens_name(words, (token,), answer))
        for token in _token_numbers(tokens, len(answer))
    )
    return Explained(answer, tuple(scores))


def _tokens_name(words: Words, tokens: Sequence[int], answer: Sequence[int]) -> str:
    said, _ = spelled([words.vocabulary.piece(answer[token]) for token in tokens])
    shown = f"“{said}”" if said else words.name(answer[tokens[0]])
    return f"token{'s' * (len(tokens) > 1)} {', '.join(map(str, tokens))} {shown}"


def _token_numbers(tokens: Any, count: int) -> tuple[int, ...]:
    """Return tokens of an answer, ascending and each once; None is all of them.

    Raises:
        ValueError: for none, or one beyond the answer; the message names the answer's length.
    """
    if count == 0:
        raise ValueError("the model gave an empty answer: there is nothing to explain")
    if tokens is None:
        return tuple(range(count))
    listed = [tokens] if isinstance(tokens, (int, np.integer)) else list(tokens)
    if not listed:
        raise ValueError("choose at least one token to explain")
    for token in listed:
        if isinstance(token, bool) or not isinstance(token, (int, np.integer)):
            raise ValueError(f"a token must be a whole number; got {shown(token)}")
        if not -count <= token < count:
            raise ValueError(f"there is no token {token}: the answer has {count} tokens, 0 to {count - 1}")
    return tuple(sorted({int(token) % count for token in listed}))


def _of_text(words: Words, target: Text, answer: tuple[int, ...]) -> Explained:
    _check_place(target.at, len(answer))
    ids = words.ids_at(target.text, answer, target.at)
    where = f"after {target.at} tokens of the answer" if target.at else "as the answer"
    terms = tuple(Term(target.at + index, token) for index, token in enumerate(ids))
    score = Score(terms, f"“{target.text}” {where}")
    return Explained((*answer[: target.at], *ids), (score,))


def _of_contrast(words: Words, target: Contrast, answer: tuple[int, ...]) -> Explained:
    at = _place_said(words, target.a, answer) if target.at is None else target.at
    _check_place(at, len(answer))
    a, b = (words.ids_at(said, answer, at) for said in (target.a, target.b))
    same = next((i for i, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), None)
    if same is None:
        raise ValueError(
            f"{shown(target.a)} and {shown(target.b)} cannot be contrasted: one begins with all of the other"
        )
    place = at + same
    said = answer if answer[at : at + len(a)] == a else (*answer[:at], *a)
    names = [f"“{s}”" if isinstance(s, str) else words.name(s) for s in (target.a, target.b)]
    terms = (Term(place, a[same]), Term(place, b[same], -1))
    return Explained(said, (Score(terms, f"{names[0]} rather than {names[1]} at token {place}"),))


def _place_said(words: Words, said: str | int, answer: tuple[int, ...]) -> int:
    """Return the token of the answer at which it says this; ValueError unless it does exactly once."""
    places = []
    for at in range(len(answer)):
        ids = words.ids_at(said, answer, at)
        if answer[at : at + len(ids)] == ids:
            places.append(at)
    if len(places) != 1:
        found = f"says {shown(said)} {len(places)} times" if places else f"does not say {shown(said)}"
        listed = f" (at tokens {', '.join(map(str, places))})" if places else ""
        raise ValueError(f"the answer {found}{listed}: name the position where the two are to be compared")
    return places[0]


def _check_place(at: int, count: int) -> None:
    if isinstance(at, bool) or not isinstance(at, (int, np.integer)) or not 0 <= at <= count:
        raise ValueError(f"a position in the answer of {count} tokens must be 0 to {count}; got {shown(at)}")


def needs_answer(target: Target) -> bool:
    """Return whether the model's own answer is part of what is explained."""
    return not (isinstance(target, (Text, Contrast)) and target.at == 0)


# --- As a person types it -----------------------------------------------------------------------------------


class Chosen(NamedTuple):
    """What is to be explained: its kind, and what stands after it."""

    kind: str  # "all", "answer", "tokens", "word", "text" or "contrast"
    value: Any = None  # None, ranges such as "2-5,7", the word's number, the text, or the two words


def target_choice(text: str) -> Chosen:
    """Return what is to be explained.

    Raises:
        ValueError: one line, for anything else.
    """
    kind, _, rest = text.partition(":")
    if text in ("all", "answer"):
        return Chosen(text)
    if kind == "word" and re.fullmatch(r"\d{1,9}", rest):
        return Chosen("word", int(rest))
    if kind == "text" and rest.strip():
        return Chosen("text", rest)
    if kind == "contrast" and re.fullmatch(r"[^/]*[^/\s][^/]*/[^/]*[^/\s][^/]*", rest):
        return Chosen("contrast", tuple(rest.split("/")))
    with suppress(ValueError):
        if min(min(ends) for ends in ranges_of(text)) >= 0:
            return Chosen("tokens", text)
    wanted = "all, answer, tokens such as 3, 2-5 or 1,4, word:2, text:a red boat, or contrast:red/blue"
    raise ValueError(f"{shown(text)} is not {wanted}")
