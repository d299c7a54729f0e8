"""What of a capture is shown: chosen tokens or words, layers and heads, as maps to draw and as numbers.

Goes in: a `Capture` and a `View`. Comes out: `Drawing`s, arrays, and in words what they were made from and
what they do not prove. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

import visualization
from attention_processor import Aggregation, AttentionProcessor
from drawing.characters import isolated
from drawing.colour_bar import number_labels
from records.words import Word
from utils import NamedArrays, as_ranges, described_arrays
from visualization import Look

if TYPE_CHECKING:
    from records.capture import Capture

TITLE = "Where each word looks"
UNPROVEN = "What it does not prove"
CAVEAT = (
    "Attention shows where the model looked, not why it chose a word: the word might be the same without "
    "that part of the picture, and some cells draw attention whatever the word."
)
SCALES = {
    "own": "each map from its own lowest to its own highest value",
    "shared": "one range for all tokens of question and answer",
}


# --- What is shown ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Made:
    """Maps of every token of the answer, made by another method than folding attention, and what they are."""

    label: str  # of the method: "Gradient norm"
    values: str  # what one number is, for the colour bar
    unit: str  # "%": values are shares; else shown as they are, before the unit
    caveat: str  # what the maps do not prove
    how: str  # layers and settings, on one line
    maps: NDArray[np.float32]  # (token, h, w)
    removed: tuple[int, ...] = ()  # patches left out as sinks: marked wherever the map is drawn


@dataclass(frozen=True)
class View:
    """What of a capture is shown, and how."""

    layers: tuple[int, ...]  # decoder layer numbers
    heads: tuple[int, ...]
    aggregation: Aggregation = "mean"
    tokens: tuple[int, ...] | None = None  # None: all of them
    by: Literal["token", "word"] = "word"  # what gets a map of its own where there are several
    of_prompt: bool = False  # the tokens are those of the prompt
    look: Look = field(default_factory=Look)
    scale: Literal["own", "shared"] = "own"
    made: Made | None = None  # None: attention, folded over the layers and heads

    def __str__(self) -> str:
        if self.made is not None:
            return f"{self.made.label} · {self.made.how}"
        return f"layers {as_ranges(self.layers)} · heads {as_ranges(self.heads)} · {self.aggregation}"


@dataclass(frozen=True)
class Drawing:
    """One map to draw: a name for files, a title, the smaller line below it, and the map."""

    name: str
    title: str
    subtitle: str
    values: NDArray[np.float32]  # (h, w)
    text: str
    span: tuple[int, int]  # of the answer's characters, or of the prompt's
    on_image: float  # share of attention on the image, 0..1
    scale_label: str = "share of attention"
    unit: str = "%"


def drawings(capture: Capture, view: View) -> list[Drawing]:
    """Return a drawing for each chosen token, or for each word that has one of them, in order."""
    subject = _Subject(capture, view)
    if view.by == "word":
        return [subject.drawing(index, word) for index, word in subject.words()]
    return [subject.drawing(index, subject.token(index)) for index in subject.tokens]


def whole_drawing(capture: Capture, view: View) -> Drawing:
    """Return one drawing of all chosen tokens together: the mean of their maps."""
    subject = _Subject(capture, view)
    words = [(index, word) for index, word in subject.words() if word.tokens == subject.tokens]
    if len(subject.tokens) == 1 and (view.by == "token" or not words):
        alone = subject.tokens[0]
        return _Subject(capture, replace(view, by="token")).drawing(alone, subject.token(alone))
    if words:
        return _Subject(capture, replace(view, by="word")).drawing(*words[0])
    return subject.several()


@dataclass(frozen=True)
class _Subject:
    """The answer, or the prompt, of a capture under a view."""

    capture: Capture
    view: View

    @property
    def processor(self) -> AttentionProcessor:
        return AttentionProcessor(self.capture)

    @property
    def text(self) -> str:
        return self.capture.prompt if self.view.of_prompt else self.capture.text

    @property
    def shown(self) -> tuple[str, ...]:
        return self.capture.prompt_tokens if self.view.of_prompt else self.capture.tokens

    @property
    def tokens(self) -> tuple[int, ...]:
        return tuple(range(len(self.shown))) if self.view.tokens is None else self.view.tokens

    def words(self) -> list[tuple[int, Word]]:
        words = self.processor.prompt_words() if self.view.of_prompt else self.processor.words()
        chosen = set(self.tokens)
        return [(index, word) for index, word in enumerate(words) if not chosen.isdisjoint(word.tokens)]

    def token(self, token: int) -> Word:
        spans = self.capture.prompt_token_spans if self.view.of_prompt else self.capture.token_spans
        return Word(self.shown[token], (token,), *spans[token])

    def drawing(self, index: int, word: Word) -> Drawing:
        kind = f"{'prompt_' * self.view.of_prompt}{self.view.by}"
        return self._drawing(f"{kind}_{index:03d}", f"{kind.replace('_', ' ')} {index}", word)

    def several(self) -> Drawing:
        ends = [self.token(token) for token in (self.tokens[0], self.tokens[-1])]
        start, end = ends[0].start, ends[1].end
        kind = f"{'prompt_' * self.view.of_prompt}tokens"
        name = f"{kind}_{self.tokens[0]:03d}_{self.tokens[-1]:03d}"
        title = f"{kind.replace('_', ' ')} {as_ranges(self.tokens)}"
        if len(self.tokens) == len(self.shown):
            title = f"the whole {'prompt' if self.view.of_prompt else 'answer'}"
        return self._drawing(name, title, Word(self.text[start:end].strip(), self.tokens, start, end))

    def _drawing(self, name: str, title: str, word: Word) -> Drawing:
        view, processor = self.view, self.processor
        fold, shares = processor.get_attention_heatmap_for_token, processor.shares
        if view.of_prompt:
            fold, shares = processor.get_attention_heatmap_for_prompt_token, processor.prompt_shares
        on_image = float(shares(word.tokens, view.layers, view.heads)[0])
        made = view.made
        if made is not None and view.of_prompt:
            raise ValueError(f"{made.label} explains words of the answer, not of the prompt")
        return Drawing(
            name=name,
            title=f"{title} “{isolated(word.text)}”",
            subtitle=f"{number_labels([on_image])[0]} of attention on the image · {view}",
            values=fold(word.tokens, view.layers, view.heads, view.aggregation)
            if made is None
            else made.maps[list(word.tokens)].mean(axis=0),
            text=word.text,
            span=(word.start, word.end),
            on_image=on_image,
            **({} if made is None else {"scale_label": made.values, "unit": made.unit}),
        )


def coloured(capture: Capture, view: View) -> Look:
    """Return the view's look; for a shared scale, with the range over all tokens of prompt and answer."""
    look = view.look if view.made is None else replace(view.look, crossed=view.made.removed)
    if view.scale == "own" or look.vmin is not None:
        return look
    sides = [
        replace(view, tokens=None, by="token", of_prompt=of_prompt)
        for of_prompt in ((False, True) if view.made is None else (False,))
    ]
    low, high = visualization.shared_range(one.values for side in sides for one in drawings(capture, side))
    return replace(look, vmin=low, vmax=high)


# --- What every file says -----------------------------------------------------------------------------------


def facts(capture: Capture, view: View) -> dict[str, str]:
    """Return what the maps were made from, and what they do not prove, as (name: text)."""
    (h, w), (height, width) = capture.grid, capture.image_size
    settings = capture.settings
    row = "the row in which the token itself asks" if view.of_prompt else "the row that predicted the token"
    made = "drawn" if settings.get("temperature") else "greedy"
    how = [made, *(f"{name.replace('_', ' ')} {value}" for name, value in sorted(settings.items()))]
    method = {
        "Method": f"attention of {row}, {view.aggregation} over layers and heads",
        "Layers": f"{as_ranges(view.layers)} of 0-{capture.layer_count - 1}",
        "Heads": f"{as_ranges(view.heads)} of 0-{capture.prompt_attention.shape[2] - 1}",
    }
    if view.made is not None:
        made_unit = f" ({view.made.unit})" * (view.made.unit not in ("", "%"))
        method = {
            "Method": view.made.label,
            "Values": view.made.values + made_unit,
            "Settings": view.made.how,
        }
    return {
        "Model": capture.model_name,
        "Question": capture.prompt,
        "Answer": capture.text + (" (stopped early)" if capture.stopped else ""),
        **method,
        "Scale": f"{view.scale}: {SCALES[view.scale]}",
        "Picture": f"{width} × {height} pixels, {w} × {h} visual tokens",
        "Generation": ", ".join(how),
        UNPROVEN: CAVEAT if view.made is None else view.made.caveat,
    }


# --- Numbers ------------------------------------------------------------------------------------------------


def arrays_of(capture: Capture, views: Sequence[View], drawing: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the maps of some views of one capture (same layers and heads) with what they were made from."""
    view = views[0]
    found: dict[str, tuple[NDArray[Any], str]] = {}
    for one in views:
        found |= (_token_arrays(capture, one) if not one.of_prompt else {}) | (
            _word_arrays(capture, one) if one.by == "word" else {}
        )
    arrays: NamedArrays = {
        **found,
        "layers": (np.array(view.layers), "layer"),
        "heads": (np.array(view.heads), "head"),
    }
    said = {
        "grid": capture.grid,  # (h, w)
        "image_size": capture.image_size,  # (h, w)
        "image_hash": capture.image_hash,
        "model": capture.model_name,
        "prompt": capture.prompt,
        "answer": capture.text,
        "method": facts(capture, view)["Method"],
        "aggregation": view.aggregation,
        "caveat": CAVEAT,
    }
    if view.made is not None:
        said |= {
            "method": str(view),
            "values": facts(capture, view)["Values"],
            "caveat": view.made.caveat,
        }
    return described_arrays(arrays, said, {"generation": capture.settings, "drawing": dict(drawing)})


def _token_arrays(capture: Capture, view: View) -> dict[str, tuple[NDArray[Any], str]]:
    """Return the chosen tokens' maps and what is known of each token."""
    view = replace(view, by="token")
    chosen = list(_Subject(capture, view).tokens)
    shares = [AttentionProcessor(capture).shares(token, view.layers, view.heads) for token in chosen]
    return {
        "maps": (np.stack([drawing.values for drawing in drawings(capture, view)]), "token,h,w"),
        "token_positions": (np.array(chosen), "token"),
        "token_ids": (np.array([capture.token_ids[token] for token in chosen]), "token"),
        "tokens": (np.array([capture.tokens[token] for token in chosen]), "token"),
        "logprobs": (capture.logprobs.float().cpu().numpy()[chosen], "token"),
        "shares": (np.stack(shares), "token,part"),
        "share_parts": (np.array(["image", "prompt", "answer"]), "part"),
    }


def _word_arrays(capture: Capture, view: View) -> dict[str, tuple[NDArray[Any], str]]:
    """Return the words' maps, texts and tokens; a word's tokens are filled up with -1."""
    kind = "prompt_word" if view.of_prompt else "word"
    words = [word for _, word in _Subject(capture, view).words()]
    tokens = np.full((len(words), max(len(word.tokens) for word in words)), -1)
    for row, word in zip(tokens, words, strict=True):
        row[: len(word.tokens)] = word.tokens
    return {
        f"{kind}_maps": (np.stack([drawing.values for drawing in drawings(capture, view)]), f"{kind},h,w"),
        f"{kind}s": (np.array([word.text for word in words]), kind),
        f"{kind}_tokens": (tokens, f"{kind},token of {kind}"),
    }
