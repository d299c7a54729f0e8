"""Measures the bundled model on held-out scenes: `python -m demo.evaluate`.

Two things are printed. Answers: how often captions and questions are answered exactly right. Maps: how often
the hottest cell lies on the object that a colour or object word of a right answer names, and how much of the
map does: for attention (plain mean over all layers and heads), for Smooth Grad-CAM and the gradient norm at
each layer, and for maps that know nothing of the answer.

The scenes are those of the seeds from `HELD_OUT_SEED` upwards, which training never draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from model import load_model

import numpy as np
from tqdm import tqdm

from attention_extractor import AttentionExtractor, Capture
from attention_processor import AttentionProcessor
from demo.scenes import (
    CAPTION_PROMPT,
    CELL,
    COLORS,
    HELD_OUT_SEED,
    THINGS,
    Question,
    Scene,
    SceneObject,
    make_scene,
)
from gradcam import METHODS, token_grad_cams

KINDS = {
    "what colour": "What color",
    "where": "Where is",
    "what is at": "What is",
    "is there": "Is there",
    "how many": "How many",
}


@dataclass(frozen=True, eq=False)
class NamedToken:
    """A token of a right answer that names an object by its colour or its kind."""

    token: int
    kind: str  # "colour" or "object"
    thing: SceneObject


@dataclass
class Tally:
    """Right answers of each kind, out of how many."""

    right: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, right: bool) -> None:
        """Count one answer."""
        self.asked[kind] = self.asked.get(kind, 0) + 1
        self.right[kind] = self.right.get(kind, 0) + right

    def share(self, kinds: Iterable[str]) -> float:
        """The share of right answers over the given kinds, 0..1."""
        kinds = [kind for kind in kinds if kind in self.asked]
        return sum(self.right[k] for k in kinds) / sum(self.asked[k] for k in kinds)


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


def on_object(heat: np.ndarray, thing: SceneObject) -> tuple[bool, float]:
    """Whether the hottest cell is in the object's box, grown by half a cell; the map's share on its mask.

    A map of zeros has no hottest cell: it misses, and nothing of it is on the object.
    """
    if not heat.any():
        return False, 0.0
    h, w = heat.shape
    row, col = divmod(int(heat.argmax()), w)
    x, y = (col + 0.5) * CELL, (row + 0.5) * CELL
    x0, y0, x1, y1 = thing.box
    hit = x0 - CELL / 2 <= x <= x1 + CELL / 2 and y0 - CELL / 2 <= y <= y1 + CELL / 2
    covered = thing.mask.reshape(h, CELL, w, CELL).mean((1, 3))
    return bool(hit), float((heat * covered).sum() / heat.sum())


def blind_maps(grid: tuple[int, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Maps (h, w) that know nothing of the answer: a centre prior, random values, and the same everywhere."""
    h, w = grid
    rows, cols = (np.arange(h) + 0.5) / h - 0.5, (np.arange(w) + 0.5) / w - 0.5
    centre = np.exp(-(rows[:, None] ** 2 + cols**2) / (2 * 0.2**2))
    uniform = np.ones(grid)
    uniform[rng.integers(h), rng.integers(w)] += 1e-9  # a uniform map has no hottest cell: one at random
    return {"centre prior": centre, "random": rng.random(grid), "uniform": uniform}


def maps_of(
    model: Any,
    processor: Any,
    scene: Scene,
    capture: Capture,
    tokens: Sequence[NamedToken],
    samples: int,
    rng: np.random.Generator,
) -> Iterator[tuple[str, NamedToken, np.ndarray]]:
    """Every map (h, w) of the tokens, each with its name and token; without gradients for 0 samples."""
    for named in tokens:
        heat = AttentionProcessor(capture).get_attention_heatmap_for_token(named.token)
        yield "attention, mean of all layers and heads", named, heat
    for method, name in METHODS.items() if samples and tokens else ():
        cams = token_grad_cams(
            model,
            processor,
            scene.image,
            capture.prompt,
            "all",
            sorted({named.token for named in tokens}),
            num_samples=samples,
            method=method,
            answer=capture,
        )
        of_token = {cam.target_tokens[0]: cam for cam in cams}
        for layer in cams[0].layers:
            for named in tokens:
                yield f"{name}, layer {layer}", named, of_token[named.token].layer_map(layer)
    for named in tokens:
        for name, blind in blind_maps(capture.grid, rng).items():
            yield name, named, blind


class Pointing:
    """Hits of the hottest cell and shares of the map on the object, for each method and kind of word."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], list[tuple[bool, float]]] = {}

    def add(self, method: str, heat: np.ndarray, named: NamedToken) -> None:
        """Count the map of one token."""
        result = on_object(heat, named.thing)
        for kind in (named.kind, "both"):
            self.rows.setdefault((method, kind), []).append(result)

    def table(self) -> str:
        """The figures as a Markdown table, a row for each method."""
        lines = [
            "| map | colour words: hit | energy | object words: hit | energy | both: hit | energy |",
            "|---|---|---|---|---|---|---|",
        ]
        for method in dict.fromkeys(method for method, _ in self.rows):
            cells = []
            for kind in ("colour", "object", "both"):
                hits, energies = zip(*self.rows[method, kind], strict=True)
                cells += [f"{100 * np.mean(hits):.1f} %", f"{np.mean(energies):.2f}"]
            lines.append(f"| {method} | {' | '.join(cells)} |")
        return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=500, help="how many held-out scenes (500)")
    parser.add_argument(
        "--objects", type=int, nargs="+", default=[1, 2, 3], help="in each scene (1 2 3 in turn)"
    )
    parser.add_argument("--questions", type=int, default=2, help="questions to each (2)")
    parser.add_argument(
        "--samples", type=int, default=3, help="of Smooth Grad-CAM; 0 leaves gradients out, much faster (3)"
    )
    parser.add_argument("--model", default="demo", help="a checkpoint folder instead of the bundled model")
    parser.add_argument("--wrong", action="store_true", help="print every wrong answer")
    options = parser.parse_args()
    model, processor = load_model(options.model)
    extractor = AttentionExtractor(model, processor, store_on_cpu=True, float16=False)
    tally, pointing, rng = Tally(), Pointing(), np.random.default_rng(0)
    scenes = held_out_scenes(options.scenes, options.objects)
    for index, scene in enumerate(tqdm(scenes, total=options.scenes, desc="scenes")):
        asked = [("caption", Question(CAPTION_PROMPT, scene.caption))]
        asked += chosen_questions(scene, index, options.questions)
        for kind, (question, answer) in asked:
            capture = extractor.generate(scene.image, question, max_new_tokens=80, temperature=0.0)
            right = capture.text == answer
            tally.add(kind, right)
            if not right:
                if options.wrong:
                    tqdm.write(f"seed {scene.seed}: {question} wanted {answer!r}, got {capture.text!r}")
                continue
            tokens = named_tokens(scene, question, capture)
            for name, named, heat in maps_of(model, processor, scene, capture, tokens, options.samples, rng):
                pointing.add(name, heat, named)

    print(f"\nAnswers exactly right on {options.scenes} held-out scenes (seeds from {HELD_OUT_SEED}):")
    for kind in ("caption", *KINDS):
        if kind in tally.asked:
            print(f"  {kind:12} {100 * tally.share([kind]):6.1f} %  of {tally.asked[kind]}")
    if options.questions:
        print(f"  {'questions':12} {100 * tally.share(KINDS):6.1f} %  over all kinds")
    print("\nWords of right answers whose map's hottest cell is on the object they name:\n")
    print(pointing.table())


if __name__ == "__main__":
    main()
