"""The maps of an answer as arrays with named axes, for an NPZ.

Goes in: `Subject`s: what is chosen of an answer and of its prompt. Comes out: arrays by name, and what they
were made from. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from records.keep import kept_pairs
from records.visuals import by_visual, is_picture
from report.view import Subject, method_facts
from utils import NamedArrays, described_arrays


def arrays_of(subjects: Sequence[Subject], drawing: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the maps of some subjects (one capture, same layers and heads) on the picture that is shown.

    Of a clip they have an axis t more, of its steps, whose `times` are seconds.
    """
    first = subjects[0]
    number, one = first.selection.visual, first.visual
    arrays: NamedArrays = {
        **_maps_on(subjects, number),
        **_tokens_and_words(subjects),
        **_own_shares(first),
        **({"times": (np.array(one.times), "t")} if one.times else {}),
    }
    said = {
        "grid": one.grid if one.times else one.grid[1:],  # ([t,] h, w)
        "image_size": one.size,  # (h, w)
        "image_hash": one.hash,
    }
    return _described(first, arrays, said, drawing)


def arrays_of_all(subjects: Sequence[Subject], drawing: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the same on every picture and clip: `maps_1`, `maps_2` … in the order of the prompt."""
    first = subjects[0]
    visuals = first.capture.visuals
    arrays: dict[str, tuple[NDArray[Any], str]] = {}
    for number, one in enumerate(visuals):
        arrays |= _maps_on(subjects, number, f"_{number + 1}")
        if one.times:
            arrays[f"times_{number + 1}"] = (np.array(one.times), f"t_{number + 1}")
    arrays |= {
        **_tokens_and_words(subjects),
        **_all_shares(first),
        "grids": (np.array([one.grid for one in visuals]), "picture,t h w"),
        "image_sizes": (np.array([one.size for one in visuals]), "picture,h w"),
        "image_hashes": (np.array([one.hash for one in visuals]), "picture"),
        "image_names": (np.array([one.name for one in visuals]), "picture"),
        "kinds": (np.array([one.kind for one in visuals]), "picture"),
    }
    return _described(first, arrays, {}, drawing)


def _described(
    first: Subject, arrays: NamedArrays, said: Mapping[str, Any], drawing: Mapping[str, Any]
) -> dict[str, NDArray[Any]]:
    """Return arrays beside what they were made from."""
    capture, selection, found, method = first.capture, first.selection, first.found, method_facts(first)
    facts = {
        **said,
        "model": capture.model_name,
        "prompt": capture.prompt,
        "answer": capture.text,
        "method": method["Method"] if found.as_it_is else found.line,
        "aggregation": selection.aggregation,
        "caveat": found.row.caveat,
        **({"values": method["Values"]} if "Values" in method else {}),
    }
    folded: NamedArrays = {"layers": (np.array(selection.layers), "layer"), **_heads_array(first)}
    settings = {"generation": capture.settings, "drawing": dict(drawing)}
    return described_arrays({**arrays, **folded}, facts, settings)


def _heads_array(subject: Subject) -> NamedArrays:
    """Return the heads that attention is folded over, or pairs of a layer and a head."""
    heads = subject.selection.heads
    if heads is None:
        pairs = kept_pairs(subject.capture, subject.selection.layers)
        return {"pairs": (np.array(pairs), "pair,layer and head")}
    return {"heads": (np.array(heads), "head")}


def _maps_on(
    subjects: Sequence[Subject], number: int, ending: str = ""
) -> dict[str, tuple[NDArray[Any], str]]:
    """Return the maps of chosen tokens and words on one picture, or clip; names and axes have an ending."""
    is_clip = subjects[0].capture.visuals[number].kind == "video"
    axes = ",".join(axis + ending for axis in ("t" * is_clip, "h", "w") if axis)
    found = {}
    for one in subjects:
        if not one.selection.of_prompt:
            each = [one.found.token_map(token, number) for token in one.tokens]
            found[f"maps{ending}"] = (np.stack(each), f"token,{axes}")
        if one.selection.by == "word":
            each = [one.found.token_map(word.tokens, number) for _, word in one.words()]
            found[f"{_kind(one)}_maps{ending}"] = (np.stack(each), f"{_kind(one)},{axes}")
    return found


def _kind(subject: Subject) -> str:
    return "prompt_word" if subject.selection.of_prompt else "word"


def _tokens_and_words(subjects: Sequence[Subject]) -> dict[str, tuple[NDArray[Any], str]]:
    """Return what is known of the chosen tokens and words."""
    found: dict[str, tuple[NDArray[Any], str]] = {}
    for one in subjects:
        found |= _tokens(one) if not one.selection.of_prompt else {}
        found |= _words(one) if one.selection.by == "word" else {}
    return found


def _tokens(subject: Subject) -> dict[str, tuple[NDArray[Any], str]]:
    """Return what is known of each chosen token."""
    capture, selection, chosen = subject.capture, subject.selection, list(subject.tokens)
    shares = [subject.processor.shares(token, selection.layers, selection.heads) for token in chosen]
    return {
        "token_positions": (np.array(chosen), "token"),
        "token_ids": (np.array([capture.token_ids[token] for token in chosen]), "token"),
        "tokens": (np.array([capture.tokens[token] for token in chosen]), "token"),
        "logprobs": (capture.logprobs.float().cpu().numpy()[chosen], "token"),
        "shares": (np.stack(shares), "token,part"),
        "share_parts": (np.array(["image", "prompt", "answer"]), "part"),
    }


def _words(subject: Subject) -> dict[str, tuple[NDArray[Any], str]]:
    """Return the words' texts and tokens; a word's tokens are filled up with -1."""
    kind, words = _kind(subject), [word for _, word in subject.words()]
    tokens = np.full((len(words), max(len(word.tokens) for word in words)), -1)
    for row, word in zip(tokens, words, strict=True):
        row[: len(word.tokens)] = word.tokens
    return {
        f"{kind}s": (np.array([word.text for word in words]), kind),
        f"{kind}_tokens": (tokens, f"{kind},token of {kind}"),
    }


def _by_picture(subject: Subject) -> list[NDArray[np.float32]]:
    """Return each chosen token's share of attention on each step of every picture (token, step)."""
    shares = np.stack([subject.plane_shares([token]) for token in subject.tokens])  # (token, plane)
    return by_visual(shares, subject.capture.visuals)


def _own_shares(subject: Subject) -> NamedArrays:
    """Return each token's share of attention on what is shown, where there is more than one picture."""
    if is_picture(subject.capture.visuals) or subject.selection.of_prompt:
        return {}
    own = _by_picture(subject)[subject.selection.visual]
    found: NamedArrays = {"picture_shares": (own.sum(axis=1), "token")}
    return {**found, "step_shares": (own, "token,t")} if subject.visual.times else found


def _all_shares(subject: Subject) -> NamedArrays:
    """Return each token's share of attention on every picture, and on the steps of clips."""
    if subject.selection.of_prompt:
        return {}
    each = _by_picture(subject)
    found: dict[str, tuple[NDArray[Any], str]] = {
        "picture_shares": (np.stack([one.sum(axis=1) for one in each], axis=1), "token,picture")
    }
    for number, visual in enumerate(subject.capture.visuals, start=1):
        if visual.times:
            found[f"step_shares_{number}"] = (each[number - 1], f"token,t_{number}")
    return found
