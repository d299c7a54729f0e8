"""Held-out scenes as they are measured: questions to ask, and which words name which object."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from attention_processor import AttentionProcessor
from demo.scenes import (
    CAPTION_PROMPT,
    COLORS,
    HELD_OUT_SEED,
    THINGS,
    Question,
    Scene,
    SceneObject,
    make_scene,
)
from evaluation import Judged, JudgedWord, Sample
from evaluation.samples import function_words
from records.capture import Capture
from sets.ledger import digest

KINDS = {
    "what colour": "What color",
    "where": "Where is",
    "what is at": "What is",
    "is there": "Is there",
    "how many": "How many",
}
WRONG = "words of wrong answers"


@dataclass(frozen=True, eq=False)
class NamedToken:
    """A token of a right answer that names an object by its colour or its kind."""

    token: int
    kind: str  # "colour" or "object"
    thing: SceneObject


def held_out_scenes(count: int, objects: Sequence[int] = (1, 2, 3)) -> Iterator[Scene]:
    """Held-out scenes of all sizes, with the given numbers of objects in turn."""
    for index in range(count):
        yield held_out_scene(index, objects)


def held_out_scene(index: int, objects: Sequence[int] = (1, 2, 3)) -> Scene:
    """The held-out scene at this position."""
    return make_scene(HELD_OUT_SEED + index, n_objects=objects[index % len(objects)])


def chosen_questions(scene: Scene, index: int, count: int) -> list[tuple[str, Question]]:
    """Questions of `count` kinds about the scene, with their kinds; the kinds take turns over the scenes."""
    rng = np.random.default_rng(scene.seed)
    kinds = [list(KINDS)[(index * count + k) % len(KINDS)] for k in range(count)]
    asked = []
    for kind in kinds:
        fitting = [q for q in scene.questions if q.question.startswith(KINDS[kind])]
        if kind == "is there" and rng.random() < 0.5:  # as many absent things as present ones
            fitting = [q for q in fitting if q.answer == "No."]
        asked.append((kind, fitting[rng.integers(len(fitting))]))
    return asked


def named_tokens(scene: Scene, question: str, capture: Capture) -> list[NamedToken]:
    """The tokens of a right answer that name an object by colour or kind, each with its object.

    A caption names the objects in order, colour before thing; an answer speaks of the one it was asked for.
    """
    words = AttentionProcessor(capture).words()
    colors = [w for w in words if w.text.lower() in COLORS]
    things = [w for w in words if w.text.lower() in THINGS]
    if question == CAPTION_PROMPT:
        about = list(scene.objects)
    else:
        about = [o for o in scene.objects if question.endswith((f" {o.name}?", f"the {o.place}?"))]
    named = [NamedToken(w.tokens[0], "colour", o) for w, o in zip(colors, about, strict=False)]
    return named + [NamedToken(w.tokens[0], "object", o) for w, o in zip(things, about, strict=False)]


def judged(scene: Scene, asked: Question, capture: Capture) -> Judged:
    """The words of a right answer that name an object; those of a wrong one are left out."""
    named = named_tokens(scene, asked.question, capture)
    if capture.text != asked.answer:
        return Judged(skipped={WRONG: len(named)})
    words = tuple(JudgedWord((one.token,), one.thing.mask, one.kind) for one in named)
    return Judged(words, function_words(capture))


def samples(count: int, questions: int = 1) -> Iterator[Sample]:
    """The caption of each of so many held-out scenes, and so many questions to each."""
    for index, scene in enumerate(held_out_scenes(count)):
        for asked in _asked(scene, index, questions):
            yield _sample(scene, asked)


def sample_at(number: int, questions: int = 1) -> Sample:
    """The sample that `samples` yields at this position."""
    scene, asked = _at(number, questions)
    return _sample(scene, asked)


def content_at(number: int, questions: int = 1) -> str:
    """What tells the sample at this position, and what is right of it, from others."""
    scene, asked = _at(number, questions)
    pixels = hashlib.sha256(scene.image.tobytes()).hexdigest()
    return digest([pixels, asked.question, asked.answer])


def _at(number: int, questions: int) -> tuple[Scene, Question]:
    index, place = divmod(number, 1 + questions)
    scene = held_out_scene(index)
    return scene, _asked(scene, index, questions)[place]


def _asked(scene: Scene, index: int, questions: int) -> list[Question]:
    chosen = [question for _, question in chosen_questions(scene, index, questions)]
    return [Question(CAPTION_PROMPT, scene.caption), *chosen]


def _sample(scene: Scene, asked: Question) -> Sample:
    return Sample(str(scene.seed), scene.image, asked.question, partial(judged, scene, asked))
