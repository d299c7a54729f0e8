"""What is measured on: pictures with a prompt, and what is known of the things that an answer may name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attention_processor import AttentionProcessor
from records.capture import Capture
from records.words import Word

Tokens = tuple[int, ...]

# English words that name nothing. The kinds are those that the TAM paper's code takes for function words:
# determiners, conjunctions, pronouns, modal and question words; not prepositions and numbers.
_FUNCTION_WORDS = """
a an the this that these those each every either neither another some any no all both
and or but nor yet
i you he she it we they me him her us them my your his its our their mine yours hers ours theirs
there can could may might must shall should will would
which who whom whose what whatever when where why how
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


@dataclass(frozen=True, eq=False)
class JudgedWord:
    """A word of an answer, the tokens that spell it, and where what it names is."""

    tokens: Tokens
    mask: NDArray[np.bool_]  # (H, W) of the picture's pixels
    kind: str = "word"


@dataclass(frozen=True, eq=False)
class Judged:
    """The words of one answer that maps are judged on."""

    words: tuple[JudgedWord, ...] = ()
    functions: tuple[Tokens, ...] = ()  # function words
    skipped: Mapping[str, int] = field(default_factory=dict)  # why words were left out: how many


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture, a prompt, and what is known of the picture."""

    group: str  # of a picture: intervals are over groups, as words of one picture are not independent
    image: Image.Image
    prompt: str
    judge: Callable[[Capture], Judged]


def function_words(capture: Capture) -> tuple[Tokens, ...]:
    """Return the tokens of each function word of the answer."""
    return tuple(w.tokens for w in AttentionProcessor(capture).words() if w.text.lower() in FUNCTION_WORDS)


IRREGULAR = {
    "person": ("people", "persons"),
    "man": ("men",),
    "woman": ("women",),
    "child": ("children",),
    "mouse": ("mice", "mouses"),
    "goose": ("geese",),
    "foot": ("feet",),
    "tooth": ("teeth",),
    "sheep": ("sheep",),
    "fish": ("fish", "fishes"),
}


def forms(name: str) -> set[tuple[str, ...]]:
    """Return the words of a category's name, and of its plurals: the last word's."""
    *first, last = name.lower().split()
    plurals = set(IRREGULAR.get(last, ())) or {f"{last}s"}
    if last.endswith(("s", "x", "ch", "sh", "z", "o")):
        plurals.add(f"{last}es")
    if last.endswith("y") and last[-2:-1] not in "aeiou":
        plurals.add(f"{last[:-1]}ies")
    if last.endswith("f"):
        plurals.add(f"{last[:-1]}ves")
    if last.endswith("fe"):
        plurals.add(f"{last[:-2]}ves")
    return {(*first, form) for form in {last, *plurals}}


def named(words: Sequence[Word], names: Iterable[str]) -> list[tuple[str, Tokens]]:
    """Return the names that the words say, in order, each with its tokens.

    A name of several words must stand there whole; of two that begin at one word the longer counts ("hot dog"
    is no dog).
    """
    spelling = {form: name for name in names for form in forms(name)}
    longest = max(map(len, spelling), default=0)
    said = [word.text.lower() for word in words]
    found, place = [], 0
    while place < len(said):
        for length in range(longest, 0, -1):
            name = spelling.get(tuple(said[place : place + length]))
            if name is not None:
                tokens = {token for word in words[place : place + length] for token in word.tokens}
                found.append((name, tuple(sorted(tokens))))
                place += length
                break
        else:
            place += 1
    return found
