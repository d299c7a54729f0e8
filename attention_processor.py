"""From a `Capture` to maps: choose tokens, layers and heads, and fold them into one array (h, w).

Goes in: a `Capture`. Comes out: numpy arrays, un-normalised, and the answer's words with the tokens that
spell them. Knows nothing of models, pictures or pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import regex

if TYPE_CHECKING:
    from torch import Tensor

    from attention_extractor import Capture, Span

Aggregation = Literal["mean", "max", "min"]
Positions = int | Sequence[int]

# --- Maps --------------------------------------------------------------------------------------------------


class AttentionProcessor:
    """Maps, shares and words of one capture. Every array is float32 and a new one."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture

    def get_attention_heatmap_for_token(
        self,
        token_position: Positions,
        layer_indices: Sequence[int] | None = None,
        head_indices: Sequence[int] | None = None,
        aggregation: Aggregation = "mean",
    ) -> np.ndarray:
        """Return the attention map (h, w) of a generated token: shares of attention, 0..1, un-normalised.

        The aggregation folds all chosen layers and heads at once; None chooses all that were recorded. For
        several tokens (a word, the whole answer) it is the mean of their maps. Layers are decoder layer
        numbers. Negative tokens, layers and heads count from the last.

        Raises:
            ValueError: for a token or head beyond the capture, a layer beyond the model or not recorded, no
            choice
                at all, or an unknown aggregation.
        """
        return self._map(
            self.capture.attention, "token", token_position, layer_indices, head_indices, aggregation
        )

    def get_attention_heatmap_for_prompt_token(
        self,
        token_position: Positions,
        layer_indices: Sequence[int] | None = None,
        head_indices: Sequence[int] | None = None,
        aggregation: Aggregation = "mean",
    ) -> np.ndarray:
        """Return the attention map (h, w) of a token of the prompt; otherwise as for a generated token."""
        return self._map(
            self.capture.prompt_attention,
            "prompt token",
            token_position,
            layer_indices,
            head_indices,
            aggregation,
        )

    def shares(
        self,
        token_position: Positions,
        layer_indices: Sequence[int] | None = None,
        head_indices: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Return where a generated token's attention went (3,): image, rest of the prompt, answer so far.

        The mean over tokens, layers and heads; sums to 1.
        """
        tokens = chosen_indices(token_position, len(self.capture.token_ids), "token")
        return self._mean_shares(self.capture.shares, tokens, layer_indices, head_indices)

    def prompt_shares(
        self,
        token_position: Positions,
        layer_indices: Sequence[int] | None = None,
        head_indices: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Return where a prompt token's attention went (3,): image, rest of the prompt, answer (0)."""
        tokens = chosen_indices(token_position, len(self.capture.prompt_token_ids), "prompt token")
        return self._mean_shares(self.capture.prompt_shares, tokens, layer_indices, head_indices)

    def layer_shares(
        self, token_position: Positions, head_indices: Sequence[int] | None = None
    ) -> np.ndarray:
        """Return where a token's attention went in each recorded layer (layer, 3); otherwise as `shares`."""
        tokens = chosen_indices(token_position, len(self.capture.token_ids), "token")
        return np.stack(
            [
                self._mean_shares(self.capture.shares, tokens, [layer], head_indices)
                for layer in self.capture.layers
            ]
        )

    def text_attention(
        self, token_position: Positions, layer_indices: Sequence[int] | None = None
    ) -> np.ndarray:
        """Return how much a token leaned on each token of text (text,): context first, then the answer's.

        The mean over tokens, layers and all heads; with the share on the image it sums to 1.
        """
        tokens = chosen_indices(token_position, len(self.capture.token_ids), "token")
        chosen = np.ix_(tokens, self.recorded(layer_indices))
        return self.capture.text_attention.cpu().numpy()[chosen].mean(axis=(0, 1))

    def words(self) -> list[Word]:
        """Return the words of the answer, in order."""
        return grouped_words(self.capture.text, self.capture.token_spans, self.capture.tokens)

    def prompt_words(self) -> list[Word]:
        """Return the words of the prompt, in order."""
        return grouped_words(self.capture.prompt, self.capture.prompt_token_spans, self.capture.prompt_tokens)

    def _map(
        self,
        attention: Tensor,
        name: str,
        token_position: Positions,
        layer_indices: Sequence[int] | None,
        head_indices: Sequence[int] | None,
        aggregation: Aggregation,
    ) -> np.ndarray:
        fold = fold_of(aggregation)
        tokens = chosen_indices(token_position, len(attention), name)
        layers, heads = self.recorded(layer_indices), self.heads(head_indices)
        total = np.zeros(attention.shape[-1], dtype=np.float32)  # (patch,)
        for token in tokens:
            rows = attention[token].float().cpu().numpy()[np.ix_(layers, heads)]  # (layer, head, patch)
            total += fold(rows, axis=(0, 1))
        return (total / len(tokens)).reshape(self.capture.grid)

    def _mean_shares(
        self,
        shares: Tensor,
        tokens: list[int],
        layer_indices: Sequence[int] | None,
        head_indices: Sequence[int] | None,
    ) -> np.ndarray:
        chosen = np.ix_(tokens, self.recorded(layer_indices), self.heads(head_indices))
        return shares.cpu().numpy()[chosen].mean(axis=(0, 1, 2))

    def recorded(self, layer_indices: Sequence[int] | None) -> list[int]:
        """Return the index in the capture of each decoder layer asked for; None asks for all.

        Raises:
            ValueError: for a layer beyond the model, or one that was not recorded.
        """
        recorded, count = self.capture.layers, self.capture.layer_count
        if layer_indices is None:
            return list(range(len(recorded)))
        numbers = chosen_indices(layer_indices, count, "layer")
        missing = [number for number in numbers if number not in recorded]
        if missing:
            raise ValueError(
                f"layer {missing[0]} was not recorded; recorded are {', '.join(map(str, recorded))}"
            )
        return [recorded.index(number) for number in numbers]

    def heads(self, head_indices: Sequence[int] | None) -> list[int]:
        """Return the heads asked for, none of them negative; None asks for all."""
        count = self.capture.prompt_attention.shape[2]
        return list(range(count)) if head_indices is None else chosen_indices(head_indices, count, "head")


def fold_of(aggregation: Aggregation) -> Callable[..., np.ndarray]:
    """Return the numpy function that folds axes; ValueError for an unknown aggregation."""
    folds: dict[str, Callable[..., np.ndarray]] = {"mean": np.mean, "max": np.max, "min": np.min}
    if aggregation not in folds:
        raise ValueError(
            f"aggregation must be one of {', '.join(get_args(Aggregation))}; got {aggregation!r}"
        )
    return folds[aggregation]


def chosen_indices(indices: Positions, count: int, name: str) -> list[int]:
    """Return the indices as a list, negative ones counted from the last.

    Raises:
        ValueError: for none, or one beyond `count`; the message names the count.
    """
    listed = list(indices) if isinstance(indices, Iterable) else [indices]
    if not listed:
        raise ValueError(f"choose at least one {name}")
    for index in listed:
        if isinstance(index, (bool, np.bool_)) or not isinstance(index, (int, np.integer)):
            raise ValueError(f"a {name} must be a whole number; got {index!r}")
        if not -count <= index < count:
            allowed = f"0 to {count - 1}" if count else "none"
            raise ValueError(f"there is no {name} {index}: there are {count} ({allowed})")
    return [int(index) % count for index in listed]


# --- Words -------------------------------------------------------------------------------------------------


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
        touching = (token for token in range(first, last) if spans[token][0] < spans[token][1])
        yield _Unit(str(match.lastgroup), start, end, tuple(touching))
