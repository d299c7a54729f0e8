"""An answer whose heads are all kept, as it would be with fewer: sliced and averaged head by head."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from records.capture import Capture


def reduced(capture: Capture, keep: Any) -> Capture:
    """Return the answer with "head-mean", or with pairs (layer, head) of it alone."""
    if keep == "head-mean":
        parts: dict[str, Any] = {
            name: sum(getattr(capture, name)[:, :, [head]].float() for head in range(capture.head_count))
            / capture.head_count
            for name in ("attention", "prompt_attention")
        }
        return replace(capture, **parts, settings={**capture.settings, "keep": keep})
    layers = sorted({layer for layer, _ in keep})
    at = [capture.layers.index(layer) for layer in layers]
    cut = {name: getattr(capture, name)[:, at] for name in ("shares", "prompt_shares", "text_attention")}
    parts = {name: _of_pairs(capture, name, keep, layers) for name in ("attention", "prompt_attention")}
    settings = {**capture.settings, "keep": [list(pair) for pair in sorted(keep)]}
    return replace(capture, **parts, **cut, layers=tuple(layers), settings=settings)


def _of_pairs(capture: Capture, name: str, keep: Any, layers: list[int]) -> Tensor:
    whole: Tensor = getattr(capture, name)
    heads = {layer: sorted(head for at, head in keep if at == layer) for layer in layers}
    most = max(map(len, heads.values()))
    found = torch.zeros(len(whole), len(layers), most, whole.shape[-1], dtype=whole.dtype)
    for index, layer in enumerate(layers):
        for place, head in enumerate(heads[layer]):
            found[:, index, place] = whole[:, capture.layers.index(layer), head]
    return found
