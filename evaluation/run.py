"""The measurement: every answer is generated once, every explainer maps it, every word's map is judged."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from attention_extractor import AttentionExtractor
from evaluation import memory
from evaluation.explainers import Case, Explainer
from evaluation.metrics import Value, area_under, coverage, energy, function_iou, object_iou, pointing
from evaluation.record import Evaluation, Spent
from evaluation.removal import doubling, first_cells, hottest_first, logprobs_covered
from evaluation.samples import JudgedWord, Sample, Tokens
from methods import Question
from model import Processor, model_device
from records.capture import Capture
from records.choices import Fill
from sets.loop import each
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
    bench = Bench(
        model, processor, tuple(explainers), filling=filling, max_new_tokens=max_new_tokens, seed=seed
    )
    watch, found = Watch(on_progress, stop), list[Measured]()

    def one(numbered: tuple[int, Sample]) -> None:
        number, sample = numbered
        measured, maps = bench.measured(number, sample, Watch(None, stop))
        found.append(measured)
        if sample.group in curve_groups(found, curves):
            measured["values"] += bench.curves(number, sample, maps, Watch(None, stop))

    each(enumerate(samples), one, count, watch)
    return gathered(found, {"max_new_tokens": max_new_tokens, **(settings or {})}, seed)


class Measured(TypedDict):
    """What was measured of one answer, JSON-ready."""

    group: str
    words: int  # that were judged
    tokens: list[int]  # of the answer
    values: list[list[Any]]  # of each `Value`, its parts
    skipped: dict[str, int]  # why words were left out: how many
    costs: dict[str, list[float | None]]  # of each row: forward, backward, seconds, bytes at most
    settings: dict[str, str]  # what it was measured by


class Maps(NamedTuple):
    """An answer, its judged words, and each row's map (word, h, w) of them."""

    capture: Capture
    words: tuple[JudgedWord, ...]
    heats: Mapping[str, NDArray[np.floating]]


def curve_groups(found: Iterable[Measured], curves: int) -> tuple[str, ...]:
    """Return the first groups with words to judge, at most so many: those with deletion and insertion."""
    return tuple(dict.fromkeys(one["group"] for one in found if one["words"]))[:curves]


@dataclass(frozen=True, eq=False)
class Bench:
    """What answers are measured with."""

    model: Any
    processor: Processor
    explainers: tuple[Explainer, ...]
    _: KW_ONLY
    filling: Fill = "blur"
    max_new_tokens: int = 128
    seed: int = 0

    def answered(self, sample: Sample, watch: Watch) -> Capture:
        """Return the answer to a sample, which is greedy.

        Raises:
            Stopped: if the person wants no more.
        """
        extractor = AttentionExtractor(
            self.model, self.processor, store_on_cpu=True, float16=False, keep="all"
        )
        limit = self.max_new_tokens
        capture = extractor.generate(
            sample.image, sample.prompt, max_new_tokens=limit, generation="greedy", stop=watch.stop
        )
        watch.check()
        return capture

    def measured(self, number: int, sample: Sample, watch: Watch) -> tuple[Measured, Maps]:
        """Answer a sample, and measure all maps of its words but for their curves.

        `number` is the sample's among all, for what is random.

        Raises:
            ValueError: if two explainers have rows of one name.
            Stopped: if the person wants no more.
        """
        capture = self.answered(sample, watch)
        judged = sample.judge(capture)
        found = Measured(
            group=sample.group,
            words=len(judged.words),
            tokens=[int(token) for token in capture.token_ids],
            values=[],
            skipped=dict(judged.skipped),
            costs={},
            settings=self._settings(),
        )
        if not judged.words:
            return found, Maps(capture, (), {})
        listed = [*(word.tokens for word in judged.words), *judged.functions]
        tokens = tuple(sorted({token for each in listed for token in each}))
        rng = np.random.default_rng([self.seed, number])
        case = Case(self.model, self.processor, sample.image, capture, tokens, rng, watch)
        heats: dict[str, NDArray[np.floating]] = {}
        for row, maps in self._mapped(case, found).items():
            heats[row] = np.stack([_word_map(tokens, maps, word.tokens) for word in judged.words])
            values, threshold = _things(row, sample.group, judged.words, heats[row])
            for words in judged.functions:
                value = function_iou(_word_map(tokens, maps, words), threshold)
                values.append(Value(row, "func_iou", "function", sample.group, value))
            found["values"] += map(list, values)
        return found, Maps(capture, judged.words, heats)

    def _mapped(self, case: Case, found: Measured) -> dict[str, NDArray[np.floating]]:
        """Return each row's maps (token, h, w) of a case; what they took goes into `found`."""
        maps: dict[str, NDArray[np.floating]] = {}
        for explainer in self.explainers:
            case.watch.check()
            rows, peak = memory.measured(self.model, partial(explainer, case))
            if twice := maps.keys() & rows.maps.keys():
                raise ValueError(f"two explainers have a row named {min(twice)!r}")
            cost = [rows.cost.forward, rows.cost.backward, rows.cost.seconds, peak]
            found["costs"] |= dict.fromkeys(rows.maps, cost)
            maps.update(rows.maps)
        return maps

    def curves(self, number: int, sample: Sample, maps: Maps, watch: Watch) -> list[list[Any]]:
        """Return the values of deletion and insertion of every row and word."""
        capture, words, heats = maps
        grid = capture.grid
        counts = np.array(steps(grid[0] * grid[1]))
        ties = [self.seed, number]  # equally hot cells in the same order for every row and word
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
        question = Question(capture, tokens, self.model, self.processor, sample.image, watch)
        logprobs = logprobs_covered(question, removed, self.filling).reshape(len(plans), len(counts), -1)
        values = []
        for (row, metric, word, _), found in zip(plans, logprobs, strict=True):
            places = [tokens.index(token) for token in word.tokens]
            probabilities = np.exp(found[:, places].astype(np.float64).sum(axis=1))
            values.append([row, metric, word.kind, sample.group, area_under(probabilities, counts)])
        return values

    def _settings(self) -> dict[str, str]:
        return {
            "model": str(self.model.name_or_path),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": str(model_device(self.model)),
            "filling": self.filling,
            "memory": memory.how(self.model),
        }


def gathered(found: Sequence[Measured], settings: Mapping[str, Any], seed: int) -> Evaluation:
    """Return what was measured of all answers, with what it was measured by; `settings` are added to that.

    Raises:
        ValueError: if no word of any answer could be judged.
    """
    judged = [one for one in found if one["words"]]
    if not judged:
        raise ValueError(
            "no word of any answer could be judged: none names a thing that is known to be there"
        )
    skipped: Counter[str] = Counter()
    costs: dict[str, list[list[float | None]]] = {}
    for one in found:
        skipped.update(one["skipped"])
        for row, cost in one["costs"].items():
            costs.setdefault(row, []).append(cost)
    return Evaluation(
        values=tuple(Value(*value) for one in judged for value in one["values"]),
        spent={row: _spent(of_row) for row, of_row in costs.items()},
        settings={**judged[0]["settings"], **settings, "seed": seed},
        answers=len(judged),
        skipped=dict(skipped),
        seed=seed,
    )


def _things(
    row: str, group: str, words: Sequence[JudgedWord], heats: NDArray[np.floating]
) -> tuple[list[Value], float]:
    """Judge maps (word, h, w) against the masks of their words; return their mean threshold too."""
    values, thresholds = [], []
    for word, heat in zip(words, heats, strict=True):
        covered = coverage(word.mask, (heat.shape[0], heat.shape[1]))
        overlap, threshold = object_iou(heat, word.mask)
        thresholds.append(threshold)
        found = {"pointing": pointing(heat, covered), "energy": energy(heat, covered), "obj_iou": overlap}
        values += [Value(row, name, word.kind, group, value) for name, value in found.items()]
    return values, float(np.mean(thresholds))


def steps(cells: int) -> tuple[int, ...]:
    """Return how many cells are removed or added: 0, 1, 2, 4, … and all; most happens with the first few."""
    return (*doubling(cells - 1), cells)


def _word_map(tokens: Tokens, maps: NDArray[np.floating], of_word: Tokens) -> NDArray[np.floating]:
    """Return the map (h, w) of a word: the mean of its tokens'."""
    return maps[[tokens.index(token) for token in of_word]].mean(axis=0)


def _spent(costs: Sequence[Sequence[float | None]]) -> Spent:
    """Return what an answer took, of what each took: forward, backward, seconds, bytes at most."""
    forward, backward, seconds, peaks = zip(*costs, strict=True)
    return Spent(
        forward=float(np.mean(forward)),
        backward=float(np.mean(backward)),
        seconds=float(np.mean(seconds)),
        peak_bytes=max((peak for peak in peaks if peak is not None), default=None),
        answers=len(costs),
    )
