"""The figures against plain loops and cases known on paper; the whole measurement against its parts."""

import csv
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from evaluation import (
    METRICS,
    Evaluation,
    Judged,
    JudgedWord,
    Rows,
    Sample,
    Spent,
    Value,
    blind,
    blind_maps,
    by_method,
    chart,
    csv_text,
    evaluate,
    markdown,
    write,
)
from evaluation.coco import NOT_NAMED, NOT_THERE, CocoFolder
from evaluation.memory import measured
from evaluation.metrics import (
    area_under,
    coverage,
    energy,
    enlarged,
    function_iou,
    harmonic_mean,
    object_iou,
    otsu,
    pointing,
)
from evaluation.run import steps
from evaluation.samples import forms, named
from methods import METHODS, Cost, Question, covered, covering, token_maps
from records.capture import Capture
from records.words import Word
from tests.conftest import traces
from tests.methods.test_methods import LANDSCAPE, PORTRAIT, picture, small_model
from utils import Stopped

RNG = np.random.default_rng(0)

# --- one map, one mask ---


@pytest.mark.parametrize(
    ("size", "grid"), [((23, 37), (3, 5)), ((28, 56), (2, 4)), ((5, 3), (5, 3)), ((4, 9), (6, 2))]
)
def test_coverage_is_the_mean_of_each_cells_pixels(size: tuple[int, int], grid: tuple[int, int]) -> None:
    mask = RNG.random(size) < 0.4
    fine = np.kron(mask, np.ones(grid))  # a cell is now H x W of these
    found = coverage(mask, grid)
    for row in range(grid[0]):
        for col in range(grid[1]):
            part = fine[row * size[0] : (row + 1) * size[0], col * size[1] : (col + 1) * size[1]]
            assert found[row, col] == pytest.approx(part.mean(), abs=1e-12)


def test_a_map_that_is_the_thing_has_full_marks() -> None:
    mask = np.zeros((6, 9), dtype=bool)
    mask[1:3, 4:8] = True
    assert pointing(mask, coverage(mask, (6, 9))) == 1
    assert energy(mask, coverage(mask, (6, 9))) == 1
    assert object_iou(mask.astype(float), mask)[0] == 1
    away = ~mask
    assert (pointing(away, coverage(mask, (6, 9))), energy(away, coverage(mask, (6, 9)))) == (0, 0)
    assert object_iou(away.astype(float), mask)[0] == 0


def test_a_flat_map_has_the_things_share_of_the_picture() -> None:
    mask = np.zeros((12, 10), dtype=bool)
    mask[:6, :5] = True  # a quarter; on a grid of 4 x 5 it touches 2 rows and 3 columns
    covered_by = coverage(mask, (4, 5))
    flat = np.full((4, 5), 0.3)
    assert energy(flat, covered_by) == pytest.approx(0.25)
    assert pointing(flat, covered_by) == pytest.approx(6 / 20)
    assert object_iou(flat, mask)[0] == pytest.approx(0.25)
    assert function_iou(flat, object_iou(flat, mask)[1]) == 0


def test_of_equally_hot_cells_the_share_on_the_thing_counts() -> None:
    covered_by = np.array([[0.0, 0.2, 1.0], [0.0, 0.0, 0.0]])
    heat = np.array([[5.0, 5.0, 1.0], [5.0, 0.0, 5.0]])
    assert pointing(heat, covered_by) == 0.25
    heat[0, 1] = 5.1
    assert pointing(heat, covered_by) == 1


@pytest.mark.parametrize("heat", [np.zeros((2, 3)), np.array([[-1.0, -0.5, -2.0], [-3.0, -1.0, -1.0]])])
def test_a_map_without_anything_above_zero_finds_nothing(heat: np.ndarray) -> None:
    mask = np.ones((4, 6), dtype=bool)
    assert pointing(heat, coverage(mask, (2, 3))) == 0
    assert energy(heat, coverage(mask, (2, 3))) == 0
    assert object_iou(heat, mask) == (0, 0)


def test_what_is_below_zero_counts_as_nothing() -> None:
    covered_by = np.array([[1.0, 0.0, 0.5]])
    heat = np.array([[2.0, -7.0, 2.0]])
    assert energy(heat, covered_by) == pytest.approx(0.75)
    mask = np.array([[True, False, True]])
    assert object_iou(heat, mask) == object_iou(np.array([[2.0, 0.0, 2.0]]), mask)
    assert function_iou(heat, 0.5) == pytest.approx(1 / 3)


def brute_otsu(values: np.ndarray) -> float:
    """Return the edge with the smallest variance within the classes, every one of 256 bins tried."""
    low, high = values.min(), values.max()
    place = np.minimum(((values - low) / (high - low) * 256).astype(int), 255)
    least, best = np.inf, 0
    for first_above in range(1, 256):
        lower, upper = place[place < first_above], place[place >= first_above]
        within = lower.size * lower.var() + upper.size * upper.var()
        if within < least - 1e-6:
            least, best = within, first_above
    return float(low + (high - low) * best / 256)


@pytest.mark.parametrize("seed", range(6))
def test_otsus_threshold_is_that_of_an_exhaustive_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(0, 1, 150), rng.normal(2 + seed, 0.5, 40)]).reshape(19, 10)
    assert otsu(values) == pytest.approx(brute_otsu(values), abs=1e-9)


def test_otsus_threshold_divides_two_values_and_leaves_one_together() -> None:
    values = np.array([[1.0, 1.0, 9.0], [1.0, 9.0, 1.0]])
    assert 1 < otsu(values) <= 9
    assert otsu(np.full((3, 2), 0.7)) == 0.7


def test_enlarging_is_linear_between_the_centres_of_cells() -> None:
    heat, size = RNG.random((3, 5)), (17, 40)
    found = enlarged(heat, size)
    for row in range(size[0]):
        for col in range(size[1]):
            y, x = (row + 0.5) * 3 / size[0] - 0.5, (col + 0.5) * 5 / size[1] - 0.5
            y, x = np.clip(y, 0, 2), np.clip(x, 0, 4)
            top, left = min(int(y), 1), min(int(x), 3)
            dy, dx = y - top, x - left
            upper = heat[top, left] * (1 - dx) + heat[top, left + 1] * dx
            lower = heat[top + 1, left] * (1 - dx) + heat[top + 1, left + 1] * dx
            assert found[row, col] == pytest.approx(upper * (1 - dy) + lower * dy, abs=1e-5)


def test_obj_iou_counts_pixels_above_the_threshold() -> None:
    heat, mask = RNG.random((3, 5)) ** 3, RNG.random((17, 40)) < 0.3
    overlap, threshold = object_iou(heat, mask)
    large = enlarged(heat, mask.shape)
    assert threshold == pytest.approx(brute_otsu(large), abs=1e-6)
    both = either = 0
    for row in range(17):
        for col in range(40):
            found = large[row, col] >= threshold
            both += bool(found and mask[row, col])
            either += bool(found or mask[row, col])
    assert overlap == pytest.approx(both / either)


def test_harmonic_mean() -> None:
    found = harmonic_mean(np.array([0.5, 0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.8, 1.0]))
    np.testing.assert_allclose(found, [2 / 3, 0, 0, 1])


def test_the_area_under_a_curve_is_the_sum_of_trapezoids() -> None:
    counts, values = np.array([0, 1, 2, 4, 10]), [0.9, 0.5, 0.4, 0.2, 0.0]
    total = 0.0
    for i in range(4):
        total += (counts[i + 1] - counts[i]) / 10 * (values[i] + values[i + 1]) / 2
    assert area_under(np.array(values), counts) == pytest.approx(total)
    assert area_under(np.full(5, 0.37), counts) == pytest.approx(0.37)


def test_steps_double_and_end_with_all() -> None:
    assert steps(28) == (0, 1, 2, 4, 8, 16, 28)
    assert steps(8) == (0, 1, 2, 4, 8)
    assert steps(1) == (0, 1)


# --- words ---


def words_of(text: str) -> list[Word]:
    found, at = [], 0
    for number, part in enumerate(text.split()):
        start = text.index(part, at)
        at = start + len(part)
        found.append(Word(part, (number,), start, at))
    return found


def test_words_are_matched_with_names_and_simple_plurals() -> None:
    names = ("dog", "hot dog", "person", "bench", "knife", "teddy bear", "bear", "bus", "potted plant")
    text = (
        "Two people and a Hot dog beside dogs , knives on benches near teddy bears and a bear , no businesses"
    )
    found = named(words_of(text), names)
    assert found == [
        ("person", (1,)),
        ("hot dog", (4, 5)),
        ("dog", (7,)),
        ("knife", (9,)),
        ("bench", (11,)),
        ("teddy bear", (13, 14)),
        ("bear", (17,)),
    ]
    assert named(words_of("a potted chair"), names) == []


@pytest.mark.parametrize(
    ("name", "plural"),
    [
        ("cat", "cats"),
        ("bus", "buses"),
        ("sandwich", "sandwiches"),
        ("wine glass", "wine glasses"),
        ("berry", "berries"),
        ("toy", "toys"),
        ("potato", "potatoes"),
        ("shelf", "shelves"),
        ("mouse", "mice"),
        ("sheep", "sheep"),
        ("skis", "skis"),
    ],
)
def test_plurals(name: str, plural: str) -> None:
    assert {tuple(name.split()), tuple(plural.split())} <= forms(name)


# --- estimates ---


def evaluation(
    values: list[Value], rows: tuple[str, ...] = ("a", "centre prior"), seed: int = 0
) -> Evaluation:
    return Evaluation(
        values=tuple(values),
        spent={row: Spent(1.5, 0, 0.25, 12_300_000, 4) for row in rows},
        settings={"model": "m", "dtype": "float32", "device": "cpu", "filling": "blur", "memory": "somehow"},
        answers=4,
        skipped={"words of wrong answers": 3, "nothing": 0},
        seed=seed,
    )


def test_a_mean_is_over_words_and_its_interval_over_pictures() -> None:
    given = zip("xxxyzz", (1, 0, 1, 0.5, 0, 0), strict=True)
    values = [Value("a", "energy", "word", group, value) for group, value in given]
    found = evaluation(values).estimate("a", "energy")
    assert found is not None
    assert found.mean == pytest.approx(2.5 / 6)
    assert (found.words, found.groups) == (6, 3)
    drawn = []  # every draw of three pictures, as likely as the other
    sums, counts = np.array([2, 0.5, 0]), np.array([3, 1, 2])
    for one in range(3):
        for two in range(3):
            for three in range(3):
                chosen = [one, two, three]
                drawn.append(sums[chosen].sum() / counts[chosen].sum())
    low, high = np.percentile(np.repeat(drawn, 100), (2.5, 97.5))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    assert evaluation(values).estimate("a", "energy", "object") is None
    assert evaluation(values).estimate("a", "pointing") is None


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Words of one picture are alike: intervals over words would be half as wide, and hold it far less."""
    rng = np.random.default_rng(1)
    held, trials = 0, 300
    for trial in range(trials):
        of_picture = rng.normal(0.5, 0.2, 40)
        values = [
            Value("a", "energy", "word", str(picture), float(mean + rng.normal(0, 0.05)))
            for picture, mean in enumerate(of_picture)
            for _ in range(4)
        ]
        found = evaluation(values, seed=trial).estimate("a", "energy")
        assert found is not None
        held += found.low <= 0.5 <= found.high
    assert 0.90 <= held / trials <= 0.98


def test_a_difference_is_resampled_together() -> None:
    rng = np.random.default_rng(2)
    values = []
    for group in range(20):
        base = rng.random()
        values.append(Value("a", "pointing", "word", str(group), base + 0.1))
        values.append(Value("centre prior", "pointing", "word", str(group), base))
    found = evaluation(values).above("a", "pointing")
    alone = evaluation(values).estimate("a", "pointing")
    assert found is not None
    assert alone is not None
    assert found[:3] == pytest.approx((0.1, 0.1, 0.1))
    assert alone.high - alone.low > 0.1


def test_f1_iou_is_made_of_the_means() -> None:
    values = [Value("a", "obj_iou", "word", g, v) for g, v in (("x", 0.2), ("y", 0.6))]
    assert evaluation(values).estimate("a", "f1_iou") is None
    values += [Value("a", "func_iou", "function", g, v) for g, v in (("x", 0.9), ("y", 0.7), ("y", 0.8))]
    found = evaluation(values).estimate("a", "f1_iou")
    assert found is not None
    assert found.mean == pytest.approx(2 * 0.4 * 0.8 / 1.2)
    assert found.low < found.mean < found.high


def test_one_picture_has_no_interval() -> None:
    found = evaluation([Value("a", "energy", "word", "x", 0.5)]).estimate("a", "energy")
    assert found is not None
    assert np.isnan([found.low, found.high]).all()
    assert found.mean == 0.5


# --- the whole measurement ---


@pytest.fixture(scope="module")
def lent() -> tuple[Any, Any]:
    return small_model()


@pytest.fixture
def small(lent: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Lend the module's small (model, processor); fail the test that leaves it changed."""
    before = traces(lent[0])
    yield lent
    assert traces(lent[0]) == before, "the test left hooks, modes, gradients or a backend behind"


def mask_of(grid: tuple[int, int], rows: slice, cols: slice) -> np.ndarray:
    mask = np.zeros((28 * grid[0], 28 * grid[1]), dtype=bool)
    mask[rows, cols] = True
    return mask


MASKS = {
    "x": mask_of(LANDSCAPE, slice(20, 60), slice(90, 150)),
    "y": mask_of(PORTRAIT, slice(0, 40), slice(10, 70)),
}


def sample(group: str) -> Sample:
    """Return a sample of two words and a function word; the words are tokens, whatever they say."""

    def judge(capture: Capture) -> Judged:
        words = (JudgedWord((1, 2), MASKS[group], "object"), JudgedWord((4,), MASKS[group], "colour"))
        return Judged(words, ((3,), (0, 5)), {"left out": 2})

    return Sample(group, picture(LANDSCAPE if group == "x" else PORTRAIT), "Is red here?", judge)


def run(small: tuple[Any, Any], *explainers: Any, groups: str = "xy", **given: Any) -> Evaluation:
    settings = {"count": len(groups), "curves": 0, "max_new_tokens": 6, **given}
    return evaluate(*small, (sample(group) for group in groups), explainers, **settings)


def spike(value: float, row: int, col: int) -> Callable[[Any], Rows]:
    def make(case: Any) -> Rows:
        maps = np.zeros((len(case.tokens), *case.capture.grid), dtype=np.float32)
        maps[:, row, col] = value
        return Rows({"spike": maps, "flat": np.ones_like(maps)}, Cost(2, 3, 0.5))

    return make


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


def generated(small: tuple[Any, Any], given: Sample) -> Capture:
    extractor = AttentionExtractor(*small, store_on_cpu=True, float16=False)
    return extractor.generate(given.image, given.prompt, max_new_tokens=6, temperature=0.0)


def test_kinds_and_costs_are_kept_apart(small: tuple[Any, Any]) -> None:
    found = run(small, spike(1.0, 1, 4), groups="x")
    assert found.rows == ("spike", "flat")
    assert [found.spent[row][:3] for row in found.rows] == [(2, 3, 0.5)] * 2
    both, one = found.estimate("spike", "pointing"), found.estimate("spike", "pointing", "colour")
    assert both is not None
    assert one is not None
    assert (both.mean, both.words, one.words) == (1, 2, 1)
    assert found.estimate("spike", "pointing", "function") is None


@pytest.mark.parametrize("name", METHODS)
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


# --- files ---


def filled() -> Evaluation:
    figures = ("pointing", "energy", "obj_iou", "deletion")
    values = [
        Value(row, figure, "word", group, shift + 0.1 * "xyz".index(group))
        for row, shift in (("a", 0.3), ("centre prior", 0.0))
        for group in "xyz"
        for figure in figures
    ]
    values += [Value(row, "func_iou", "function", g, 0.5) for row in ("a", "centre prior") for g in "xyz"]
    return evaluation(values)


def test_the_table_has_every_map_and_figure_that_was_measured() -> None:
    lines = markdown(filled()).splitlines()
    heads = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert heads == [
        *("map", "pointing game", "above centre prior", "energy inside", "Obj-IoU", "Func-IoU", "F1-IoU"),
        *("deletion AUC", "forward", "backward", "seconds", "MB"),
    ]
    row = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert row[:3] == ["a", "40.0 % (30.0 to 50.0)", "+30.0 % (+30.0 to +30.0)"]
    assert row[-4:] == ["1.5", "0", "0.25", "12"]
    assert "- Left out, words of wrong answers: 3." in lines
    assert "nothing" not in "".join(lines[:6])
    assert any("low is good" in line and "deletion" in line for line in lines)


def test_csv_and_json_hold_the_estimates(tmp_path: Path) -> None:
    found = filled()
    rows = list(csv.DictReader(io.StringIO(csv_text(found))))
    one = next(row for row in rows if (row["map"], row["figure"]) == ("a", "energy"))
    assert [float(one[name]) for name in ("mean", "low", "high")] == pytest.approx([0.4, 0.3, 0.5])
    assert (one["words"], one["pictures"]) == ("3", "3")
    paths = write(found, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    assert [path.suffix for path in paths] == [".md", ".csv", ".json", ".png"]
    known = json.loads((tmp_path / "evaluation.json").read_text("utf-8"))
    assert known["rows"]["a"]["figures"]["f1_iou"]["mean"] == pytest.approx(2 * 0.4 * 0.5 / 0.9)
    assert known["rows"]["a"]["cost"]["peak_bytes"] == 12_300_000
    assert [tuple(value) for value in known["values"]] == list(found.values)
    with Image.open(tmp_path / "evaluation.png") as image:
        assert image.width > 600


def test_json_has_no_nan_for_a_single_picture(tmp_path: Path) -> None:
    single = evaluation([Value(row, "pointing", "word", "x", 1) for row in ("a", "centre prior")])
    write(single, tmp_path)
    known = json.loads((tmp_path / "evaluation.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert known["rows"]["a"]["figures"]["pointing"]["low"] is None
    assert "| a | 100.0 % | +0.0 % |" in markdown(single)


def test_the_plot_shows_every_interval_and_the_centre_prior_as_a_line() -> None:
    found = filled()
    panels = [panel for panel in chart(found).axes if panel.get_visible()]
    assert [panel.get_title().split(" (")[0] for panel in panels] == [
        *("pointing game", "energy inside", "Obj-IoU", "Func-IoU", "F1-IoU", "deletion AUC")
    ]
    lines = [np.asarray(line.get_xdata()).tolist() for line in panels[1].get_lines()]
    assert lines[0] == pytest.approx([0.1, 0.1])  # the centre prior
    assert lines[1] == pytest.approx([0.3, 0.5])
    assert lines[2] == pytest.approx([0.4])
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["a", "centre prior"]
    assert panels[0].yaxis_inverted()


def test_every_figure_says_what_it_is() -> None:
    assert all(figure.label and figure.what for figure in METRICS.values())
    assert [name for name, figure in METRICS.items() if not figure.higher] == ["deletion"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory a process took")
def test_memory_is_the_highest_not_the_last(small: tuple[Any, Any]) -> None:
    result, peak = measured(small[0], lambda: float(np.ones(8_000_000).sum()))
    assert result == 8_000_000
    if peak is None:
        pytest.skip("this system does not let a process forget its peak")
    assert 50e6 < peak < 200e6
    assert (measured(small[0], lambda: 1)[1] or 0) < 20e6


# --- COCO ---


def instances(folder: Path, change: Callable[[dict[str, Any]], None] = lambda data: None) -> Path:
    """Write a folder in COCO format: a cat twice (polygons), a crowd of people, a dog, one of no picture."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "val").mkdir()
    Image.fromarray(RNG.integers(0, 255, (80, 120, 3), dtype=np.uint8)).save(folder / "val" / "one.png")
    Image.fromarray(RNG.integers(0, 255, (60, 90, 3), dtype=np.uint8)).save(folder / "val" / "two.png")
    crowd = np.zeros((80, 120), dtype=np.uint8, order="F")
    crowd[50:70, 5:100] = 1
    runs = [len(list(run)) for _, run in groupby(crowd.reshape(-1, order="F"))]  # the first is of zeros
    packed: dict[str, Any] = {**rle.encode(np.asfortranarray(np.eye(60, 90, dtype=np.uint8)))}
    packed["counts"] = packed["counts"].decode()
    data: dict[str, Any] = {
        "images": [
            {"id": 1, "file_name": "one.png", "height": 80, "width": 120},
            {"id": 2, "file_name": "two.png", "height": 60, "width": 90},
            {"id": 3, "file_name": "gone.png", "height": 60, "width": 90},
            {"id": 4, "file_name": "empty.png", "height": 60, "width": 90},
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "person"}, {"id": 4, "name": "dog"}],
        "annotations": [
            annotation(1, 1, 7, [[10, 10, 30, 10, 30, 20, 10, 20]]),
            annotation(2, 1, 7, [[60, 30, 80, 30, 80, 50, 60, 50]]),
            annotation(3, 1, 9, {"counts": runs, "size": [80, 120]}, iscrowd=1),
            annotation(4, 2, 4, packed),
            annotation(5, 3, 4, [[0, 0, 9, 0, 9, 9]]),
        ],
    }
    change(data)
    (folder / "annotations" / "instances_val.json").write_text(json.dumps(data))
    return folder


def annotation(number: int, image: int, category: int, outline: Any, iscrowd: int = 0) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": outline,
        "iscrowd": iscrowd,
        "area": 1,
        "bbox": [0, 0, 1, 1],
    }


def text_capture(text: str) -> Any:
    """Return a stand-in for an answer whose tokens are its words."""
    words = words_of(text)

    class Said:
        token_spans = tuple((word.start, word.end) for word in words)
        tokens = tuple(word.text for word in words)

    Said.text = text  # type: ignore[attr-defined]
    return Said


def test_a_coco_folder_gives_masks_for_the_words_of_its_things(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = CocoFolder(instances(tmp_path / "coco"), prompt="What is here?")
    assert len(folder) == 3  # a picture without annotations says nothing of what is there
    samples = {sample.group: sample for sample in folder.samples()}
    assert set(samples) == {"one.png", "two.png"}
    assert folder.skipped == {"pictures that are missing or cannot be read": 1}
    assert capsys.readouterr().out == ""
    one = samples["one.png"]
    assert (one.prompt, one.image.size) == ("What is here?", (120, 80))
    judged = one.judge(text_capture("The cats sit and a dog barks at a cat"))
    assert [word.tokens for word in judged.words] == [(1,), (9,)]
    expected = np.zeros((80, 120), dtype=bool)
    expected[10:20, 10:30] = expected[30:50, 60:80] = True
    for word in judged.words:
        np.testing.assert_array_equal(word.mask, expected)
    assert judged.functions == ((0,), (3,), (4,), (8,))
    assert judged.skipped == {NOT_THERE: 1, NOT_NAMED: 1}
    crowd = one.judge(text_capture("Many people")).words[0].mask
    assert crowd[50:70, 5:100].all()
    assert crowd.sum() == 20 * 95
    dog = samples["two.png"].judge(text_capture("A dog")).words[0].mask
    np.testing.assert_array_equal(dog, np.eye(60, 90, dtype=bool))


def test_a_limit_draws_pictures_by_the_seed(tmp_path: Path) -> None:
    folder = CocoFolder(instances(tmp_path / "coco"))
    drawn = [[sample.group for sample in folder.samples(1, seed)] for seed in range(12)]
    assert all(len(groups) == 1 for groups in drawn)
    assert {group for groups in drawn for group in groups} == {"one.png", "two.png"}
    assert drawn == [[sample.group for sample in folder.samples(1, seed)] for seed in range(12)]


def bad_outline(data: dict[str, Any]) -> None:
    data["annotations"][0]["segmentation"] = {"counts": "\x01", "size": "?"}


def other_size(data: dict[str, Any]) -> None:
    data["images"][0]["width"] = 119


def outside(data: dict[str, Any]) -> None:
    data["images"][0]["file_name"] = "../secret.png"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (bad_outline, "pictures whose outlines cannot be read"),
        (other_size, "pictures of another size than their annotations"),
        (outside, "pictures that are missing or cannot be read"),
    ],
)
def test_pictures_that_cannot_be_used_are_counted(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    folder = CocoFolder(instances(tmp_path / "coco", change))
    Image.new("RGB", (120, 80)).save(tmp_path / "secret.png")
    assert [sample.group for sample in folder.samples()] == ["two.png"]
    assert folder.skipped[reason] == 1 + (reason == "pictures that are missing or cannot be read")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"instances_a.json": "{}", "annotations/instances_b.json": "{}"},
            "instances_a.json, instances_b.json",
        ),
        ({"other.json": "{}"}, r"expected one instances\*.json in .*found none"),
        ({"instances.json": "[1"}, "instances.json is not instances in COCO's format"),
        ({"instances.json": "[]"}, "instances.json is not instances in COCO's format"),
        ({"instances.json": '{"images": [{"id": 1}]}'}, "COCO's format|no picture with annotated things"),
    ],
)
def test_a_folder_that_is_not_in_coco_format_is_refused(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    (tmp_path / "annotations").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        CocoFolder(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        CocoFolder(tmp_path / "none")


def test_the_annotations_can_be_named(tmp_path: Path) -> None:
    folder = instances(tmp_path / "coco")
    other = tmp_path / "instances_val.json"
    other.write_bytes((folder / "annotations" / "instances_val.json").read_bytes())
    (folder / "instances_b.json").write_text("{}")
    assert len(CocoFolder(folder, other)) == 3
    with pytest.raises(ValueError, match="No such file"):
        CocoFolder(folder, tmp_path / "none.json")
