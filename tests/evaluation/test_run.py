"""Evaluation: the whole measurement."""

import threading
from typing import Any

import numpy as np
import pytest
import torch

from attention_processor import AttentionProcessor
from evaluation import (
    Judged,
    Rows,
    Sample,
    blind,
    blind_maps,
    by_method,
    evaluate,
)
from evaluation.metrics import (
    coverage,
    energy,
    object_iou,
    pointing,
)
from methods import METHODS, Question, covered, covering, token_maps
from model import FAMILIES
from tests.evaluation.kit import MASKS, generated, run, sample, spike
from tests.methods.kit import LANDSCAPE, picture
from utils import Stopped


def test_every_figure_of_every_word_is_what_it_is_alone(small: tuple[Any, Any]) -> None:
    found = run(small, by_method("attention"), blind, seed=3, settings={"data": "made up"})
    assert found.rows == ("Attention", "centre prior", "random", "uniform")
    assert found.answers == 2
    assert found.skipped == {"left out": 4}
    assert (found.settings["data"], found.settings["seed"]) == ("made up", 3)
    by_word: dict[tuple[str, str, str], list[float]] = {}
    for value in found.values:
        by_word.setdefault((value.row, value.metric, value.group), []).append(value.value)
    for group in "xy":
        given = sample(group)
        capture = generated(small, given)
        maps = AttentionProcessor(capture)
        heats = [maps.get_attention_heatmap_for_token(tokens) for tokens in ((1, 2), (4,))]
        covered_by = coverage(MASKS[group], capture.grid)
        expected = {
            "pointing": [pointing(heat, covered_by) for heat in heats],
            "energy": [energy(heat, covered_by) for heat in heats],
            "obj_iou": [object_iou(heat, MASKS[group])[0] for heat in heats],
        }
        threshold = np.mean([object_iou(heat, MASKS[group])[1] for heat in heats])
        functions = [maps.get_attention_heatmap_for_token(tokens) for tokens in ((3,), (0, 5))]
        expected["func_iou"] = [float((heat < threshold).mean()) for heat in functions]
        for figure, values in expected.items():
            assert by_word["Attention", figure, group] == pytest.approx(values, abs=1e-6), figure
    uniform = found.estimate("uniform", "energy")
    assert uniform is not None
    assert uniform.mean == pytest.approx(np.mean([MASKS["x"].mean(), MASKS["y"].mean()]))


def test_kinds_and_costs_are_kept_apart(small: tuple[Any, Any]) -> None:
    found = run(small, spike(1.0, 1, 4), groups="x")
    assert found.rows == ("spike", "flat")
    assert [found.spent[row][:3] for row in found.rows] == [(2, 3, 0.5)] * 2
    both, one = found.estimate("spike", "pointing"), found.estimate("spike", "pointing", "colour")
    assert both is not None
    assert one is not None
    assert (both.mean, both.words, one.words) == (1, 2, 1)
    assert found.estimate("spike", "pointing", "function") is None


@pytest.mark.parametrize(
    "name", [name for name in METHODS if not METHODS[name].refusal(FAMILIES["qwen2_5_vl"])]
)
def test_each_method_is_measured_with_its_passes(small: tuple[Any, Any], name: str) -> None:
    found = run(small, by_method(name), groups="x")
    capture = generated(small, sample("x"))
    alone = token_maps(name, capture, model=small[0], processor=small[1], image=picture(), tokens=range(6))
    label = METHODS[name].label
    assert found.spent[label][:2] == (alone.cost.forward, alone.cost.backward)
    assert found.spent[label].seconds > 0
    values = [value.value for value in found.values if value.metric == "energy"]
    heats = [alone.token_map((1, 2)), alone.token_map(4)]
    covered_by = coverage(MASKS["x"], LANDSCAPE)
    assert values == pytest.approx([energy(heat, covered_by) for heat in heats], rel=1e-3)


def test_deletion_and_insertion_are_areas_under_probabilities_read_one_at_a_time(
    small: tuple[Any, Any],
) -> None:
    found = run(small, by_method("attention"), groups="xyx", curves=1)
    assert found.groups("deletion") == ("x",)  # both answers about it, and none about y
    assert len([value for value in found.values if value.metric == "insertion"]) == 4
    capture = generated(small, sample("x"))
    heat = AttentionProcessor(capture).get_attention_heatmap_for_token((1, 2))
    forced = Question(capture, (1, 2), *small, picture()).forced
    filling = covering(forced, "blur")
    order = sorted(range(28), key=lambda cell: -heat.reshape(-1)[cell])
    for figure in ("deletion", "insertion"):
        curve = []
        for count in (0, 1, 2, 4, 8, 16, 28):
            cells = np.isin(np.arange(28), order[:count]).reshape(LANDSCAPE)
            pixels = covered(forced, cells if figure == "deletion" else ~cells, filling)
            with torch.no_grad():
                logprobs = forced.logits([pixels])[0].double().log_softmax(dim=1)
            each = [float(logprobs[row, capture.token_ids[t]]) for row, t in enumerate((1, 2))]
            curve.append(np.exp(sum(each)))
        area = sum(
            (b - a) / 28 * (curve[i] + curve[i + 1]) / 2
            for i, (a, b) in enumerate(zip((0, 1, 2, 4, 8, 16), (1, 2, 4, 8, 16, 28), strict=True))
        )
        value = next(value.value for value in found.values if value.metric == figure)
        assert value == pytest.approx(area, rel=1e-3)


def test_the_same_seed_measures_the_same(small: tuple[Any, Any]) -> None:
    one, same, other = (run(small, blind, curves=2, seed=seed) for seed in (1, 1, 2))
    assert one.values == same.values
    random = [[v.value for v in found.values if v.row == "random"] for found in (one, other)]
    assert random[0] != random[1]


def test_a_row_does_not_depend_on_the_others(small: tuple[Any, Any]) -> None:
    alone = run(small, spike(1.0, 1, 4), groups="x", curves=1)
    among = run(small, blind, spike(1.0, 1, 4), groups="x", curves=1)
    assert list(alone.values) == [value for value in among.values if value.row in ("spike", "flat")]


def test_blind_maps_know_nothing_of_the_answer() -> None:
    found = blind_maps((3, 5), np.random.default_rng(0))
    assert list(found) == ["centre prior", "random", "uniform"]
    assert np.ptp(found["uniform"]) == 0
    assert found["centre prior"].argmax() == 7


def test_a_measurement_tells_how_far_it_is_and_stops(small: tuple[Any, Any]) -> None:
    told: list[tuple[int, int]] = []
    stop = threading.Event()
    run(small, blind, groups="xyx", on_progress=lambda done, count: told.append((done, count)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]

    def stopping(case: Any) -> Rows:
        stop.set()
        return blind(case)

    with pytest.raises(Stopped):
        run(small, stopping, groups="xyx", stop=stop)


def test_a_measurement_of_no_word_is_refused(small: tuple[Any, Any]) -> None:
    silent = Sample("x", picture(), "Is red here?", lambda capture: Judged())
    with pytest.raises(ValueError, match="no word of any answer could be judged"):
        evaluate(*small, [silent], [blind], count=1, max_new_tokens=3)
    with pytest.raises(ValueError, match="method must be one of"):
        by_method("magic")
    with pytest.raises(ValueError, match="two explainers have a row named 'centre prior'"):
        run(small, blind, blind, groups="x")
