"""A token's map is the same whether it is computed alone, first, or with all others."""

from typing import Any

import numpy as np
import pytest

from methods import token_maps
from tests.methods.kit import LANDSCAPE, LOGITS, OFFERED, answer, picture
from tests.numerics import assert_same

pytestmark = pytest.mark.numeric
WORD = (1, 4)  # neither the first token nor the last
NOISY: dict[str, Any] = {"num_samples": 2, "noise_std": 0.3}


@pytest.mark.parametrize("method", OFFERED)
def test_the_picked_words_maps_first_and_then_the_rest_are_the_maps_of_all(
    method: str, small: tuple[Any, Any]
) -> None:
    options = NOISY if method == "smooth-grad-cam" else {}
    given: dict[str, Any] = {"model": small[0], "processor": small[1], "image": picture(), **options}
    every = token_maps(method, answer(), **given)
    first = token_maps(method, answer(), tokens=WORD, **given)
    rest = token_maps(method, answer(), tokens=[t for t in every.tokens if t not in WORD], **given)
    merged = first.merged_with(rest)
    assert (merged.tokens, merged.maps.shape) == (every.tokens, (7, *LANDSCAPE))
    assert (merged.key, merged.settings) == (every.key, every.settings)
    # A fall of log-probability is as exact as the logits that it is a difference of.
    terms = [LOGITS] if method == "occlusion" else None
    for token, (one, other) in enumerate(zip(merged.maps, every.maps, strict=True)):
        assert np.abs(other).max() > 0, token
        assert_same(one, other, terms=terms)


def test_a_words_map_costs_less_than_all(small: tuple[Any, Any]) -> None:
    given: dict[str, Any] = {"model": small[0], "processor": small[1], "image": picture()}
    for method, forward, backward in (
        ("gradient-attention", 1, 2),
        ("gradient-norm", 1, 2),
        ("rollout", 1, 0),
    ):
        cost = token_maps(method, answer(), tokens=WORD, **given).cost
        assert (cost.forward, cost.backward) == (forward, backward)
