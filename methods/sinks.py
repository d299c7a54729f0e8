"""Sinks: patches that soak up attention whatever the word.

They are published as a property of the features: visual tokens with massive activations in the same few
dimensions as the first token's (Kang et al. 2025, arXiv 2503.03321). A capture holds no features; here they
are found by what makes them a nuisance: nearly every row looks at them, far more than at a usual patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attention_extractor import Capture
from attention_processor import AttentionProcessor

STRENGTH = 5.0  # times the usual patch
NEARLY_EVERY = 0.8  # of the rows


class Sink(NamedTuple):
    """A patch that soaks up attention."""

    patch: int  # row * w + col
    strength: float  # times the usual patch, in nearly every row at least


def sink_patches(
    capture: Capture,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    threshold: float = STRENGTH,
) -> tuple[Sink, ...]:
    """Return the sinks of the mean over the chosen layers and heads, the strongest first.

    A row is a token of the prompt or of the answer; its usual patch is the median over patches. A patch's
    strength is what it exceeds in four of five rows, as a multiple of the row's usual patch; from `threshold`
    on it is a sink. What single words look at, however hard, is none. A patch that most of the words speak of
    can be taken for one: an answer about one thing only tells the two apart by the prompt's words.
    """
    if not threshold > 1:
        raise ValueError(f"threshold must be above 1; got {threshold!r}")
    processor = AttentionProcessor(capture)
    rows = [
        find(token, layers, heads)
        for find, count in (
            (processor.get_attention_heatmap_for_prompt_token, len(capture.prompt_token_ids)),
            (processor.get_attention_heatmap_for_token, len(capture.token_ids)),
        )
        for token in range(count)
    ]
    looked = np.stack(rows).reshape(len(rows), -1)  # (row, patch)
    usual = np.maximum(np.median(looked, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    strengths = np.quantile(looked / usual, 1 - NEARLY_EVERY, axis=0, method="lower")  # (patch,)
    found = [Sink(int(patch), float(strengths[patch])) for patch in np.flatnonzero(strengths >= threshold)]
    return tuple(sorted(found, key=lambda sink: -sink.strength))


def without_sinks(heat: NDArray[np.float32], sinks: Sequence[Sink]) -> NDArray[np.float32]:
    """Return a copy of the map (h, w) with the sinks' cells at the lowest value of the other cells.

    Nothing is known of what they would be without the sink: the lowest value claims nothing for them and
    leaves scale and hottest cell to the others. Whoever draws the map must mark the cells as removed.
    """
    found = np.array(heat, copy=True)
    gone = np.zeros(found.size, dtype=bool)
    gone[[sink.patch for sink in sinks]] = True
    if gone.all():
        raise ValueError("every patch is a sink: nothing of the map is left")
    found[gone.reshape(found.shape)] = found[~gone.reshape(found.shape)].min()
    return found
