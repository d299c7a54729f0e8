"""What a person picks and reads: words to click, the list of tokens, the map of a choice, its caption.

Goes in: a `Run` and what was chosen on the page. Comes out: plain data, texts, maps (h, w) and pictures.
Knows nothing of Gradio.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from PIL import Image

import config
import visualization
from attention_processor import Aggregation
from drawing.characters import plain_text
from page.inputs import RefusedError, between
from page.runs import Run
from utils import as_ranges, numbers_of
from views import View
from visualization import Look

WHOLE_ANSWER = "all"
DASH = "–"  # in ranges that are read, not typed


# --- Picks --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pick:
    """One or more tokens of the answer, or of the prompt."""

    tokens: tuple[int, ...]
    of_prompt: bool = False

    @property
    def key(self) -> str:
        """The pick as it can be typed: "3", "3-5", for the prompt "p3"."""
        return ("p" if self.of_prompt else "") + as_ranges(self.tokens)


def pick_of(key: str, run: Run) -> Pick:
    """Return the pick that a key names: "all", "3", "-1", "0-3,5", or of the prompt "p0", "p1-2", "pall".

    Raises:
        ValueError: one line, for a token that is not there or a key that is none.
    """
    of_prompt = key.strip().startswith("p")
    capture = run.capture
    count = len(capture.prompt_token_ids if of_prompt else capture.token_ids)
    if count == 0:
        raise ValueError("The answer is empty: there is no token to show.")
    tokens = numbers_of(key.strip().removeprefix("p"), count, "prompt token" if of_prompt else "token")
    return Pick(tokens, of_prompt)


def first_pick(run: Run) -> Pick | None:
    """Return the word with the largest share of its attention on the image; None if there is no word.

    Of words with a letter or a digit in them, where there are any.
    """
    words = run.processor.words()
    spoken = [word for word in words if any(map(str.isalnum, word.text))] or words
    if not spoken:
        return None
    return Pick(max(spoken, key=lambda word: run.processor.shares(word.tokens)[0]).tokens)


def choices(run: Run) -> list[tuple[str, str]]:
    """Return (label, key) for the token list: the whole answer, words, their tokens, prompt words."""
    capture, processor = run.capture, run.processor
    listed: dict[str, str] = {}
    if capture.token_ids:
        listed[WHOLE_ANSWER] = f"the whole answer ({len(capture.token_ids)} tokens)"
    for of_prompt, words in ((False, processor.words()), (True, processor.prompt_words())):
        for word in words:
            parts = word.tokens if len(word.tokens) > 1 else ()
            for tokens in (word.tokens, *((part,) for part in parts)):
                pick = Pick(tokens, of_prompt)
                listed.setdefault(pick.key, label(pick, run))
    return [(text, key) for key, text in listed.items()]


def label(pick: Pick, run: Run) -> str:
    """Return what is picked in words: `token 3 " red"`, `prompt tokens 1–2 "image"`."""
    capture = run.capture
    shown = capture.prompt_tokens if pick.of_prompt else capture.tokens
    if not pick.of_prompt and len(pick.tokens) == len(shown) > 1:
        return f"the whole answer ({len(shown)} tokens)"
    several = "s" if len(pick.tokens) > 1 else ""
    return f'{"prompt " * pick.of_prompt}token{several} {as_ranges(pick.tokens, DASH)} "{text_of(pick, run)}"'


def text_of(pick: Pick, run: Run) -> str:
    """Return the picked tokens' own text on one line, a space before it included."""
    capture = run.capture
    text = capture.prompt if pick.of_prompt else capture.text
    spans = capture.prompt_token_spans if pick.of_prompt else capture.token_spans
    shown = capture.prompt_tokens if pick.of_prompt else capture.tokens
    if len(pick.tokens) == 1:
        return plain_text(shown[pick.tokens[0]])
    start, end = spans[pick.tokens[0]][0], spans[pick.tokens[-1]][1]
    return plain_text(text[start:end].strip())


# --- Words to click -----------------------------------------------------------------------------------------


# --- Maps of a choice ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """What is shown: tokens, layers and heads, and how these are folded into one map."""

    pick: Pick
    layers: tuple[int, ...]  # decoder layer numbers
    heads: tuple[int, ...]
    aggregation: Aggregation

    @classmethod
    def of(cls, run: Run, key: str, layers: str, heads: str, aggregation: str) -> "Choice":
        """Return what was typed or clicked: a token key, layers and heads such as "all" or "0-3,5".

        Layers that were not recorded are left out.

        Raises:
            ValueError: one line, if nothing is left or something is not there.
        """
        capture = run.capture
        asked = numbers_of(layers, capture.layer_count, "layer")
        recorded = tuple(layer for layer in asked if layer in capture.layers)
        if not recorded:
            raise ValueError(
                f"None of these layers was recorded; recorded: {as_ranges(capture.layers, DASH)}."
            )
        heads_asked = numbers_of(heads, capture.attention.shape[2], "head")
        return cls(pick_of(key, run), recorded, heads_asked, cast(Aggregation, aggregation))


def attention_map(run: Run, choice: Choice, pick: Pick | None = None) -> np.ndarray:
    """Return the map (h, w) of the choice, or of another pick under the same layers and heads."""
    pick = pick or choice.pick
    processor = run.processor
    fold = (
        processor.get_attention_heatmap_for_prompt_token
        if pick.of_prompt
        else processor.get_attention_heatmap_for_token
    )
    return fold(pick.tokens, choice.layers, choice.heads, choice.aggregation)


def choice_of(run: Run, key: str, ranges: Sequence[Any]) -> Choice:
    """Return a pick with the layers and heads that the sliders say: two ends of each, and the aggregation."""
    layer_from, layer_to, head_from, head_to, aggregation = ranges
    layers = between(layer_from, layer_to, run.capture.layer_count, "layer")
    heads = between(head_from, head_to, run.capture.attention.shape[2], "head")
    return Choice.of(run, key, layers, heads, aggregation)


def look_of(look: Any) -> tuple[Look, Literal["own", "shared"]]:
    """Return how the viewer draws, and its scale, from what it says of itself; None is config's look.

    Raises:
        ValueError: one line, for what is no look.
    """
    if look is None:
        return Look(), config.HEATMAP_SCALE  # type: ignore[return-value]
    if not isinstance(look, dict) or look.get("scale") not in ("own", "shared"):
        raise RefusedError("The look must have opacity, contrast, colormap, view, cells and scale.")
    contrast, opacity = (number(look.get(name), name) for name in ("contrast", "opacity"))
    if not -3 <= contrast <= 3:
        raise RefusedError("The contrast must be a number from -3 to 3.")
    view = "overlay" if look.get("view") == "wipe" else str(look.get("view"))
    drawn_as = Look(
        str(look.get("colormap")),
        opacity,
        view,
        look.get("cells") == "smooth",
        gamma=2.0**contrast,
    )
    return drawn_as, look["scale"]


def number(value: Any, name: str) -> float:
    """Return a number; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RefusedError(f"The {name} must be a number.")
    return float(value)


def view_of(run: Run, ranges: Sequence[Any], key: Any = "all", by: Any = "word", look: Any = None) -> View:
    """Return what of an answer is shown: a pick or "all" of it, a map for each word or token, attention."""
    if by not in ("word", "token"):
        raise RefusedError("A map is for each word or token.")
    every = "all" if run.capture.token_ids else "pall"
    choice = choice_of(run, key if isinstance(key, str) else every, ranges)
    drawn_as, scale = look_of(look)
    return View(
        layers=choice.layers,
        heads=choice.heads,
        aggregation=choice.aggregation,
        tokens=None if key in (None, "all") else choice.pick.tokens,
        by=by,
        of_prompt=choice.pick.of_prompt,
        look=drawn_as,
        scale=scale,
    )


def alone_of(chosen: Any, run: Run) -> list[int]:
    """Return the ends of layers and of heads for [layer, head]; None is all of them."""
    if not isinstance(chosen, list) or len(chosen) != 2:
        raise RefusedError("Choose a layer and a head.")
    counts = {"layer": run.capture.layer_count, "head": run.capture.attention.shape[2]}
    ends: list[int] = []
    for number, (name, count) in zip(chosen, counts.items(), strict=True):
        numbers = range(count) if number is None else numbers_of(str(number), count, name)
        ends += [numbers[0], numbers[-1]]
    return ends


def shared_range(run: Run, choice: Choice) -> tuple[float, float]:
    """Return (lowest, highest) over the maps of every token of the answer and of the prompt."""
    key = (choice.layers, choice.heads, choice.aggregation)
    if key not in run.ranges:
        capture = run.capture
        tokens = [Pick((token,)) for token in range(len(capture.token_ids))]
        tokens += [Pick((token,), of_prompt=True) for token in range(len(capture.prompt_token_ids))]
        run.ranges[key] = visualization.shared_range(attention_map(run, choice, token) for token in tokens)
    return run.ranges[key]


SCALE_LABELS = {
    "mean": "share of attention",
    "max": "highest share of attention",
    "min": "lowest share of attention",
}


def drawn(
    run: Run, choice: Choice, colormap: str, alpha: float, view: str, cells: str, scale: str
) -> Image.Image:
    """Return the picture under the choice's map, with its colour bar. `cells` is "cells" or "smooth"."""
    low, high = shared_range(run, choice) if scale == "shared" else (None, None)
    return visualization.visualize_attention_on_image(
        run.picture,
        attention_map(run, choice),
        colormap=colormap,
        alpha=alpha,
        view=view,
        smooth=cells == "smooth",
        vmin=low,
        vmax=high,
        scale_label=SCALE_LABELS[choice.aggregation],
    )


def caption(run: Run, choice: Choice) -> str:
    """Return the line beneath the picture: what is shown, where attention went, how likely it was."""
    pick, capture = choice.pick, run.capture
    parts = [
        label(pick, run),
        f"layer{'s' if len(choice.layers) > 1 else ''} {as_ranges(choice.layers, DASH)}",
        f"head{'s' if len(choice.heads) > 1 else ''} {as_ranges(choice.heads, DASH)}",
        choice.aggregation,
        _shares_text(run, choice),
    ]
    whole = len(pick.tokens) == len(capture.token_ids) > 1
    if not pick.of_prompt and not whole:
        parts.append(_probability(math.exp(float(capture.logprobs[list(pick.tokens)].sum()))))
    return " · ".join(parts)


def _shares_text(run: Run, choice: Choice) -> str:
    pick = choice.pick
    shares = run.processor.prompt_shares if pick.of_prompt else run.processor.shares
    image, prompt, answer = (
        f"{share:.0%}".replace("%", " %") for share in shares(pick.tokens, choice.layers, choice.heads)
    )
    rest = f"prompt {prompt}" if pick.of_prompt else f"prompt {prompt}, answer so far {answer}"
    return f"{image} of its attention on the image ({rest})"


def _probability(p: float) -> str:
    return f"p = {p:.2f}" if p >= 0.005 else "p < 0.01"
