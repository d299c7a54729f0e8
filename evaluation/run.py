"""The measurement: every answer is generated once, every explainer maps it, every word's map is judged."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_extractor import AttentionExtractor
from evaluation import memory
from evaluation.explainers import Case, Explainer, Rows
from evaluation.metrics import Value, area_under, coverage, energy, function_iou, object_iou, pointing
from evaluation.record import Evaluation, Spent
from evaluation.removal import doubling, first_cells, hottest_first, logprobs_covered
from evaluation.samples import Judged, JudgedWord, Sample, Tokens
from methods import Cost, Question
from model import Processor, model_device
from records.capture import Capture
from records.choices import Fill
from utils import OnProgress, Watch

CURVES = 12  # pictures for deletion and insertion, by far the dearest metrics


def evaluate(
    model: Any,
    processor: Processor,
    samples: Iterable[Sample],
    explainers: Sequence[Explainer],
    *,
    count: int,
    curves: int = CURVES,
    filling: Fill = "blur",
    max_new_tokens: int = 128,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> Evaluation:
    """Return how well each explainer's maps find what the answers' words name.

    Each sample is answered greedily, once. Deletion and insertion are measured on the first `curves` groups
    with words to judge: every word's hottest 0, 1, 2, 4, … and all cells are blurred, or given back to a
    blurred picture, while the answer stays; every different picture is read once, for all words. `count` is
    of the samples, for `on_progress(samples done, in all)`. `seed` is of the random maps, of the order of
    equally hot cells, and of the intervals. `settings` are added to the record's.

    Raises:
        ValueError: if no word of any answer could be judged, or two explainers have rows of one name.
        Stopped: if `stop` was set; there is no result of a part.
        MemoryError: if one pass alone does not fit.
        RuntimeError: if the model is at work for something else.
    """
    bench = _Bench(model, processor, tuple(explainers), filling, seed, Watch(None, stop))
    extractor = AttentionExtractor(model, processor, store_on_cpu=True, float16=False, keep="all")
    watch, groups = Watch(on_progress, stop), set[str]()
    watch.tell(0, count)
    for number, sample in enumerate(samples):
        watch.check()
        capture = extractor.generate(
            sample.image, sample.prompt, max_new_tokens=max_new_tokens, generation="greedy", stop=stop
        )
        watch.check()
        judged = sample.judge(capture)
        bench.skipped.update(judged.skipped)
        if judged.words:
            if len(groups) < curves:
                groups.add(sample.group)
            bench.judge(number, sample, capture, judged, curves=sample.group in groups)
        watch.tell(number + 1, count)
    if not bench.values:
        raise ValueError(
            "no word of any answer could be judged: none names a thing that is known to be there"
        )
    return bench.evaluation({"max_new_tokens": max_new_tokens, **(settings or {})})


@dataclass
class _Bench:
    """What is measured with, and what was measured so far."""

    model: Any
    processor: Processor
    explainers: tuple[Explainer, ...]
    filling: Fill
    seed: int
    watch: Watch
    values: list[Value] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    costs: dict[str, list[tuple[Cost, int | None]]] = field(default_factory=dict)  # by row
    answers: int = 0

    def judge(self, number: int, sample: Sample, capture: Capture, judged: Judged, curves: bool) -> None:
        """Measure all maps of one answer."""
        self.answers += 1
        listed = [*(word.tokens for word in judged.words), *judged.functions]
        tokens = tuple(sorted({token for each in listed for token in each}))
        rng = np.random.default_rng([self.seed, number])
        case = Case(self.model, self.processor, sample.image, capture, tokens, rng, self.watch)
        maps: dict[str, NDArray[np.floating]] = {}
        for explainer in self.explainers:
            self.watch.check()
            rows, peak = memory.measured(self.model, partial(explainer, case))
            if twice := maps.keys() & rows.maps.keys():
                raise ValueError(f"two explainers have a row named {min(twice)!r}")
            self._file(rows, peak)
            maps.update(rows.maps)
        heats = {
            row: [_word_map(tokens, found, word.tokens) for word in judged.words]
            for row, found in maps.items()
        }
        for row, found in maps.items():
            threshold = self._things(row, sample.group, judged.words, heats[row])
            for words in judged.functions:
                value = function_iou(_word_map(tokens, found, words), threshold)
                self.values.append(Value(row, "func_iou", "function", sample.group, value))
        if curves:
            ties = [self.seed, number]  # equally hot cells in the same order for every row and word
            self.values += self._curves(case, ties, sample.group, judged.words, heats)

    def _file(self, rows: Rows, peak: int | None) -> None:
        for row in rows.maps:
            self.costs.setdefault(row, []).append((rows.cost, peak))

    def _things(
        self, row: str, group: str, words: Sequence[JudgedWord], heats: Sequence[NDArray[np.floating]]
    ) -> float:
        """Judge maps against the masks of their words; return their mean threshold."""
        thresholds = []
        for word, heat in zip(words, heats, strict=True):
            covered = coverage(word.mask, (heat.shape[0], heat.shape[1]))
            overlap, threshold = object_iou(heat, word.mask)
            thresholds.append(threshold)
            found = {
                "pointing": pointing(heat, covered),
                "energy": energy(heat, covered),
                "obj_iou": overlap,
            }
            self.values += [Value(row, name, word.kind, group, value) for name, value in found.items()]
        return float(np.mean(thresholds))

    def _curves(
        self,
        case: Case,
        ties: Sequence[int],
        group: str,
        words: Sequence[JudgedWord],
        heats: Mapping[str, Sequence[NDArray[np.floating]]],
    ) -> Iterator[Value]:
        """Yield deletion and insertion of every row and word."""
        grid = case.capture.grid
        counts = np.array(steps(grid[0] * grid[1]))
        plans = [
            (row, metric, word, order)
            for row, of_row in heats.items()
            for word, heat in zip(words, of_row, strict=True)
            for order in [hottest_first(heat, np.random.default_rng(ties))]
            for metric in ("deletion", "insertion")
        ]
        removed = [
            first_cells(order, count, grid) ^ (metric == "insertion")
            for _, metric, _, order in plans
            for count in counts
        ]
        tokens = tuple(sorted({token for word in words for token in word.tokens}))
        question = Question(case.capture, tokens, case.model, case.processor, case.image, self.watch)
        logprobs = logprobs_covered(question, removed, self.filling).reshape(len(plans), len(counts), -1)
        for (row, metric, word, _), found in zip(plans, logprobs, strict=True):
            places = [tokens.index(token) for token in word.tokens]
            probabilities = np.exp(found[:, places].astype(np.float64).sum(axis=1))
            yield Value(row, metric, word.kind, group, area_under(probabilities, counts))

    def evaluation(self, settings: Mapping[str, Any]) -> Evaluation:
        """Return all that was measured, with what it was measured by; `settings` are added to that."""
        return Evaluation(
            values=tuple(self.values),
            spent={row: _spent(costs) for row, costs in self.costs.items()},
            settings={
                "model": str(self.model.name_or_path),
                "dtype": str(self.model.dtype).removeprefix("torch."),
                "device": str(model_device(self.model)),
                "filling": self.filling,
                "memory": memory.how(self.model),
                **settings,
                "seed": self.seed,
            },
            answers=self.answers,
            skipped=dict(self.skipped),
            seed=self.seed,
        )


def steps(cells: int) -> tuple[int, ...]:
    """Return how many cells are removed or added: 0, 1, 2, 4, … and all; most happens with the first few."""
    return (*doubling(cells - 1), cells)


def _word_map(tokens: Tokens, maps: NDArray[np.floating], of_word: Tokens) -> NDArray[np.floating]:
    """Return the map (h, w) of a word: the mean of its tokens'."""
    return maps[[tokens.index(token) for token in of_word]].mean(axis=0)


def _spent(costs: Sequence[tuple[Cost, int | None]]) -> Spent:
    each = [cost for cost, _ in costs]
    peaks = [peak for _, peak in costs if peak is not None]
    return Spent(
        forward=float(np.mean([cost.forward for cost in each])),
        backward=float(np.mean([cost.backward for cost in each])),
        seconds=float(np.mean([cost.seconds for cost in each])),
        peak_bytes=max(peaks, default=None),
        answers=len(each),
    )
