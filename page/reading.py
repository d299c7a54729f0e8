"""What a person picks and reads: words to click, the list of tokens, the map of a choice, its caption.

Goes in: a `Run` and what was chosen on the page. Comes out: plain data, texts, maps (h, w) and pictures.
Knows nothing of Gradio.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from PIL import Image

import config
import viewer
import visualization
from methods import METHODS, Method, selected_maps
from page.inputs import RefusedError, between
from page.runs import Run
from records.look import Look
from records.selection import Selection, parsed_selection, parsed_tokens
from report.view import Subject, coloured, whole_drawing
from utils import as_ranges, numbers_of

ATTENTION = "attention"  # what an answer begins with: it is there at once
WHOLE_ANSWER = "all"
DASH = "–"


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
    return Pick(*parsed_tokens(run.capture, key))


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
        return visualization.plain_text(shown[pick.tokens[0]])
    start, end = spans[pick.tokens[0]][0], spans[pick.tokens[-1]][1]
    return visualization.plain_text(text[start:end].strip())


# --- What is selected ---------------------------------------------------------------------------------------


def method_asked(name: Any) -> Method:
    """Return the method of that name; ValueError for none of the catalogue."""
    if not isinstance(name, str) or name not in METHODS:
        raise RefusedError(f"The method must be one of {', '.join(METHODS)}.")
    return METHODS[name]


def selection_of(
    run: Run,
    ranges: Sequence[Any],
    key: Any = None,
    by: Any = "word",
    look: Any = None,
    method: Any = ATTENTION,
    no_sinks: Any = False,
) -> Selection:
    """Return what of an answer is shown, as the page's controls say it.

    `ranges` are the sliders: two ends of layers, of heads, and the aggregation. `key` is a pick; None is all
    of the answer, or of the prompt where the answer is empty. `look` is what the viewer says of itself.

    Raises:
        ValueError: one line, for what is none or not there.
    """
    row, capture = method_asked(method), run.capture
    layer_from, layer_to, head_from, head_to, aggregation = ranges
    every = "pall" if row.of_prompt and not capture.token_ids else WHOLE_ANSWER
    drawn_as, scale = look_of(look)
    return parsed_selection(
        capture,
        key if isinstance(key, str) else every,
        between(layer_from, layer_to, capture.layer_count, "layer"),
        between(head_from, head_to, capture.attention.shape[2], "head"),
        aggregation=aggregation,
        by=by,
        method=method,
        no_sinks=row.sinks and no_sinks is True,
        look=drawn_as,
        scale=scale,
    )


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


# --- What is shown of it ------------------------------------------------------------------------------------


def subject_of(run: Run, selection: Selection) -> Subject:
    """Return the answer with its selected maps; ValueError if a method has to read it again first."""
    return Subject(run.capture, selection, selected_maps(run.capture, selection, run.maps))


def explored(
    run: Run, run_id: str, key: str, ranges: Sequence[Any], method: Any, no_sinks: Any
) -> dict[str, Any]:
    """Return what the viewer shows of an answer, without its picture; `key` is picked if nothing is yet."""
    selection = selection_of(run, ranges, method=method, no_sinks=no_sinks)
    maps = subject_of(run, selection).maps
    leaned = viewer.leaned_on(run.capture, selection.layers)
    return {**viewer.payload(run.capture, None, *maps, pick=key, leaned=leaned), "run": run_id}


SCALE_LABELS = {
    "mean": "share of attention",
    "max": "highest share of attention",
    "min": "lowest share of attention",
}


def drawn(run: Run, subject: Subject) -> Image.Image:
    """Return the picture under the map of the chosen tokens together, with its colour bar."""
    one, selection = whole_drawing(subject), subject.selection
    label = SCALE_LABELS[selection.aggregation] if selection.row.folds else one.scale_label
    return visualization.visualize_attention_on_image(
        run.picture, one.values, **asdict(coloured(subject)), scale_label=label, unit=one.unit
    )


def caption(run: Run, subject: Subject) -> str:
    """Return the line beneath the picture: what is shown, where attention went, how likely it was."""
    capture, selection = run.capture, subject.selection
    pick = Pick(subject.tokens, selection.of_prompt)
    parts = [label(pick, run), *_made_of(subject), _shares_text(subject)]
    whole = len(pick.tokens) == len(capture.token_ids) > 1
    if not pick.of_prompt and not whole:
        parts.append(_probability(math.exp(float(capture.logprobs[list(pick.tokens)].sum()))))
    return " · ".join(parts)


def _made_of(subject: Subject) -> list[str]:
    """Return what the map was made of: layers, heads and aggregation of attention, else the method's line."""
    selection = subject.selection
    if not subject.found.as_it_is:
        return [subject.found.line]
    return [
        f"layer{'s' if len(selection.layers) > 1 else ''} {as_ranges(selection.layers, DASH)}",
        f"head{'s' if len(selection.heads) > 1 else ''} {as_ranges(selection.heads, DASH)}",
        selection.aggregation,
    ]


def _shares_text(subject: Subject) -> str:
    selection, processor = subject.selection, subject.processor
    shares = processor.prompt_shares if selection.of_prompt else processor.shares
    image, prompt, answer = (
        f"{share:.0%}".replace("%", " %")
        for share in shares(subject.tokens, selection.layers, selection.heads)
    )
    rest = f"prompt {prompt}" if selection.of_prompt else f"prompt {prompt}, answer so far {answer}"
    return f"{image} of its attention on the image ({rest})"


def _probability(p: float) -> str:
    return f"p = {p:.2f}" if p >= 0.005 else "p < 0.01"
