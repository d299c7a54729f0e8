"""What of an answer is shown: chosen tokens or words, as maps to draw, and in words.

Goes in: a `Subject`: a `Capture`, a `Selection` and its maps. Comes out: `Drawing`s, and in words what they
were made from and what they do not prove. Of several pictures, and of a clip's steps, a `Subject` shows one
(`Selection.visual`, `frame`); parts.py has all of them. Knows nothing of models and files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import visualization
from attention_processor import AttentionProcessor
from drawing.boxes import NO_BOXES, Boxes
from drawing.characters import isolated
from drawing.colour_bar import number_labels
from drawing.fonts import font_notes
from drawing.outline import whole_of
from records.boxes import BoxReading, box_reading
from records.generation import generation_text
from records.keep import kept_pairs, pairs_text
from records.look import Look, Whole
from records.map_check import MapCheck
from records.selection import Selection, scale_text
from records.token_maps import SelectedMaps, TokenMaps
from records.turns import Turn
from records.visuals import Visual, is_picture, plane_number, planes_of
from records.words import Word
from report.boxes import boxes_facts, boxes_of
from report.crops import crop_facts
from report.places import place_of, visuals_facts
from utils import alone_or_list, as_ranges, one_line

if TYPE_CHECKING:
    from records.capture import Capture

TITLE = "Where each word looks"
UNPROVEN = "What it does not prove"


# --- What is shown ------------------------------------------------------------------------------------------


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
    scale_label: str
    unit: str
    boxes: Boxes = NO_BOXES  # of the answer; those that the drawn tokens spell stand out
    place: str = "the image"  # what is drawn on: a picture, one of several, a step of a clip
    whole: Whole | None = None  # of several pictures and steps: what the map holds on all of them
    crossed: tuple[int, ...] = ()  # cells (row * w + col) of which nothing is claimed
    tokens: tuple[int, ...] = ()  # whose map it is

    def look(self, look: Look) -> Look:
        """Return how this one is drawn."""
        return replace(look, whole=self.whole, crossed=self.crossed)


@dataclass(frozen=True, eq=False)
class Subject:
    """What is shown or written: an answer, what of it is chosen, and its maps."""

    capture: Capture
    selection: Selection
    maps: SelectedMaps
    without: NDArray[np.float32] | None = None  # (token,): log p without the picture, where that is known
    checks: tuple[MapCheck, ...] = ()  # maps of the answer that were tested
    # Shares of attention (plane,) by what they are of: reading all that was recorded takes a while.
    known: dict[Any, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    def choosing(self, **changes: Any) -> Subject:
        """Return the same answer and maps under a changed selection."""
        return replace(self, selection=replace(self.selection, **changes))

    @property
    def found(self) -> TokenMaps:
        """The maps of the side that is chosen: the answer's, or the prompt's."""
        side = self.maps.prompt if self.selection.of_prompt else self.maps.answer
        if side is None:
            raise ValueError("the answer is empty: there is nothing to draw")
        return side

    @cached_property
    def processor(self) -> AttentionProcessor:
        """Shares and words of the capture."""
        return AttentionProcessor(self.capture)

    @cached_property
    def boxes(self) -> BoxReading:
        """The boxes of the answer, and what a person should know of them."""
        return box_reading(self.capture, self.selection.visual)

    @property
    def text(self) -> str:
        """The answer, or the prompt."""
        return self.capture.prompt if self.selection.of_prompt else self.capture.text

    @property
    def shown(self) -> tuple[str, ...]:
        """The display text of each token there is."""
        return self.capture.prompt_tokens if self.selection.of_prompt else self.capture.tokens

    @property
    def tokens(self) -> tuple[int, ...]:
        """The chosen tokens."""
        chosen = self.selection.tokens
        return tuple(range(len(self.shown))) if chosen is None else chosen

    def words(self) -> list[tuple[int, Word]]:
        """Return each word that has one of the chosen tokens, with its number."""
        words = self.processor.prompt_words() if self.selection.of_prompt else self.processor.words()
        chosen = set(self.tokens)
        return [(index, word) for index, word in enumerate(words) if not chosen.isdisjoint(word.tokens)]

    def token(self, token: int) -> Word:
        """Return a token as if it were a word."""
        of_prompt = self.selection.of_prompt
        spans = self.capture.prompt_token_spans if of_prompt else self.capture.token_spans
        return Word(self.shown[token], (token,), *spans[token])

    @property
    def visual(self) -> Visual:
        """The picture or clip that is shown, of several the chosen one."""
        return self.capture.visuals[self.selection.visual]

    @property
    def place(self) -> str:
        """What is shown is called: "the image", "picture 2 of 3", "the clip at 1.25 s"."""
        return place_of(self.capture.visuals, self.selection.visual, self.selection.frame)

    def heat(self, tokens: int | Sequence[int]) -> NDArray[np.float32]:
        """Return the map (h, w) of a token, or of several, on the picture or the step that is shown."""
        return self.found.token_map(tokens, self.selection.visual, self.selection.frame)

    def on_image(self, tokens: Sequence[int]) -> float:
        """Return the share of the tokens' attention that is on the picture or step that is shown, 0..1."""
        if not is_picture(self.capture.visuals):
            place = plane_number(self.capture.visuals, self.selection.visual, self.selection.frame)
            return float(self.plane_shares(tokens)[place])
        shares = self.processor.prompt_shares if self.selection.of_prompt else self.processor.shares
        return float(shares(tokens, self.selection.layers, self.selection.heads)[0])

    def plane_shares(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the share of the tokens' attention on each picture and step (plane,), 0..1."""
        chosen = self.selection
        key = (tuple(tokens), chosen.layers, chosen.heads, chosen.of_prompt)
        if key not in self.known:
            shares_of = self.processor.plane_shares
            self.known[key] = shares_of(tokens, chosen.layers, chosen.heads, of_prompt=chosen.of_prompt)
        return self.known[key]


def drawings(subject: Subject) -> list[Drawing]:
    """Return a drawing for each chosen token, or for each word that has one of them, in order."""
    if subject.selection.by == "word":
        return [_one(subject, index, word) for index, word in subject.words()]
    return [_one(subject, index, subject.token(index)) for index in subject.tokens]


def whole_drawing(subject: Subject) -> Drawing:
    """Return one drawing of all chosen tokens together: the mean of their maps."""
    words = [(index, word) for index, word in subject.words() if word.tokens == subject.tokens]
    if len(subject.tokens) == 1 and (subject.selection.by == "token" or not words):
        alone = subject.tokens[0]
        return _one(subject.choosing(by="token"), alone, subject.token(alone))
    if words:
        return _one(subject.choosing(by="word"), *words[0])
    return _several(subject)


def _one(subject: Subject, index: int, word: Word) -> Drawing:
    kind = f"{'prompt_' * subject.selection.of_prompt}{subject.selection.by}"
    return _drawing(subject, f"{kind}_{index:03d}", f"{kind.replace('_', ' ')} {index}", word)


def _several(subject: Subject) -> Drawing:
    tokens, of_prompt = subject.tokens, subject.selection.of_prompt
    start, end = subject.token(tokens[0]).start, subject.token(tokens[-1]).end
    kind = f"{'prompt_' * of_prompt}tokens"
    title = f"{kind.replace('_', ' ')} {as_ranges(tokens)}"
    if len(tokens) == len(subject.shown):
        title = f"the whole {'prompt' if of_prompt else 'answer'}"
    word = Word(subject.text[start:end].strip(), tokens, start, end)
    return _drawing(subject, f"{kind}_{tokens[0]:03d}_{tokens[-1]:03d}", title, word)


def _drawing(subject: Subject, name: str, title: str, word: Word) -> Drawing:
    found, on_image = subject.found, subject.on_image(word.tokens)
    return Drawing(
        name=name,
        title=f"{title} “{isolated(word.text)}”",
        subtitle=f"{number_labels([on_image])[0]} of attention on {subject.place} · {found.line}",
        values=subject.heat(word.tokens),
        text=word.text,
        span=(word.start, word.end),
        on_image=on_image,
        scale_label=found.row.scale_label,
        unit=found.row.shown_unit,
        place=subject.place,
        whole=_whole(subject, word.tokens),
        crossed=_crossed(subject),
        tokens=tuple(word.tokens),
        boxes=boxes_of(subject.visual, subject.boxes, _spelling(subject, word.tokens)),
    )


def _spelling(subject: Subject, tokens: Sequence[int]) -> Sequence[int]:
    """Return the tokens whose boxes stand out: none for a word of the prompt, and for the whole answer."""
    is_all = len(tokens) == len(subject.capture.token_ids)
    return () if subject.selection.of_prompt or is_all else tokens


def _whole(subject: Subject, tokens: Sequence[int]) -> Whole | None:
    """Return what a map holds on all pictures and steps, where there is more than one picture."""
    if is_picture(subject.capture.visuals):
        return None
    return whole_of(subject.found.mean_map(tokens).astype(np.float64))


def coloured(subject: Subject) -> Look:
    """Return the selection's look; for a shared scale, with the range over all tokens that have maps."""
    selection, sides = subject.selection, [side for side in subject.maps if side is not None]
    look = replace(selection.look, crossed=_crossed(subject))
    if selection.scale == "own" or look.vmin is not None or look.has_range:
        return look
    flat = (one.reshape(1, -1) for side in sides for one in side.maps)
    return visualization.shared_look(look, flat)


def _crossed(subject: Subject) -> tuple[int, ...]:
    """Return which cells (row * w + col) of what is shown were left out as sinks."""
    removed = next(side for side in subject.maps if side is not None).removed or ()
    chosen, visuals = subject.selection, subject.capture.visuals
    here = planes_of(visuals)[plane_number(visuals, chosen.visual, chosen.frame)].patches
    return tuple(patch - here.start for patch in removed if here.start <= patch < here.stop)


# --- What every file says -----------------------------------------------------------------------------------


def facts(subject: Subject) -> dict[str, str]:
    """Return what the maps were made from, and what they do not prove, as (name: text)."""
    capture, selection = subject.capture, subject.selection
    return {
        "Model": capture.model_name,
        **({} if capture.system is None else {"System prompt": capture.system or "empty"}),
        **turns_facts(capture.history),
        "Question": capture.prompt,
        "Answer": capture.text + (" (stopped early)" if capture.stopped else ""),
        **boxes_facts(subject.boxes),
        **method_facts(subject),
        "Scale": scale_text(selection.scale, selection.look.colormap),
        **visuals_facts(capture.visuals),
        **crop_facts(capture),
        "Generation": generation_text(capture.settings),
        **({"Self-test": capture.settings["verified"]} if "verified" in capture.settings else {}),
        UNPROVEN: subject.found.row.caveat,
    }


def turns_facts(history: Sequence[Turn]) -> dict[str, str]:
    """Return the questions and answers before this one."""
    return {f"Turn {i}": f"{turn.prompt} → {turn.text}" for i, turn in enumerate(history, start=1)}


def method_facts(subject: Subject) -> dict[str, str]:
    """Return the method, and what it was told or folded over."""
    capture, selection, found = subject.capture, subject.selection, subject.found
    if not found.as_it_is:
        unit = f" ({found.row.shown_unit})" * (found.row.shown_unit not in ("", "%"))
        return {"Method": found.label, "Values": found.row.scale_label + unit, "Settings": found.how}
    asked = "the row in which the token itself asks"
    row = asked if selection.of_prompt else "the row that predicted the token"
    return {
        "Method": f"attention of {row}, {selection.aggregation} over layers and heads",
        "Layers": f"{as_ranges(selection.layers)} of 0-{capture.layer_count - 1}",
        "Heads": _heads_text(subject),
    }


def _heads_text(subject: Subject) -> str:
    """Return the heads that attention is folded over: "0-3 of 0-15", or the pairs that were kept."""
    capture, selection = subject.capture, subject.selection
    if selection.heads is None:
        return f"{pairs_text(kept_pairs(capture, selection.layers))}, which were kept"
    return f"{as_ranges(selection.heads)} of 0-{capture.head_count - 1}"


def as_text(said: Mapping[str, str]) -> str:
    """Return facts as lines "Name: text"."""
    return "\n".join(f"{name}: {text}" for name, text in said.items())


def notes_below(said: Mapping[str, str]) -> list[str]:
    """Return the lines below a picture."""
    names = ("Layers", "Heads", "Values", "Settings", "Scale")
    short = " · ".join(f"{name.lower()} {said[name]}" for name in names if name in said)
    return [
        f"{isolated(one_line(said['Question']))} → {isolated(one_line(said['Answer']))}",
        f"{said['Model']} · {said['Method']} · {short}",
        said[UNPROVEN],
    ]


def unwritten(subject: Subject) -> tuple[str, ...]:
    """Return a note if letters of the question or the answer are drawn as code points, for want of a font."""
    return font_notes(subject.capture.prompt + subject.capture.text)


def short_id(capture: Capture) -> str:
    """Return 8 hexadecimal digits that tell one answer's files from another's."""
    picture = alone_or_list([visual.hash for visual in capture.visuals])
    said = [capture.model_name, picture, capture.prompt, list(capture.token_ids), capture.settings]
    said += [asdict(turn) for turn in capture.history]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]


def bounded(found: Sequence[Drawing], limit: int, what: str) -> tuple[list[Drawing], tuple[str, ...]]:
    """Return at most so many, in even steps, and a note where some were left out."""
    if len(found) <= limit:
        return list(found), ()
    steps = np.linspace(0, len(found) - 1, limit).round().astype(int)
    note = f"{what} shows {limit} of {len(found)} maps, in even steps; choose fewer tokens to see each."
    return [found[step] for step in steps], (note,)
