"""What the viewer draws, as plain data that is ready for JSON.

Numbers travel packed: {"data", "bits", "low", "high"}, where `data` is base64 of little-endian whole numbers,
row by row, and row i holds low[i] + number / (2**bits - 1) · (high[i] - low[i]).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

import config
from attention_processor import AttentionProcessor
from drawing.characters import plain_text
from drawing.colours import palette
from records.keep import heads_refusal, pairs_text
from records.look import Look
from records.map_check import MapCheck
from records.thoughts import thoughts
from records.token_maps import TokenMaps
from records.visuals import Visual, shape_of_map
from records.words import Word
from viewer.boxes import boxes_payload
from viewer.methods import methods_payload
from viewer.pictures import base64_text, pictures_payload

if TYPE_CHECKING:
    from records.capture import Capture
    from records.videos import Video

TIME_DECIMALS = 3
COLORMAPS = (
    "viridis",
    "cividis",
    "magma",
    "inferno",
    "gray",
    "jet",
)  # all but jet are read in the right order
PALETTE_COLOURS = 256
SHARE_DECIMALS = 4
LOG_DECIMALS = 5
LOWEST = -100.0  # of a log-probability that is shown


# --- The payload --------------------------------------------------------------------------------------------


def payload(
    capture: Capture,
    pictures: Image.Image | Sequence[Image.Image | Video] | None,
    maps: TokenMaps | None,
    prompt_maps: TokenMaps | None = None,
    *,
    look: Look | None = None,
    scale: Literal["own", "shared"] | None = None,
    pick: str | None = None,
    head_maps: Sequence[dict[str, Any]] = (),
    leaned: dict[str, Any] | None = None,
    without: NDArray[np.floating] | None = None,
    checks: Sequence[MapCheck] = (),
) -> dict[str, Any]:
    """Return all that the viewer needs, ready for JSON.

    `pictures` are the picture, or all pictures and clips in the order of the prompt; None is for a page that
    has its `pictures_payload` already. Maps are of all of them, one after the other: of each its patches
    from `first` on, (t, h, w). `maps` are those of the answer's tokens (None for an empty one); where only
    some are computed yet, `answer.have` names them, in the order of the packed rows, and is None where all
    are there. `prompt_maps` are those of all tokens of the prompt, whose words cannot be picked without. The
    shares are taken over attention's own layers and heads, for other maps over all that were kept. `look` and
    `scale` are how the viewer starts, `config`'s values by default; `pick` is what it starts with: "all",
    "3", "3-5", of the prompt "p0"; None is the most telling word. `head_maps` are results of `heads_payload`,
    `leaned` is one of `leaned_payload`. What was removed from the maps is crossed out. `without` is log p of
    each token (token,) without the picture. `checks` are maps that were tested; each has a `map_key`, which
    is `method.key` where it was of the maps that are shown.

    Raises:
        ValueError: if the maps or probabilities do not belong to the capture, or for a layer or head that it
            does not have.
    """
    look = look or Look()
    found = maps or prompt_maps
    folded = dict(found.settings) if found is not None and found.as_it_is else {}
    processor = AttentionProcessor(capture)
    layers, heads = folded.get("layers"), folded.get("heads")
    names = dict.fromkeys((*COLORMAPS, *([] if look.is_glow else [look.colormap])))
    return {
        **({} if pictures is None else {"pictures": pictures_payload(pictures, capture.visuals)}),
        "visuals": [_visual(visual) for visual in capture.visuals],
        "crop": _crop(capture),
        "turns": [{"prompt": turn.prompt, "text": turn.text} for turn in capture.history],
        "answer": _side(processor, maps, layers, heads, of_prompt=False) | _likelihoods(capture, without),
        "prompt": _side(processor, prompt_maps, layers, heads, of_prompt=True),
        "boxes": [boxes_payload(capture, number) for number in range(len(capture.visuals))],
        "layers": list(capture.layers),
        "method": _method(found),
        "methods": methods_payload(capture.model_name, capture),
        "settings": _settings(capture, folded),
        "palettes": {name: _palette(name) for name in names},
        "look": _look(look, scale),
        "kinds": _kinds(),
        "pick": pick,
        "heads": list(head_maps),
        "leaned": leaned,
        "checks": [check.as_dict() for check in checks],
        "removed": list(found.removed or ()) if found is not None else [],
    }


def _visual(visual: Visual) -> dict[str, Any]:
    """Return what of a picture or clip does not change: where its patches are, and a clip's times."""
    return {
        "name": visual.name,
        "kind": visual.kind,
        "grid": list(visual.grid),
        "first": visual.first,
        "times": [round(time, TIME_DECIMALS) for time in visual.times],
    }


def _crop(capture: Capture) -> dict[str, Any] | None:
    """Return which picture is a part of which, and where, in parts of that one's sides."""
    if (crop := capture.crop) is None:
        return None
    height, width = capture.visuals[crop.of].size
    left, top, right, bottom = crop.box
    box = [left / width, top / height, right / width, bottom / height]
    return {"visual": crop.visual, "of": crop.of, "box": box}


def _settings(capture: Capture, folded: dict[str, Any]) -> dict[str, Any]:
    """Return what was folded, none of it where layers and heads were not chosen, and out of how much."""
    return {
        "model": capture.model_name,
        "layers": list(folded.get("layers") or ()),
        "heads": list(folded.get("heads") or ()),
        "head_count": capture.head_count,
        "heads_refused": heads_refusal(capture),
        "aggregation": folded.get("aggregation"),
    }


def _look(look: Look, scale: Literal["own", "shared"] | None) -> dict[str, Any]:
    """Return how the viewer starts to draw."""
    return {
        "colormap": look.colormap,
        "opacity": look.alpha,
        "contrast": math.log2(look.gamma),
        "view": look.view,
        "cells": "smooth" if look.smooth else "cells",
        "scale": scale or config.HEATMAP_SCALE,
    }


def _kinds() -> dict[str, dict[str, Any]]:
    """Return how the glow and colour maps are drawn where nobody says otherwise."""
    kinds = {"glow": Look(colormap="glow"), "map": Look(colormap=COLORMAPS[0])}
    return {
        kind: {"opacity": look.alpha, "cells": "smooth" if look.smooth else "cells"}
        for kind, look in kinds.items()
    }


def _method(found: TokenMaps | None) -> dict[str, Any]:
    """Return what made the maps, in the words that stand beside them."""
    if found is None:
        raise ValueError("there is neither an answer nor a prompt to show")
    return {
        "name": _name(found),
        "id": found.method,
        "key": found.key,
        "values": found.row.scale_label,
        "unit": found.row.shown_unit,
        "caveat": found.row.caveat,
        "sinks": found.row.sinks,
    }


def _name(found: TokenMaps) -> str:
    """Return what the maps are called; layers and heads of attention as it is stand beside it."""
    if not found.as_it_is:
        return found.line
    return f"{found.method} · {pairs_text(pairs)}" if (pairs := found.settings.get("pairs")) else found.method


def heads_payload(capture: Capture, tokens: Sequence[int], *, of_prompt: bool = False) -> dict[str, Any]:
    """Return the maps of every layer and head for some tokens, in 8 bits, each over its own range.

    `maps` and `shares` (share of attention on the image) have a row for the mean over layers and then one for
    each recorded layer, and in each row the mean over heads and then each head: (1 + layer, 1 + head).

    Raises:
        ValueError: for a token that is not there, or none, and if not all heads were kept.
    """
    if reason := heads_refusal(capture):
        raise ValueError(reason)
    attention = capture.prompt_attention if of_prompt else capture.attention
    shares = capture.prompt_shares if of_prompt else capture.shares
    chosen = sorted(set(tokens))
    if not chosen or not 0 <= chosen[0] <= chosen[-1] < len(attention):
        raise ValueError(f"choose tokens from 0 to {len(attention) - 1}; got {chosen}")
    rows = np.zeros(tuple(attention.shape[1:]), np.float32)  # (layer, head, patch)
    for token in chosen:  # one at a time: no copy of the whole
        rows += attention[token].float().cpu().numpy() / len(chosen)
    on_image = shares[chosen].float().cpu().numpy()[..., 0].mean(0)  # (layer, head)
    maps = _with_means(rows)
    return {
        "pick": {"tokens": chosen, "of_prompt": of_prompt},
        "layers": list(capture.layers),
        "heads": rows.shape[1],
        "maps": packed(maps.reshape(-1, maps.shape[-1]), bits=8),
        "shares": np.round(_with_means(on_image[..., None])[..., 0], SHARE_DECIMALS).tolist(),
    }


def leaned_payload(texts: Sequence[str], picks: Sequence[str], weights: ArrayLike) -> dict[str, Any]:
    """Return how much each token of the answer leaned on each text before it, for the viewer.

    `texts` are the display texts of the text positions, `picks` what a click on each picks ("p0" for the
    first token of the prompt, "0" for the first of the answer, "" for what cannot be picked), and `weights`
    (token of the answer, text position) the shares of attention, 0 for positions that come later.

    Raises:
        ValueError: if the three do not have the same number of positions.
    """
    rows = np.asarray(weights, np.float64)
    if rows.ndim != 2 or not len(texts) == len(picks) == rows.shape[1]:
        raise ValueError(
            f"expected weights (token, text position) for {len(texts)} texts and {len(picks)} picks; "
            f"got shape {rows.shape}"
        )
    shown = [plain_text(text) for text in texts]
    return {"texts": shown, "picks": list(picks), "weights": packed(rows)}


def leaned_on(capture: Capture, layers: Sequence[int] | None = None) -> dict[str, Any]:
    """Return `leaned_payload` of a capture: the mean over all heads, and over the layers chosen."""
    processor = AttentionProcessor(capture)
    context, count = capture.context_tokens, len(capture.token_ids)
    asked = {place: f"p{index}" for index, place in enumerate(capture.prompt_places)}
    picks = [asked.get(place, "") for place in range(len(context))] + [str(token) for token in range(count)]
    weights = [processor.text_attention(token, layers) for token in range(count)]
    empty = np.zeros((0, len(context)))
    return leaned_payload((*context, *capture.tokens), picks, np.stack(weights) if weights else empty)


def packed(rows: ArrayLike, bits: Literal[8, 16] = 16) -> dict[str, Any]:
    """Return rows of numbers (row, value) as whole numbers of so many bits, each row over its own range.

    What is read back differs by at most half a step: (high - low) / (2**bits - 1) / 2.

    Raises:
        ValueError: for anything but two axes of finite numbers.
    """
    values = np.asarray(rows, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"expected finite numbers with axes (row, value); got shape {values.shape}")
    low = values.min(1, initial=np.inf) if values.shape[1] else np.zeros(len(values))
    high = values.max(1, initial=-np.inf) if values.shape[1] else np.zeros(len(values))
    span = np.where(high > low, high - low, 1)
    numbers = np.rint((values - low[:, None]) / span[:, None] * (2**bits - 1)).astype(f"<u{bits // 8}")
    return {"data": base64_text(numbers.tobytes()), "bits": bits, "low": low.tolist(), "high": high.tolist()}


def _with_means(rows: NDArray[Any]) -> NDArray[Any]:
    """Return (1 + layer, 1 + head, ...) with the means over layers and over heads put first."""
    with_heads = np.concatenate([rows.mean(1, keepdims=True), rows], 1)
    return np.concatenate([with_heads.mean(0, keepdims=True), with_heads], 0)


# --- Parts --------------------------------------------------------------------------------------------------


def _side(
    processor: AttentionProcessor,
    maps: TokenMaps | None,
    layers: Sequence[int] | None,
    heads: Sequence[int] | None,
    *,
    of_prompt: bool,
) -> dict[str, Any]:
    """Return the texts, shares and maps of the answer, or of the prompt."""
    capture = processor.capture
    text, shown, spans = capture.text, capture.tokens, capture.token_spans
    words, shares = processor.words(), processor.shares
    if of_prompt:
        text, shown, spans = capture.prompt, capture.prompt_tokens, capture.prompt_token_spans
        words, shares = processor.prompt_words(), processor.prompt_shares
    tokens = [Word(shown[i], (i,), start, end) for i, (start, end) in enumerate(spans)]
    layer_shares = processor.all_layer_shares(heads, of_prompt=of_prompt)  # (token, layer, 3)
    side: dict[str, Any] = {
        "text": text,
        "tokens": [plain_text(one) for one in shown],
        "words": _segments(text, words),
        "pieces": _segments(text, tokens),
        "shares": [np.round(shares(i, layers, heads), SHARE_DECIMALS).tolist() for i in range(len(spans))],
        "layer_shares": np.round(layer_shares, SHARE_DECIMALS).tolist(),
        "maps": _packed_maps(maps, len(spans), shape_of_map(capture.visuals)),
    }
    if len(capture.visuals) > 1:
        found = [
            processor.visual_shares(i, layers, heads, of_prompt=of_prompt).astype(float)
            for i in range(len(spans))
        ]
        side["visual_shares"] = [np.round(one, SHARE_DECIMALS).tolist() for one in found]
    some = list(maps.tokens) if maps is not None and len(maps.tokens) < len(spans) else None
    if not of_prompt:
        side |= {"have": some, "thoughts": list(thoughts(capture))}
    elif some is not None:
        raise ValueError(f"expected maps of all {len(spans)} tokens of the prompt; got {len(some)}")
    return side


def _likelihoods(capture: Capture, without: NDArray[np.floating] | None) -> dict[str, Any]:
    """Return how likely each token of the answer was, and log p with and without the picture."""
    count = len(capture.token_ids)
    if without is not None and without.shape != (count,):
        raise ValueError(f"expected log p without the picture of {count} tokens; got shape {without.shape}")
    return {
        "probabilities": capture.logprobs.float().exp().clamp(max=1).tolist(),
        "logprobs": floored(capture.logprobs.float().cpu().numpy()),
        "without": None if without is None else floored(without),
    }


def floored(logprobs: NDArray[np.floating]) -> list[float]:
    """Return log-probabilities that JSON can hold: from LOWEST to 0."""
    rounded: list[float] = np.round(np.clip(logprobs, LOWEST, 0).astype(np.float64), LOG_DECIMALS).tolist()
    return rounded


def _packed_maps(found: TokenMaps | None, count: int, shape: tuple[int, ...]) -> dict[str, Any] | None:
    """Return the maps of so many tokens, or of those that are computed, packed; None where none are.

    Raises:
        ValueError: unless each map has this shape and belongs to one of the tokens.
    """
    if found is None:
        return packed(np.zeros((0, math.prod(shape)))) if count == 0 else None
    if found.maps.shape[1:] != shape or found.tokens[-1] >= count:
        raise ValueError(f"expected maps of shape {(count, *shape)}; got {found.maps.shape}")
    return packed(found.maps.reshape(len(found.maps), -1))


def _segments(text: str, words: Sequence[Word]) -> list[dict[str, Any]]:
    """Return segments whose texts make up the text: plain ones, and words with their tokens.

    White space before a word is plain. One without a text of its own (white space, a special token, the later
    pieces of a split character) has what it is as `sign`.
    """
    segments: list[dict[str, Any]] = []
    at = 0
    for word in words:
        own = text[max(at, word.start) : word.end]
        start = max(at, word.end - len(own.lstrip()) if own.strip() else word.start)
        if start > at:
            segments.append({"text": text[at:start]})
        segment: dict[str, Any] = {"text": text[start : max(start, word.end)], "tokens": list(word.tokens)}
        if not own.strip():
            name = plain_text(word.text)
            segment["sign"] = name if name.strip() else "␣"
        segments.append(segment)
        at = max(at, word.end)
    if at < len(text):
        segments.append({"text": text[at:]})
    return segments


def _palette(name: str) -> str:
    """Return 256 colours of a colour map, lowest first, as base64 of RGB bytes."""
    table = palette(name)
    return base64_text(table[np.arange(PALETTE_COLOURS) * len(table) // PALETTE_COLOURS].tobytes())
