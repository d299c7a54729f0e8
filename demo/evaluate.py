"""Measures the bundled model on held-out scenes: `python -m demo.evaluate`.

Two things are printed. Answers: how often captions and questions are answered exactly right. Maps: how often
the hottest cell has a part of the object in it that a colour or object word of a right answer names, and how
much of the map lies on that object: for attention (plain mean over all layers and heads), for Smooth Grad-CAM
and the gradient norm at each layer, and for maps that know nothing of the answer. `python cli.py evaluate`
measures every method, and more; the figures are the same.

The scenes are those of the seeds from `HELD_OUT_SEED` upwards, which training never draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from demo.samples import KINDS, chosen_questions, held_out_scenes, judged
from demo.scenes import CAPTION_PROMPT, HELD_OUT_SEED, Question, Scene
from evaluation import Case, Evaluation, Explainer, Judged, Rows, Sample, blind, by_method, evaluate
from methods.grad_cam import token_grad_cams
from model import load_model
from records.capture import Capture
from records.grad_cam import LABELS
from records.token_maps import Cost

ATTENTION = "attention, mean of all layers and heads"


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


def by_layer(method: str, num_samples: int) -> Explainer:
    """The explainer with a row for each layer of a gradient method, all from the same passes."""

    def make(case: Case) -> Rows:
        cams = token_grad_cams(
            case.model,
            case.processor,
            case.image,
            case.capture.prompt,
            "all",
            list(case.tokens),
            num_samples=num_samples,
            method=method,
            answer=case.capture,
        )
        layers = cams[0].layers
        maps = {
            f"{LABELS[method]}, layer {layer}": np.stack([cam.layer_map(layer) for cam in cams])
            for layer in layers
        }
        return Rows(maps, Cost(num_samples, num_samples * len(cams)))

    return make


def asked_samples(options: argparse.Namespace, tally: Tally) -> Iterator[Sample]:
    """Captions and questions about held-out scenes; each answer is counted when it is judged."""
    for index, scene in enumerate(held_out_scenes(options.scenes, options.objects)):
        asked = [("caption", Question(CAPTION_PROMPT, scene.caption))]
        asked += chosen_questions(scene, index, options.questions)
        for kind, question in asked:
            judge = partial(counted, tally, scene, kind, question, options.wrong)
            yield Sample(str(scene.seed), scene.image, question.question, judge)


def counted(
    tally: Tally, scene: Scene, kind: str, asked: Question, show_wrong: bool, capture: Capture
) -> Judged:
    """The words of a right answer that name an object; whether it is right is counted."""
    right = capture.text == asked.answer
    tally.add(kind, right)
    if show_wrong and not right:
        tqdm.write(f"seed {scene.seed}: {asked.question} wanted {asked.answer!r}, got {capture.text!r}")
    return Judged(judged(scene, asked, capture).words)


def table(evaluation: Evaluation) -> str:
    """Hits of the hottest cell and energy inside, for each map and kind of word, as a Markdown table."""
    lines = [
        "| map | colour words: hit | energy | object words: hit | energy | both: hit | energy |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in evaluation.rows:
        cells = []
        for kind in ("colour", "object", None):
            hit, energy = (evaluation.estimate(row, figure, kind) for figure in ("pointing", "energy"))
            cells += [f"{100 * hit.mean:.1f} %" if hit else "–", f"{energy.mean:.2f}" if energy else "–"]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def moved(progress: tqdm[NoReturn], done: int, count: int) -> None:
    """Move the bar."""
    progress.update(done - progress.n)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
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
    explainers = [by_method("attention", ATTENTION)]
    explainers += [by_layer(method, options.samples) for method in LABELS if options.samples]
    tally, count = Tally(), options.scenes * (1 + options.questions)
    with tqdm(total=count, desc="answers") as progress:
        evaluation = evaluate(
            model,
            processor,
            asked_samples(options, tally),
            [*explainers, blind],
            count=count,
            curves=0,
            max_new_tokens=80,
            on_progress=partial(moved, progress),
        )

    print(f"\nAnswers exactly right on {options.scenes} held-out scenes (seeds from {HELD_OUT_SEED}):")
    for kind in ("caption", *KINDS):
        if kind in tally.asked:
            print(f"  {kind:12} {100 * tally.share([kind]):6.1f} %  of {tally.asked[kind]}")
    if options.questions:
        print(f"  {'questions':12} {100 * tally.share(KINDS):6.1f} %  over all kinds")
    print("\nWords of right answers whose map's hottest cell is on the object they name:\n")
    print(table(evaluation))


if __name__ == "__main__":
    main()
