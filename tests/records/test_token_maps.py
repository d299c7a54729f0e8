"""The record of a method's maps: what it refuses, maps of words, and what it says of itself."""

import json
from typing import Any

import numpy as np
import pytest

from records.token_maps import Cost, TokenMaps
from tests.attention_processor.kit import made_capture
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


MAPS = np.random.default_rng(1).random((5, 2, 3), dtype=np.float32)


def some(*tokens: int, **parts: Any) -> TokenMaps:
    """Return maps of some of five tokens."""
    settings = {"layers": [2, 4], "dtype": "float32"}
    given = {"cost": Cost(1, len(tokens), 0.25), "settings": settings, **parts}
    return TokenMaps("rollout", tokens, MAPS[list(tokens)], **given)


def test_maps_of_some_tokens_are_merged() -> None:
    first, rest = some(3, notes=("one", "both")), some(0, 1, 4, notes=("both", "two"))
    for merged in (first.merged_with(rest), rest.merged_with(first)):
        assert merged.tokens == (0, 1, 3, 4)
        np.testing.assert_array_equal(merged.maps, MAPS[[0, 1, 3, 4]])
        assert merged.cost == Cost(2, 4, 0.5)
        assert set(merged.notes) == {"one", "both", "two"}
        assert len(merged.notes) == 3
        assert (merged.key, merged.settings) == (first.key, first.settings)
    assert first.tokens == (3,)
    newer = TokenMaps("rollout", (3,), MAPS[[0]], settings=first.settings)
    np.testing.assert_array_equal(some(2, 3).merged_with(newer).maps, MAPS[[2, 0]])
    assert some(1).joined_to(some(2)).tokens == (1, 2)
    other = some(1, settings={"layers": [4]})
    assert other.joined_to(some(2)) is other
    assert other.joined_to(None) is other


@pytest.mark.parametrize(
    "other",
    [
        some(1, settings={"layers": [2]}),
        some(1, of_prompt=True),
        some(1, removed=(3,), settings={"layers": [2, 4], "dtype": "float32", "sinks": []}),
        TokenMaps("tam", (1,), MAPS[:1], settings={"layers": [2, 4], "dtype": "float32"}),
        TokenMaps(
            "rollout", (1,), MAPS[:1].reshape(1, 3, 2), settings={"layers": [2, 4], "dtype": "float32"}
        ),
    ],
)
def test_maps_that_were_made_in_another_way_are_not_merged(other: TokenMaps) -> None:
    with pytest.raises(ValueError, match="cannot be merged with Attention rollout"):
        some(0).merged_with(other)


def test_maps_of_different_answers_are_not_merged() -> None:
    one, other = made_capture(), made_capture(token_ids=tuple(range(1, 12)))
    assert some(0, capture=one).merged_with(some(1, capture=made_capture())).capture is one
    assert some(0).merged_with(some(1, capture=one)).capture is one
    with pytest.raises(ValueError, match="maps of different answers"):
        some(0, capture=one).merged_with(some(1, capture=other))


def test_the_key_tells_maps_apart_by_all_that_they_were_made_of() -> None:
    key = some(0).key
    assert key.startswith("rollout-")
    again = json.loads(json.dumps({"dtype": "float32", "layers": (2, 4)}))
    assert some(3, settings=again, cost=Cost(9), notes=("x",)).key == key
    others = [some(0, settings={**again, "heads": [1]}), some(0, removed=())]
    assert len({key, *(other.key for other in others)}) == 3


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
        ("occlusion", {"size": 2}, Cost(9), "regions of 2 × 2 cells · 9 forward passes"),
        ("occlusion", {"size": 2}, Cost(1, 0, 0.06), "regions of 2 × 2 cells · 1 forward pass, 0.1 s"),
        ("tam", {}, Cost(), "all layers"),
    ],
)
def test_what_maps_were_made_of_is_one_line(
    method: str, settings: dict[str, Any], cost: Cost, line: str
) -> None:
    found = TokenMaps(method, (0,), np.zeros((1, 2, 3), np.float32), cost, settings)
    assert found.how == line
    assert found.line == (line if method == "attention" else f"{found.label} · {line}")
