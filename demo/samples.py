"""Held-out scenes as they are measured: questions to ask, and which words name which object."""

from __future__ import annotations

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
    for i in range(count):
        yield make_scene(HELD_OUT_SEED + i, n_objects=objects[i % len(objects)])


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
        chosen = [question for _, question in chosen_questions(scene, index, questions)]
        for asked in (Question(CAPTION_PROMPT, scene.caption), *chosen):
            yield Sample(str(scene.seed), scene.image, asked.question, partial(judged, scene, asked))
