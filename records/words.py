"""Words of a text, in any script, and the tokens that spell them.

Goes in: a text and its tokens' spans. Comes out: `Word`s. Knows nothing of captures and models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import regex

from records.tokens import Span


@dataclass(frozen=True)
class Word:
    """A word of the text and the tokens that spell it.

    `text` is `whole_text[start:end]`, without the space before it. A token that carries only white space is a
    word of white space; a special token is a word with its name as text and an empty span.
    """

    text: str
    tokens: tuple[int, ...]
    start: int
    end: int


# Scripts written without spaces: each of their characters, with the marks on it, stands for itself.
_SCRIPTS = r"\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_UNSPACED = rf"[[{_SCRIPTS}]&&[\p{{L}}\p{{N}}]&&\P{{Nd}}]"
_LETTERS = rf"[[\p{{L}}\p{{N}}\p{{M}}_]--{_UNSPACED}]+"
_UNIT = regex.compile(
    rf"""
    (?P<space>\s+)
    | (?P<thought></?think>)                                 # around thoughts, one token or several
    | (?P<broken>⟨[0-9A-F]{{2}}(?:\ [0-9A-F]{{2}})*⟩)          # bytes that are no character
    | (?P<unspaced>{_UNSPACED}\p{{M}}*)
    | (?P<word>{_LETTERS}(?:(?:['’\-‐\u00ad\u200c\u200d]|(?<=\p{{Nd}})[.,:](?=\p{{Nd}})){_LETTERS})*)
    | (?P<mark>\X)                                           # punctuation, symbols, whole emoji
    """,
    regex.VERBOSE | regex.VERSION1,
)
_JOINED_BY_TOKENS = ("unspaced", "mark")


@dataclass(frozen=True)
class _Unit:
    """A piece of text that is never divided, with the tokens that touch it."""

    kind: str
    start: int
    end: int
    tokens: tuple[int, ...]


def grouped_words(text: str, spans: Sequence[Span], shown: Sequence[str]) -> list[Word]:
    """Return the words of a text, in order; each token belongs to at least one.

    `spans` are the tokens' spans in the text, `shown` their display texts. A word is a run of letters and
    digits, with apostrophes and hyphens inside it; punctuation is a word of its own. In scripts without
    spaces, and for emoji, it is the fewest characters that whole tokens spell. The words' texts, with white
    space between, make the text.
    """
    words: list[_Unit] = []
    spaces: list[_Unit] = []
    for unit in _units(text, spans):
        if unit.kind == "space":
            spaces.append(unit)
        elif words and _one_word(words[-1], unit):
            tokens = tuple(sorted({*words[-1].tokens, *unit.tokens}))
            words[-1] = _Unit(unit.kind, words[-1].start, unit.end, tokens)
        else:
            words.append(unit)
    taken = {token for word in words for token in word.tokens}
    found = [Word(text[word.start : word.end], word.tokens, word.start, word.end) for word in words]
    for space in spaces:
        left = tuple(token for token in space.tokens if token not in taken)
        if left:
            start, end = max(space.start, spans[left[0]][0]), min(space.end, spans[left[-1]][1])
            found.append(Word(text[start:end], left, start, end))
    for token, (start, end) in enumerate(spans):
        if start == end:
            found.append(Word(shown[token], (token,), start, end))
    return sorted(found, key=lambda word: (word.tokens[0], word.start, word.end))


def _one_word(left: _Unit, right: _Unit) -> bool:
    """Return whether two neighbours cannot be told apart, because a token spells part of both."""
    return (
        left.kind == right.kind
        and left.kind in _JOINED_BY_TOKENS
        and left.end == right.start
        and not set(left.tokens).isdisjoint(right.tokens)
    )


def _units(text: str, spans: Sequence[Span]) -> Iterator[_Unit]:
    """Yield the units of the text in order, each with the tokens whose spans overlap it."""
    first = 0
    for match in _UNIT.finditer(text):
        start, end = match.span()
        while first < len(spans) and spans[first][1] <= start:
            first += 1
        last = first
        while last < len(spans) and spans[last][0] < end:
            last += 1
        touching = tuple(token for token in range(first, last) if spans[token][0] < spans[token][1])
        if touching:  # a prompt's <image> is no token of its text
            yield _Unit(str(match.lastgroup), start, end, touching)
