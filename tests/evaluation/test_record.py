"""Evaluation: estimates."""

import numpy as np
import pytest

from evaluation import (
    Value,
)
from tests.evaluation.kit import evaluation


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
