"""Methods: sinks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from methods import TokenMaps, sink_patches, without_sinks
from methods.sinks import Sink
from tests.attention_processor.kit import (
    HEADS,
    PROMPT_TOKENS,
    RECORDED,
    TOKENS,
    made_capture,
    rows,
)
from tests.methods.kit import capture_of, noisy

pytestmark = pytest.mark.numeric


def test_planted_sinks_are_found_the_strongest_first() -> None:
    maps, asked = noisy(TOKENS, 0), noisy(PROMPT_TOKENS, 1)
    for each in (maps, asked):
        each[:, 0] *= 20
        each[:, 33] *= 40
        each[0, :] = 1  # one row that does not look at them: nearly every row is enough
    sinks = sink_patches(capture_of(maps, asked))
    assert [sink.patch for sink in sinks] == [33, 0]
    rows_ = np.concatenate([asked, maps])
    strengths = sorted(rows_[:, 33] / np.median(rows_, axis=1))
    assert sinks[0].strength == pytest.approx(strengths[int(0.2 * (len(strengths) - 1))], rel=1e-4)
    assert sink_patches(capture_of(maps, asked), threshold=30.0) == ()
    with pytest.raises(ValueError, match="threshold must be above 1"):
        sink_patches(capture_of(maps, asked), threshold=1.0)


def test_words_that_look_elsewhere_each_are_no_sinks() -> None:
    maps, asked = noisy(TOKENS, 0), noisy(PROMPT_TOKENS, 1)
    for token in range(TOKENS):
        maps[token, 3 * token] = 300
    assert sink_patches(capture_of(maps, asked)) == ()
    maps[:7, 8] = 300  # more than half of the words, but no word of the prompt
    assert sink_patches(capture_of(maps, asked)) == ()
    assert sink_patches(capture_of(noisy(TOKENS, 2), noisy(PROMPT_TOKENS, 3))) == ()


@pytest.mark.parametrize(("looking", "found"), [(3, []), (4, [17])])
def test_a_thing_that_every_word_looks_at_with_few_heads_is_no_sink(looking: int, found: list[int]) -> None:
    planted: dict[str, Any] = {}
    for name, count in (("", TOKENS), ("prompt_", PROMPT_TOKENS)):
        attention = torch.tensor(noisy(count, 5), dtype=torch.float32)[:, None, None]
        attention = attention.repeat(1, len(RECORDED), HEADS, 1)
        attention.reshape(count, -1, attention.shape[-1])[:, :looking, 17] *= 60  # of six heads
        planted[f"{name}attention"] = attention / attention.sum(-1, keepdim=True) / 2
        shares = torch.tensor([0.5, 0.3, 0.2]).expand(count, len(RECORDED), HEADS, 3)
        planted[f"{name}shares"] = shares.contiguous()
    assert [sink.patch for sink in sink_patches(made_capture(**planted))] == found


def test_sinks_of_chosen_layers_and_heads() -> None:
    (attention, shares), (asked, asked_shares) = rows(TOKENS, 0), rows(PROMPT_TOKENS, 1)
    for each, parts in ((attention, shares), (asked, asked_shares)):
        each[:, 1, 1] = each[:, 1, 1].mean()
        each[:, 1, 1, 17] *= 50
        total = each[:, 1, 1].sum(-1, keepdim=True) * 2
        each[:, 1, 1] /= total
        parts[:, 1, 1] = torch.tensor([0.5, 0.3, 0.2])
    capture = made_capture(
        attention=attention, shares=shares, prompt_attention=asked, prompt_shares=asked_shares
    )
    assert [sink.patch for sink in sink_patches(capture, layers=[2], heads=[1])] == [17]
    assert sink_patches(capture, layers=[0], heads=[1]) == ()


def test_without_sinks_nothing_is_claimed_for_them() -> None:
    heat = np.arange(6, dtype=np.float32).reshape(2, 3) + 2
    record = TokenMaps("attention", (1, 4), np.stack([heat, 9 - heat]))
    found = without_sinks(record, [Sink(5, 30.0), Sink(0, 9.0)])
    np.testing.assert_array_equal(found.maps, [[[3, 3, 4], [5, 6, 3]], [[3, 6, 5], [4, 3, 3]]])
    assert (found.removed, found.settings["sinks"]) == ((0, 5), [[5, 30.0], [0, 9.0]])
    assert (record.removed, heat[1, 2]) == (None, 7)
    nothing = without_sinks(record, [])
    np.testing.assert_array_equal(nothing.maps, record.maps)
    assert nothing.removed == ()
    with pytest.raises(ValueError, match="every patch is a sink"):
        without_sinks(record, [Sink(patch, 9.0) for patch in range(6)])
    with pytest.raises(ValueError, match="Occlusion has no sinks to leave out"):
        without_sinks(replace(record, method="occlusion"), [])
