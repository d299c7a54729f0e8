"""The record of a method's maps: what it refuses, maps of words, and what it says of itself."""

from typing import Any

import numpy as np
import pytest

from records.token_maps import Cost, TokenMaps
from tests.numerics import assert_same


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "other"}, "method must be one of"),
        ({"tokens": (3, 1)}, "tokens ascending"),
        ({"tokens": (1,)}, r"\(token, h, w\)=\(1, h, w\)"),
        ({"maps": np.zeros((2, 12), np.float32)}, r"\(token, h, w\)"),
        ({"maps": np.zeros((2, 3, 4))}, "float32"),
        ({"maps": np.full((2, 3, 4), np.nan, np.float32)}, "NaN"),
    ],
)
def test_a_record_refuses_parts_that_disagree(changed: dict[str, Any], message: str) -> None:
    parts: dict[str, Any] = {"method": "tam", "tokens": (1, 3), "maps": np.zeros((2, 3, 4), np.float32)}
    assert TokenMaps(**parts).cost == Cost(0, 0, 0.0)
    with pytest.raises(ValueError, match=message):
        TokenMaps(**parts | changed)


def test_the_map_of_a_word_is_the_mean_of_its_tokens() -> None:
    maps = np.random.default_rng(0).random((3, 2, 5), dtype=np.float32)
    record = TokenMaps("tam", (1, 2, 6), maps)
    np.testing.assert_array_equal(record.token_map(2), maps[1])
    assert_same(record.token_map([1, 6]), (maps[0] + maps[2]) / 2)
    with pytest.raises(ValueError, match="token 4 is not among those computed: 1, 2, 6"):
        record.token_map([1, 4])


@pytest.mark.parametrize(
    ("method", "settings", "cost", "line"),
    [
        (
            "attention",
            {"layers": [0, 1, 2, 5], "heads": [1], "aggregation": "max", "pairs": None},
            Cost(),
            "layers 0-2,5 · heads 1 · max",
        ),
        ("heads-3", {"pairs": [[5, 0], [2, 1]]}, Cost(), "layer.head 5.0, 2.1"),
        (
            "smooth-grad-cam",
            {"layers": [1, 2], "num_samples": 4, "noise_std": 0.15},
            Cost(4, 12, 1.26),
            "layers 1-2 · 4 samples, noise 0.15 · 4 forward, 12 backward passes, 1.3 s",
        ),
        ("occlusion", {"size": 2}, Cost(9), "regions of 2 × 2 cells · 9 forward, 0 backward passes, 0.0 s"),
        ("tam", {}, Cost(), "all layers"),
    ],
)
def test_what_maps_were_made_of_is_one_line(
    method: str, settings: dict[str, Any], cost: Cost, line: str
) -> None:
    found = TokenMaps(method, (0,), np.zeros((1, 2, 3), np.float32), cost, settings)
    assert found.how == line
    assert found.line == (line if method == "attention" else f"{found.label} · {line}")
