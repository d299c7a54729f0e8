"""The ways to explain an answer that a person chooses from, made ready to be drawn.

Goes in: a `Capture`, or the maps of a method. Comes out: `Made`, which views, viewer and files take. Knows
nothing of the page and the shell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from methods import METHODS, Sink, TokenMaps, sink_patches, token_maps, top_heads, without_sinks
from records.capture import Capture
from utils import as_ranges
from views import CAVEAT, Made, View, drawings

ATTENTION = "attention"
LOCAL = {f"heads-{count}": count for count in (3, 5, 8)}
WAYS: dict[str, str] = {
    ATTENTION: "Attention",
    **{name: f"Attention, {count} most local heads" for name, count in LOCAL.items()},
    **{name: method.label for name, method in METHODS.items() if name != ATTENTION},
}


def reads_again(way: str) -> bool:
    """Return whether one of WAYS has the model read the answer again."""
    return way in METHODS and METHODS[way].needs_model


def made_by(found: TokenMaps, label: str) -> Made:
    """Return the maps of every token by a method, with what they are in words."""
    method = METHODS[found.method]
    return Made(
        label=label,
        values=method.scale_label,
        unit="%" if method.unit.startswith("share") else method.unit,
        caveat=method.caveat,
        how=how(found),
        maps=found.maps,
    )


def unsunk(capture: Capture, view: View) -> Made:
    """Return attention without its sinks."""
    sinks = sink_patches(capture, view.layers, view.heads)
    maps = [one.values for one in drawings(capture, replace(view, tokens=None, by="token", of_prompt=False))]
    return Made(
        label="Attention without sinks",
        values="share of attention",
        unit="%",
        caveat=CAVEAT,
        how=f"{view} · {sinks_text(sinks, capture.grid[1])}",
        maps=np.stack([without_sinks(one, sinks) for one in maps]),
        removed=tuple(sorted(sink.patch for sink in sinks)),
    )


def sinks_text(sinks: Sequence[Sink], width: int) -> str:
    """Return which sinks there are, in a grid so wide: "2 sinks left out: row 0 column 3 (9 ×), …"."""
    if not sinks:
        return "no sinks found"
    places = [f"row {s.patch // width} column {s.patch % width} ({s.strength:.0f} ×)" for s in sinks[:6]]
    more = f" and {len(sinks) - 6} more" if len(sinks) > 6 else ""
    return f"{len(sinks)} sink{'s' * (len(sinks) > 1)} left out: {', '.join(places)}{more}"


def of_heads(capture: Capture, count: int) -> TokenMaps:
    """Return attention of the most local heads."""
    return token_maps(ATTENTION, capture, pairs=top_heads(capture, count))


def how(found: TokenMaps) -> str:
    """Return what maps were made of, on one line: layers or heads, and the cost."""
    settings, parts = found.settings, []
    if pairs := settings.get("pairs"):
        parts.append("layer.head " + ", ".join(f"{layer}.{head}" for layer, head in pairs))
    elif layers := settings.get("layers"):
        parts.append(f"layers {as_ranges(layers)}")
    if settings.get("noise_std"):
        parts.append(f"{settings['num_samples']} samples, noise {settings['noise_std']:g}")
    if size := settings.get("size"):
        parts.append(f"regions of {size} × {size} cells")
    cost = found.cost
    if cost.forward or cost.backward:
        parts.append(f"{cost.forward} forward, {cost.backward} backward passes, {cost.seconds:.1f} s")
    return " · ".join(parts) or "all layers"
