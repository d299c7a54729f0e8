"""Which heads an answer's attention is kept of: all, their mean, or some pairs of a layer and a head.

Goes in: what config, a caller or a kept answer says, and a choice of layers and heads. Comes out: a `Keep`,
and where in a record the rows of a choice stand; or one line that says why they are not there. Knows nothing
of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import config
from methods.catalog import ASK_AGAIN
from utils import shown

if TYPE_CHECKING:
    from records.capture import Capture

Keep = str | tuple[tuple[int, int], ...]  # "all", "head-mean", or pairs (layer, head), ascending, each once
ALL, HEAD_MEAN = "all", "head-mean"


def keep_of(asked: Any = None) -> Keep:
    """Return what is asked for as a `Keep`; None is config's.

    Raises:
        ValueError: for what is none.
    """
    value = config.KEEP if asked is None else asked
    allowed, accepts = config.RULES["KEEP"]
    if not accepts(value):
        raise ValueError(f"keep must be {allowed}; got {shown(value)}")
    return value if isinstance(value, str) else tuple(sorted({(layer, head) for layer, head in value}))


def layers_of(keep: Keep) -> tuple[int, ...] | None:
    """Return the decoder layers of the pairs, ascending; None where no pairs are chosen."""
    return None if isinstance(keep, str) else tuple(sorted({layer for layer, _ in keep}))


def heads_in(keep: Keep, layer: int) -> tuple[int, ...]:
    """Return the heads of a layer that are kept by themselves, ascending, where pairs are chosen."""
    return () if isinstance(keep, str) else tuple(head for at, head in keep if at == layer)


def rows_kept(keep: Keep, heads: int) -> int:
    """Return how many rows of attention a layer of so many heads takes in a record: the size of axis 2.

    Of pairs it is the number of the layer that has most; a layer with fewer is filled up with zeros.
    """
    if isinstance(keep, str):
        return heads if keep == ALL else 1
    return max(len(heads_in(keep, layer)) for layer in layers_of(keep) or ())


def as_json(keep: Keep) -> str | list[list[int]]:
    """Return what JSON can hold, and `keep_of` reads."""
    return keep if isinstance(keep, str) else [list(pair) for pair in keep]


def pairs_text(pairs: Sequence[Sequence[int]]) -> str:
    """Return pairs as they are read: "layer.head 20.3, 21.0"."""
    return "layer.head " + ", ".join(f"{layer}.{head}" for layer, head in pairs)


class Row(NamedTuple):
    """Where one row of attention (patch,) stands in a record."""

    layer: int  # index of axis 1
    place: int  # index of axis 2
    head: int | None  # whose it is; None: the mean of all


def rows_of(
    capture: Capture, layers: Sequence[int], heads: Sequence[int] | None, is_mean: bool = True
) -> list[Row]:
    """Return the rows of the chosen layers (indices in the capture) and heads, in their order.

    `heads` None are those that were kept of each layer. `is_mean`: nothing but the mean of all rows is made
    of them, which the mean over heads is enough for.

    Raises:
        ValueError: one line that says what to do, for heads that were not kept.
    """
    keep = capture.keep
    if keep == ALL:
        wanted = range(capture.head_count) if heads is None else heads
        return [Row(layer, head, head) for layer in layers for head in wanted]
    if keep == HEAD_MEAN:
        if not is_mean or (heads is not None and sorted(heads) != list(range(capture.head_count))):
            raise ValueError(f"Of this answer only the mean over all heads was kept: {ASK_AGAIN}.")
        return [Row(layer, 0, None) for layer in layers]
    rows = []
    for layer in layers:
        kept = heads_in(keep, capture.layers[layer])
        for head in kept if heads is None else heads:
            if head not in kept:
                raise ValueError(
                    f"Head {head} of layer {capture.layers[layer]} was not kept with this answer, but "
                    f"{pairs_text(kept_pairs(capture))}: {ASK_AGAIN}."
                )
            rows.append(Row(layer, kept.index(head), head))
    return rows


def kept_pairs(capture: Capture, layers: Sequence[int] | None = None) -> list[tuple[int, int]]:
    """Return the pairs (layer, head) that were kept, of all layers or those given; none if no pairs were."""
    keep = capture.keep
    chosen = capture.layers if layers is None else layers
    return [] if isinstance(keep, str) else [pair for pair in keep if pair[0] in chosen]


def every_head(capture: Capture) -> tuple[int, ...] | None:
    """Return all heads as a selection has them; None, those that were kept, where only pairs were."""
    return tuple(range(capture.head_count)) if isinstance(capture.keep, str) else None


def heads_refusal(capture: Capture) -> str:
    """Return why there is no map of each layer and head, in one line; "" where there is."""
    if capture.keep == ALL:
        return ""
    pairs = kept_pairs(capture)
    kept = pairs_text(pairs) if pairs else "the mean over all heads"
    return f"Of this answer only {kept} was kept: {ASK_AGAIN}."
