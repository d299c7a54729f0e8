"""Evaluation: one map, one mask; words."""

import numpy as np
import pytest

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
from tests.evaluation.kit import RNG, brute_otsu, words_of

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
