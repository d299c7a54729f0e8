"""What several tests here share."""

from typing import Any

import numpy as np
import torch

from records.capture import Capture
from records.tokens import spelled
from records.visuals import picture_visual
from records.words import Word, grouped_words
from tests.numerics import assert_same

LAYERS, RECORDED, HEADS, TOKENS, PROMPT_TOKENS, GRID = 6, (0, 2, 5), 2, 11, 4, (5, 7)
ANSWER = ("The", " red", " cat", " and", " the", " blue", " cat", "'s", " hat", ".", "\n")
ASKED = ("Who", " is", " there", "?")
CONTEXT = ("<|im_start|>", "user", *ASKED, "<|im_end|>", "\n")


def rows(count: int, seed: int, patches: int = GRID[0] * GRID[1]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random attention (token, layer, head, patch) and shares that belong together."""
    weights = np.random.default_rng(seed).exponential(size=(count, len(RECORDED), HEADS, patches + 2)) ** 2
    weights /= weights.sum(-1, keepdims=True)
    attention = torch.tensor(weights[..., :patches], dtype=torch.float32)
    return attention, torch.cat(
        [attention.sum(-1, keepdim=True), torch.tensor(weights[..., patches:])], -1
    ).float()


def text_rows(shares: torch.Tensor, context: int) -> torch.Tensor:
    """Return attention to text (token, layer, text) that belongs to the shares, nothing on later tokens."""
    tokens, layers = shares.shape[:2]
    weights = torch.rand(tokens, layers, context + tokens, generator=torch.manual_seed(2))
    for token in range(tokens):
        weights[token, :, context + token :] = 0
    return weights / weights.sum(-1, keepdim=True) * shares[..., 1:].sum(-1).mean(2)[..., None]


def made_capture(**changed: Any) -> Capture:
    """Return a capture about one picture; its grid, image_size and image_hash can be changed by name."""
    (attention, shares), (prompt_attention, prompt_shares) = rows(TOKENS, 0), rows(PROMPT_TOKENS, 1)
    text, spans = spelled([token.encode() for token in ANSWER])
    prompt, prompt_spans = spelled([token.encode() for token in ASKED])
    parts: dict[str, Any] = {
        "token_ids": tuple(range(TOKENS)),
        "tokens": ANSWER,
        "text": text,
        "attention": attention,
        "layers": RECORDED,
        "layer_count": LAYERS,
        "shares": shares,
        "logprobs": -torch.rand(TOKENS),
        "token_spans": spans,
        "prompt": prompt,
        "prompt_token_ids": tuple(range(PROMPT_TOKENS)),
        "prompt_tokens": ASKED,
        "prompt_token_spans": prompt_spans,
        "prompt_attention": prompt_attention,
        "prompt_shares": prompt_shares,
        "prompt_length": GRID[0] * GRID[1] + len(CONTEXT),
        "context_tokens": CONTEXT,
        "prompt_places": tuple(range(2, 2 + PROMPT_TOKENS)),
        "model_name": "made",
    }
    of_picture: dict[str, Any] = {"grid": GRID, "image_size": (140, 196), "image_hash": "0" * 64}
    of_picture |= {name: changed.pop(name) for name in tuple(of_picture) if name in changed}
    parts["visuals"] = (picture_visual(*of_picture.values()),)
    parts |= changed
    parts.setdefault("text_attention", text_rows(parts["shares"], len(parts["context_tokens"])))
    return Capture(**parts)


def assert_mean(found: Any, expected: Any) -> None:
    """Compare means over some dozens of numbers: to 4 millionths of the largest."""
    assert_same(found, expected, steps=32)


def slow_map(
    attention: torch.Tensor, tokens: list[int], layers: list[int], heads: list[int], aggregation: str
) -> np.ndarray:
    """Return the map cell by cell, by the definition."""
    result = np.zeros(GRID)
    for row in range(GRID[0]):
        for col in range(GRID[1]):
            for token in tokens:
                patch = row * GRID[1] + col
                cells = [
                    float(attention[token, RECORDED.index(layer), head, patch])
                    for layer in layers
                    for head in heads
                ]
                folded = {"mean": sum(cells) / len(cells), "max": max(cells), "min": min(cells)}[aggregation]
                result[row, col] += folded / len(tokens)
    return result


def words_of(*pieces: str | bytes) -> list[tuple[str, tuple[int, ...]]]:
    """Return (text, tokens) of each word of an answer whose tokens are these."""
    raw = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    text, spans = spelled(raw)
    words = grouped_words(text, spans, [str(piece) for piece in pieces])
    assert_covering(words, text, len(pieces))
    return [(word.text, word.tokens) for word in words]


def assert_covering(words: list[Word], text: str, tokens: int) -> None:
    """Check that every token is in a word, and that words and the white space between them make the text."""
    assert {token for word in words for token in word.tokens} == set(range(tokens))
    at = 0
    for word in sorted(words, key=lambda word: (word.start, word.end)):
        if word.start == word.end:
            continue
        assert text[at : word.start].strip() == ""
        assert word.text == text[word.start : word.end]
        at = word.end
    assert text[at:].strip() == ""
