"""What a person picks and reads: words to click, the list of tokens, the map of a choice, its caption.

Goes in: a `Run` and what was chosen on the page. Comes out: plain data, texts, maps (h, w) and pictures.
Knows nothing of Gradio.
"""

import math
from dataclasses import asdict
from typing import Any

from PIL import Image

import config
import viewer
import visualization
from demo.scenes import is_framed
from drawing.characters import plain_text
from methods import selected_maps
from model import DEMO
from page.selection import WHOLE_ANSWER, Controls, Pick
from page.sessions import Run
from records.keep import kept_pairs, pairs_text
from records.map_check import probability_text
from records.selection import Selection
from report.crops import crop_gain
from report.view import Subject, coloured, whole_drawing
from utils import as_ranges, one_line

DASH = "–"  # in ranges that are read, not typed


# --- Words to pick ------------------------------------------------------------------------------------------


def choices(run: Run) -> list[tuple[str, str]]:
    """Return (label, key) for the token list: the whole answer, words, their tokens, prompt words."""
    capture, processor = run.capture, run.processor
    listed: dict[str, str] = {}
    if capture.token_ids:
        listed[WHOLE_ANSWER] = f"the whole answer ({len(capture.token_ids)} tokens)"
    if run.said is not None:
        spoken = Pick(run.said)
        listed[spoken.key] = label(spoken, run)
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
    if not pick.of_prompt and pick.tokens == run.said:
        return f"the answer without its thoughts ({len(pick.tokens)} tokens)"
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


# --- What is shown of it ------------------------------------------------------------------------------------


def subject_of(run: Run, selection: Selection) -> Subject:
    """Return the answer with its selected maps, to be drawn or tested.

    Raises:
        ValueError: one line, if a method has to read the answer again first, or has not come to all of these
            tokens yet.
    """
    maps = selected_maps(run.capture, selection, run.maps)
    subject = Subject(run.capture, selection, maps, run.without, tuple(run.checks.values()))
    if selection.row.needs_model and set(subject.tokens) & set(run.missing(selection.method)):
        raise ValueError(f"{selection.row.label} has no map of this yet: choose it again, and let it finish.")
    return subject


def on_hottest(subject: Subject, *, clips: bool = True) -> Subject:
    """Return the same with that picture or clip chosen that has most of its map; without `clips` a picture.

    Raises:
        ValueError: without `clips` where there are no pictures.
    """
    return subject.choosing(visual=subject.found.hottest_visual(subject.tokens, clips=clips))


def explored(run: Run, run_id: str, controls: Controls) -> dict[str, Any]:
    """Return what the viewer shows of an answer, without its picture; also where only some maps are there."""
    selection = controls.selection(run.capture)
    payload = viewer.payload(
        run.capture,
        None,
        *selected_maps(run.capture, selection, run.maps),
        leaned=viewer.leaned_on(run.capture, selection.layers),
        without=run.without,
        checks=list(run.checks.values()),
    )
    return {**payload, "run": run_id}


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
        run.picture_of(selection.visual),
        one.values,
        **asdict(one.look(coloured(subject))),
        scale_label=label,
        unit=one.unit,
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
        _heads_text(subject),
        selection.aggregation,
    ]


def _heads_text(subject: Subject) -> str:
    heads = subject.selection.heads
    if heads is None:
        return pairs_text(kept_pairs(subject.capture, subject.selection.layers))
    return f"head{'s' if len(heads) > 1 else ''} {as_ranges(heads, DASH)}"


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
    text = probability_text(p)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def notice_of(run: Run, notes: list[str]) -> dict[str, Any] | None:
    """Return the line above an answer: that it was stopped, and what else is to be said; None for nothing."""
    if not run.capture.stopped:
        return {"kind": "note", "text": _sentences(notes)} if notes else None
    count = len(run.processor.words())
    told = f"The model was stopped after {count} word{'s' * (count != 1)}. They have their maps."
    return {
        "kind": "warn",
        "text": f"{told} {_sentences(notes)}".strip(),
        "action": {"text": "Ask again", "ask": "again"},
    }


TOYS_ONLY = (
    "This small model knows toy scenes and nothing else: what it says of this picture means nothing. "
    f"For photos, load {config.MODEL_NAME}"
)

ALONE_ONLY = (
    "this small model was taught questions that stand alone: what it says in a conversation means little"
)


def notes_of(run: Run, source: Any) -> list[str]:
    """Return what is to be said of an answer and of the pictures as they were chosen."""
    capture = run.capture
    notes = [run.note] if run.note else []
    chosen = source if isinstance(source, list) else [source]
    hidden = [one.get("hidden") for one in chosen if isinstance(one, dict)]
    notes += [f"{one_line(one, 60)} is hidden in this picture" for one in hidden if isinstance(one, str)]
    pictures = [one for one in run.originals if isinstance(one, Image.Image)]
    if capture.model_name == DEMO and not all(map(is_framed, pictures)):
        notes.append(TOYS_ONLY)
    if capture.crop is not None:
        notes.append(crop_gain(capture).removesuffix("."))
    if capture.model_name == DEMO and capture.history:
        notes.append(ALONE_ONLY)
    if run.reused and run.kept:
        notes.append(f"this answer is kept from before, by {capture.model_name}")
    if capture.settings.get("generation") == "given":
        notes.append("this answer was given, not written by the model")
    if not capture.token_ids:
        notes.append("the model gave an empty answer")
    return notes


def _sentences(notes: list[str]) -> str:
    return " ".join(f"{note[:1].upper()}{note[1:]}." for note in notes)


def tested(run: Run) -> str | None:
    """Return the pick whose map was tested last, which shows most; None lets the viewer choose."""
    return next((key for _, key in reversed(run.checks)), None)


def without_of(run: Run) -> list[float] | None:
    """Return log p of each token without the picture, where that is known."""
    return None if run.without is None else viewer.floored(run.without)
