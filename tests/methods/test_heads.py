"""Methods: heads."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from methods import rank_heads, token_maps, top_heads
from methods.heads import above_bend, spatial_entropy
from tests.attention_processor.kit import (
    GRID,
    HEADS,
    RECORDED,
    TOKENS,
    made_capture,
)
from tests.methods.kit import slow_entropy

pytestmark = pytest.mark.numeric


def test_spatial_entropy() -> None:
    maps = np.random.default_rng(0).exponential(size=(2, 40, 5, 7)) ** 3
    maps[0, 0] = 0
    maps[0, 0, 1:3, 2:6] = 1
    found = spatial_entropy(maps)
    assert found.shape == (2, 40)
    for place in product(range(2), range(40)):
        assert found[place] == pytest.approx(slow_entropy(maps[place]), abs=1e-12)
    assert found[0, 0] == 0
    snake = np.zeros((7, 9))  # one piece that winds through the whole map
    snake[::2] = 1
    snake[1::4, -1] = snake[3::4, 0] = 1
    two = np.zeros((3, 5))
    two[0, 0] = two[:, 4] = 1
    checks = [(snake, 0.0), (np.ones((4, 3)), 0.0), (two, -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)))]
    for heat, expected in checks:
        assert spatial_entropy(heat) == pytest.approx(expected, abs=1e-12)


def test_the_bend() -> None:
    values = np.array([[0.1, 0.9, 0.05, 0.0], [0.95, 0.12, 0.06, 0.3]])
    np.testing.assert_array_equal(above_bend(values), values > 0.12)
    for without in (np.full(4, 0.3), np.array([0.9, 0.1, 0.8, 0.7]), np.array([0.25, 0.5, 0.75])):
        assert above_bend(without).all()


def test_heads_that_look_at_one_place_come_first() -> None:
    capture = made_capture()
    attention, shares = torch.full_like(capture.attention, 1e-4), torch.zeros_like(capture.shares)
    planted = {(2, 1): (0.6, [8, 9, 16]), (0, 0): (0.7, [0, 6, 28, 34]), (1, 0): (0.5, [17])}
    for (index, head), (share, patches) in planted.items():
        attention[:, index, head, patches] = share / len(patches)
    shares[..., 0] = attention.sum(-1)
    shares[..., 1] = 1 - shares[..., 0]
    places = torch.zeros_like(capture.text_attention)
    places[:, :, 0] = shares[..., 1].mean(2)
    looking = replace(capture, attention=attention, shares=shares, text_attention=places)
    ranks = rank_heads(looking)
    assert [(rank.layer, rank.head) for rank in ranks[:3]] == [(5, 1), (2, 0), (0, 0)]
    assert [rank.on_image for rank in ranks] == [True] * 3 + [False] * 3
    assert ranks[2].entropy == pytest.approx(math.log(4))
    assert ranks[0].share == pytest.approx(0.6032, abs=1e-4)
    assert top_heads(looking, 2) == ((5, 1), (2, 0))
    found = token_maps("attention", looking, tokens=3, pairs=top_heads(looking, 2))
    assert set(np.argsort(found.maps[0].reshape(-1))[-4:]) == {8, 9, 16, 17}
    for count in (0, 7, True):
        with pytest.raises(ValueError, match="number of heads must be 1 to 6"):
            top_heads(looking, count)


def test_ranks_are_means_over_the_tokens() -> None:
    capture = made_capture()
    ranks = {(rank.layer, rank.head): rank for rank in rank_heads(capture, [5, -1])}
    assert len(ranks) == len(RECORDED) * HEADS
    for index, layer in enumerate(RECORDED):
        for head in range(HEADS):
            each = [capture.attention[token, index, head].numpy().reshape(GRID) for token in (5, TOKENS - 1)]
            rank = ranks[layer, head]
            assert rank.entropy == pytest.approx(np.mean([slow_entropy(one) for one in each]))
            assert rank.share == pytest.approx(np.mean([one.sum() for one in each]), rel=1e-5)
    order = rank_heads(capture, [5, -1])
    on, off = ([rank for rank in order if rank.on_image is side] for side in (True, False))
    assert list(order) == on + off
    assert [rank.entropy for rank in on] == sorted(rank.entropy for rank in on)
    assert [rank.share for rank in off] == sorted((rank.share for rank in off), reverse=True)
    assert min(rank.share for rank in on) > max(rank.share for rank in off)
