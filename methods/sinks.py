"""Sinks: patches that soak up attention whatever the word.

They are published as a property of the features: visual tokens with massive activations in the same few
dimensions as the first token's (Kang et al. 2025, arXiv 2503.03321). A capture holds no features; here they
are found by what makes them a nuisance: nearly every word looks at them with most of the heads, far more than
at a usual patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from attention_processor import AttentionProcessor
from records.capture import Capture
from records.keep import rows_of
from records.token_maps import TokenMaps

STRENGTH = 3.0  # times the usual patch
NEARLY_EVERY = 0.8  # of the words
MOST = 0.5  # of the heads, and one more
LOWEST = 1e-6  # share of attention below which a usual patch is not told from none


class Sink(NamedTuple):
    """A patch that soaks up attention."""

    patch: int  # row * w + col
    strength: float  # times the usual patch: for nearly every word and most heads at least


def sink_patches(
    capture: Capture,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    threshold: float = STRENGTH,
) -> tuple[Sink, ...]:
    """Return the sinks among the chosen layers and heads, the strongest first.

    The words are the tokens of prompt and answer. In each word's row of each head, a patch counts by how many
    times the row's usual patch (the median) it is; its strength is what more than half of the heads reach,
    for four of five words. From `threshold` on, a patch is a sink. That most heads must look at it tells it
    from a thing that the whole answer speaks of, which only some heads look for.

    Raises:
        ValueError: for a threshold of 1 or less, and for layers or heads that were not recorded or kept.
    """
    if not threshold > 1:
        raise ValueError(f"threshold must be above 1; got {threshold!r}")
    processor = AttentionProcessor(capture)
    asked = None if heads is None else processor.heads(heads)
    chosen = rows_of(capture, processor.recorded(layers), asked, is_mean=False)
    at, places = [row.layer for row in chosen], [row.place for row in chosen]
    strengths = []
    for attention in (capture.prompt_attention, capture.attention):
        for of_word in attention:
            rows = of_word[at, places].float().cpu().numpy()  # (row, patch)
            usual = np.maximum(np.median(rows, axis=-1, keepdims=True), LOWEST)
            strengths.append(np.quantile(rows / usual, 1 - MOST, axis=0, method="lower"))
    nearly = np.quantile(strengths, 1 - NEARLY_EVERY, axis=0, method="lower")  # (patch,)
    found = [Sink(int(patch), float(nearly[patch])) for patch in np.flatnonzero(nearly >= threshold)]
    return tuple(sorted(found, key=lambda sink: -sink.strength))


def without_sinks(found: TokenMaps, sinks: Sequence[Sink]) -> TokenMaps:
    """Return a copy of the maps with the sinks' cells at the lowest value of the map's other cells.

    Nothing is known of what they would be without the sink: the lowest value claims nothing for them and
    leaves scale and hottest cell to the others. `removed` names them: whoever draws a map must mark them.

    Raises:
        ValueError: for a method whose maps are not attention as it is, or if nothing of a map is left.
    """
    if not found.row.sinks:
        raise ValueError(f"{found.row.label} has no sinks to leave out: they belong to attention")
    maps = found.maps.reshape(len(found.maps), -1).copy()  # (token, patch)
    gone = np.zeros(maps.shape[1], dtype=bool)
    gone[[sink.patch for sink in sinks]] = True
    if gone.all():
        raise ValueError("every patch is a sink: nothing of the map is left")
    maps[:, gone] = maps[:, ~gone].min(axis=1, keepdims=True)
    return replace(
        found,
        maps=maps.reshape(found.maps.shape),
        removed=tuple(sorted(sink.patch for sink in sinks)),
        settings={**found.settings, "sinks": [[sink.patch, sink.strength] for sink in sinks]},
    )
