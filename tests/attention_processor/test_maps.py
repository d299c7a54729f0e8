"""The processor: maps; shares; text that the answer leaned on."""

from typing import Any

import numpy as np
import pytest
import torch

from attention_processor import Aggregation, AttentionProcessor
from records.capture import Capture
from tests.attention_processor.kit import (
    CONTEXT,
    GRID,
    HEADS,
    LAYERS,
    RECORDED,
    TOKENS,
    assert_mean,
    made_capture,
    rows,
    slow_map,
)

# --- Maps ---


@pytest.mark.parametrize("aggregation", ["mean", "max", "min"])
@pytest.mark.parametrize(
    ("tokens", "layers", "heads"),
    [([3], None, None), ([0], [2], [1]), ([1, 4, 10], [0, 5], None), ([7, 2], None, [0])],
)
def test_maps_equal_the_definition(
    capture: Capture,
    processor: AttentionProcessor,
    tokens: list[int],
    layers: list[int] | None,
    heads: list[int] | None,
    aggregation: Any,
) -> None:
    mine = processor.get_attention_heatmap_for_token(tokens, layers, heads, aggregation)
    truth = slow_map(capture.attention, tokens, layers or list(RECORDED), heads or [0, 1], aggregation)
    assert mine.shape == GRID
    assert mine.dtype == np.float32
    assert_mean(mine, truth)


def test_prompt_maps_equal_the_definition(capture: Capture, processor: AttentionProcessor) -> None:
    mine = processor.get_attention_heatmap_for_prompt_token([1, 3], [2, 5], [1], "max")
    assert_mean(mine, slow_map(capture.prompt_attention, [1, 3], [2, 5], [1], "max"))
    assert mine.shape == GRID


def test_a_planted_spike_shows_in_its_cell_and_nowhere_else() -> None:
    attention, shares = rows(TOKENS, 0)
    shares[3, 1, 1] = torch.tensor([0.95, 0.03, 0.02])
    attention[3, 1, 1] = 0.001
    attention[3, 1, 1, 1 * GRID[1] + 4] += (
        0.95 - attention[3, 1, 1].sum()
    )  # token 3, layer 2, head 1, cell (1, 4)
    processor = AttentionProcessor(made_capture(attention=attention, shares=shares))

    def hottest(layers: list[int] | None, heads: list[int] | None) -> tuple[int, int]:
        heat = processor.get_attention_heatmap_for_token(3, layers, heads, "max")
        row, col = divmod(int(heat.argmax()), GRID[1])
        return row, col

    assert hottest(None, None) == hottest([2], [1]) == hottest([2, 5], None) == (1, 4)
    untouched = AttentionProcessor(made_capture())
    elsewhere: list[Any] = [(3, [2], [0]), (3, [0, 5], [1]), (2, None, None), (4, None, None)]
    for choice in elsewhere:
        same = untouched.get_attention_heatmap_for_token(*choice)
        assert np.array_equal(processor.get_attention_heatmap_for_token(*choice), same)


def test_negative_numbers_count_from_the_last(processor: AttentionProcessor) -> None:
    def heat(*choice: Any) -> np.ndarray:
        return processor.get_attention_heatmap_for_token(*choice)

    assert np.array_equal(heat(-1, [-1], [-2]), heat(TOKENS - 1, [LAYERS - 1], [0]))
    assert np.array_equal(heat(-TOKENS, [-4], None), heat(0, [2], None))
    assert np.array_equal(heat(np.int64(4)), heat([4]))
    assert np.array_equal(heat(range(2, 5)), heat((2, 3, 4)))


def test_several_tokens_give_the_mean_of_their_maps(processor: AttentionProcessor) -> None:
    each = [processor.get_attention_heatmap_for_token(token, aggregation="max") for token in (2, 3, 9)]
    together = processor.get_attention_heatmap_for_token([2, 3, 9], aggregation="max")
    assert_mean(together, np.mean(each, axis=0))


def test_uniform_attention_gives_a_constant_map() -> None:
    patches = GRID[0] * GRID[1]
    attention = torch.full((TOKENS, len(RECORDED), HEADS, patches), 0.5 / patches)
    shares = torch.tensor([0.5, 0.3, 0.2]).expand(TOKENS, len(RECORDED), HEADS, 3)
    processor = AttentionProcessor(made_capture(attention=attention, shares=shares))
    aggregations: list[Aggregation] = ["mean", "max", "min"]
    for aggregation in aggregations:
        heat = processor.get_attention_heatmap_for_token(range(TOKENS), aggregation=aggregation)
        assert_mean(heat, np.full(GRID, 0.5 / patches))


def test_float16_is_averaged_in_float32() -> None:
    attention, _ = rows(TOKENS, 0)
    half = AttentionProcessor(made_capture(attention=attention.half()))
    mine = half.get_attention_heatmap_for_token(5)
    assert mine.dtype == np.float32
    assert_mean(mine.ravel(), attention[5].half().double().mean((0, 1)))


def test_a_map_is_the_callers_own(capture: Capture, processor: AttentionProcessor) -> None:
    before = capture.attention.clone()
    processor.get_attention_heatmap_for_token(0, [0], [0])[:] = 9
    processor.shares(0, [0], [0])[:] = 9
    assert torch.equal(capture.attention, before)
    assert float(capture.shares.max()) <= 1


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ((11,), r"there is no token 11: there are 11 \(0 to 10\)"),
        ((-12,), "there is no token -12: there are 11"),
        (([0, 11],), "there is no token 11"),
        (([],), "choose at least one token"),
        ((True,), "a token must be a whole number; got True"),
        ((1.5,), "a token must be a whole number; got 1.5"),
        ((0, [6]), r"there is no layer 6: there are 6 \(0 to 5\)"),
        ((0, [-7]), "there is no layer -7"),
        ((0, [0, 3]), "layer 3 was not recorded; recorded are 0, 2, 5"),
        ((0, [-2]), "layer 4 was not recorded"),
        ((0, []), "choose at least one layer"),
        ((0, None, [2]), r"there is no head 2: there are 2 \(0 to 1\)"),
        ((0, None, []), "choose at least one head"),
        ((0, None, [0.0]), "a head must be a whole number; got 0.0"),
        ((0, None, None, "median"), "aggregation must be one of mean, max, min; got 'median'"),
    ],
)
def test_choices_beyond_the_capture_are_refused(
    processor: AttentionProcessor, choice: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        processor.get_attention_heatmap_for_token(*choice)


def test_prompt_tokens_beyond_the_prompt_are_refused(processor: AttentionProcessor) -> None:
    with pytest.raises(ValueError, match=r"there is no prompt token 4: there are 4 \(0 to 3\)"):
        processor.get_attention_heatmap_for_prompt_token(4)


def test_an_empty_answer_has_no_maps_and_no_words() -> None:
    attention, shares = rows(0, 0)
    empty = {"token_ids": (), "tokens": (), "token_spans": (), "text": "", "logprobs": torch.empty(0)}
    processor = AttentionProcessor(made_capture(attention=attention, shares=shares, **empty))
    assert processor.words() == []
    with pytest.raises(ValueError, match=r"there is no token 0: there are 0 \(none\)"):
        processor.get_attention_heatmap_for_token(0)
    assert processor.get_attention_heatmap_for_prompt_token(0).shape == GRID


# --- Shares ---


def test_shares_are_means_and_sum_to_one(capture: Capture, processor: AttentionProcessor) -> None:
    mine = processor.shares([4, -1], [5, 0], [1])
    truth = np.zeros(3)
    for token in (4, 10):
        for index in (0, 2):
            truth += capture.shares[token, index, 1].numpy() / 4
    assert_mean(mine, truth)
    assert_mean(processor.shares(3).sum(), 1)
    heat = processor.get_attention_heatmap_for_token(3)
    assert_mean(heat.sum(), processor.shares(3)[0])
    assert_mean(processor.prompt_shares(2, [2], [0]), capture.prompt_shares[2, 1, 0])


# --- Text that the answer leaned on ---


def test_text_attention_is_the_mean_over_tokens_and_layers(capture: Capture) -> None:
    found = AttentionProcessor(capture).text_attention([3, -1], [0, 5])
    expected = np.zeros(len(CONTEXT) + TOKENS)
    for token in (3, 10):
        for layer in (0, 2):
            expected += capture.text_attention[token, layer].numpy() / 4
    assert_mean(found, expected)
    assert found[len(CONTEXT) + 10] == 0
    shares = AttentionProcessor(capture).shares([3, -1], [0, 5])
    assert_mean(found.sum(), shares[1:].sum())


def test_shares_of_each_layer(capture: Capture) -> None:
    found = AttentionProcessor(capture).layer_shares([1, 4])
    assert found.shape == (len(RECORDED), 3)
    assert_mean(found.mean(0), AttentionProcessor(capture).shares([1, 4]))
    of_head = [[capture.shares[token, 1, head].numpy() for head in range(HEADS)] for token in (1, 4)]
    assert_mean(found[1], np.mean(of_head, axis=(0, 1)))
    one_head = AttentionProcessor(capture).layer_shares(4, [1])
    assert_mean(one_head[2], capture.shares[4, 2, 1])
