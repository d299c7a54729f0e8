"""Maps of single attention rows: attention, relative to a general question, and as far as gates let it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attention_processor import AttentionProcessor
from internals.attention_rows import Mixing, attention_rows, attention_watched
from internals.exclusive import lent
from internals.gates import head_gates
from internals.memory import within_memory
from methods.question import Maps, Question, later_half
from records.choices import Aggregation, fold_of

GENERAL_PROMPT = "Write a general description of the image."
Pairs = Sequence[tuple[int, int]]  # of a layer and a head


def attention(
    question: Question,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    aggregation: Aggregation = "mean",
    pairs: Pairs | None = None,
) -> Maps:
    """Return A[l, h, q, V] of each token, folded over the chosen layers and heads, or pairs of them."""
    chosen = _pairs(question, layers, heads, pairs)
    fold = fold_of(aggregation)
    maps = [fold(_rows(question, token, chosen), axis=0) for token in question.tokens]
    return Maps(np.stack(maps), _named(question, chosen, pairs))


def relative(
    question: Question,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    aggregation: Aggregation = "mean",
    pairs: Pairs | None = None,
    epsilon: float | None = None,
) -> Maps:
    """Return A[l, h, q, V] / (A'[l, h, q', V] + ε), folded as attention is.

    A' is the attention of the last position of a general prompt about the same picture: one forward pass.
    By default ε is a patch's share if all attention were spread evenly over the picture: far below it, shares
    are noise. Deviation: published, heads are averaged before the division.
    """
    h, w = question.capture.grid
    epsilon = 1 / (h * w) if epsilon is None else epsilon
    if not 0 < epsilon < np.inf:
        raise ValueError(f"epsilon must be above 0; got {epsilon!r}")
    if layers is None and pairs is None:
        late = later_half(question.capture.layer_count)
        layers = [layer for layer in question.capture.layers if layer in late] or None
    chosen, fold = _pairs(question, layers, heads, pairs), fold_of(aggregation)
    question.watch.tell(0, 1)
    general = _general(question, [question.capture.layers[layer] for layer, _ in chosen])
    question.watch.tell(1, 1)
    below = np.stack([general[question.capture.layers[layer]][head] for layer, head in chosen])
    maps = [fold(_rows(question, token, chosen) / (below + epsilon), axis=0) for token in question.tokens]
    return Maps(np.stack(maps), {**_named(question, chosen, pairs), "epsilon": epsilon}, forward=1)


def gated(
    question: Question,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    aggregation: Aggregation = "mean",
    pairs: Pairs | None = None,
) -> Maps:
    """Return A[l, h, q, V] · ḡ[l, h, q], folded as attention is; ḡ: the mean of σ(gate) over channels.

    The gates at the rows that explain the tokens come from one forward pass, the attention from the capture.
    """
    chosen, fold = _pairs(question, layers, heads, pairs), fold_of(aggregation)
    numbers = sorted({question.capture.layers[layer] for layer, _ in chosen})
    question.watch.tell(0, 1)
    gates = head_gates(question.forced, numbers).numpy()  # (token, layer, head)
    question.watch.tell(1, 1)
    places = [(numbers.index(question.capture.layers[layer]), head) for layer, head in chosen]
    maps = []
    for token, gate in zip(question.tokens, gates, strict=True):
        open_ = np.array([gate[place] for place in places])  # (pair,)
        maps.append(fold(_rows(question, token, chosen) * open_[:, None], axis=0))
    return Maps(np.stack(maps), _named(question, chosen, pairs), forward=1)


def _pairs(
    question: Question, layers: Sequence[int] | None, heads: Sequence[int] | None, pairs: Pairs | None
) -> list[tuple[int, int]]:
    """Return (index of the layer in the capture, head) of each attention row that is folded."""
    processor = AttentionProcessor(question.capture)
    if pairs is None:
        return list(product(processor.recorded(layers), processor.heads(heads)))
    if layers is not None or heads is not None:
        raise ValueError("choose either pairs of a layer and a head, or layers and heads")
    if len(pairs) == 0:
        raise ValueError("choose at least one pair of a layer and a head")
    return [(processor.recorded([layer])[0], processor.heads([head])[0]) for layer, head in pairs]


def _rows(question: Question, token: int, pairs: Pairs) -> NDArray[np.float32]:
    """Return the attention of one token (pair, patch)."""
    layers, heads = zip(*pairs, strict=True)
    capture = question.capture
    attention = capture.prompt_attention if question.of_prompt else capture.attention
    return attention[token, list(layers), list(heads)].float().cpu().numpy()


def _named(question: Question, chosen: Pairs, asked: Pairs | None) -> dict[str, Any]:
    """Return what was chosen, in the model's own numbers."""
    named = [[question.capture.layers[layer], head] for layer, head in chosen]
    if asked is not None:
        return {"pairs": named}
    layers, heads = (sorted(set(numbers)) for numbers in zip(*named, strict=True))
    return {"layers": layers, "heads": heads}


def _general(question: Question, layers: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    """Return A'[l, h, q', V] (head, patch) of each layer."""
    model, encoded = question.forced.model, question.encoded(GENERAL_PROMPT)
    found: dict[int, NDArray[np.float32]] = {}
    last = torch.tensor([encoded.prompt_length - 1])

    def keep(layer: int, mixing: Mixing) -> None:
        query, key = mixing.query[:, :, -1:], mixing.key
        rows = attention_rows(query, key, mixing.scaling, last.to(key.device))  # (head, 1, key)
        found[layer] = rows[:, 0].cpu()[:, encoded.image_positions.cpu()].numpy()

    with lent(model), torch.no_grad(), attention_watched(model, sorted(set(layers)), keep):
        within_memory(partial(model, **encoded.inputs, use_cache=False, logits_to_keep=1))
    return found
