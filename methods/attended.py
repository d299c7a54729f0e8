"""Maps of single attention rows: attention, relative to a general question, and as far as gates let it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
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
from records.keep import HEAD_MEAN, Row, rows_of

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
    chosen = _chosen(question, layers, heads, pairs, is_mean=aggregation == "mean")
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
    epsilon = 1 / question.capture.patch_count if epsilon is None else epsilon
    if not 0 < epsilon < np.inf:
        raise ValueError(f"epsilon must be above 0; got {epsilon!r}")
    if layers is None and pairs is None:
        late = later_half(question.capture.layer_count)
        layers = [layer for layer in question.capture.layers if layer in late] or None
    chosen, fold = _chosen(question, layers, heads, pairs), fold_of(aggregation)
    question.watch.tell(0, 1)
    general = _general(question, [question.capture.layers[row.layer] for row in chosen])
    question.watch.tell(1, 1)
    below = np.stack([general[question.capture.layers[row.layer]][row.head] for row in chosen])
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
    chosen, fold = _chosen(question, layers, heads, pairs), fold_of(aggregation)
    numbers = sorted({question.capture.layers[row.layer] for row in chosen})
    question.watch.tell(0, 1)
    gates = head_gates(question.forced, numbers).numpy()  # (token, layer, head)
    question.watch.tell(1, 1)
    places = [(numbers.index(question.capture.layers[row.layer]), row.head) for row in chosen]
    maps = []
    for token, gate in zip(question.tokens, gates, strict=True):
        open_ = np.array([gate[place] for place in places])  # (pair,)
        maps.append(fold(_rows(question, token, chosen) * open_[:, None], axis=0))
    return Maps(np.stack(maps), _named(question, chosen, pairs), forward=1)


def _chosen(
    question: Question,
    layers: Sequence[int] | None,
    heads: Sequence[int] | None,
    pairs: Pairs | None,
    is_mean: bool = False,
) -> list[Row]:
    """Return where each attention row that is folded stands in the capture.

    `is_mean`: nothing but their mean is wanted, for which the mean over heads is enough.
    """
    processor = AttentionProcessor(question.capture)
    if pairs is None:
        chosen = None if heads is None else processor.heads(heads)
        return rows_of(question.capture, processor.recorded(layers), chosen, is_mean)
    if layers is not None or heads is not None:
        raise ValueError("choose either pairs of a layer and a head, or layers and heads")
    if len(pairs) == 0:
        raise ValueError("choose at least one pair of a layer and a head")
    each = ((processor.recorded([layer]), processor.heads([head])) for layer, head in pairs)
    return [row for layer, head in each for row in rows_of(question.capture, layer, head, is_mean)]


def _rows(question: Question, token: int, rows: Sequence[Row]) -> NDArray[np.float32]:
    """Return the attention of one token (row, patch)."""
    layers, places = [row.layer for row in rows], [row.place for row in rows]
    capture = question.capture
    attention = capture.prompt_attention if question.of_prompt else capture.attention
    return attention[token, layers, places].float().cpu().numpy()


def _named(question: Question, chosen: Sequence[Row], asked: Pairs | None) -> dict[str, Any]:
    """Return what was chosen, in the model's own numbers: layers and heads, or pairs of them."""
    capture = question.capture
    if capture.keep == HEAD_MEAN:
        layers = sorted({capture.layers[row.layer] for row in chosen})
        return {"layers": layers, "heads": list(range(capture.head_count))}
    named = [[capture.layers[row.layer], row.head] for row in chosen]
    layers, heads = (sorted(set(numbers)) for numbers in zip(*named, strict=True))
    if asked is not None or len(layers) * len(heads) > len(named):  # some layers have other heads
        return {"pairs": named}
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
