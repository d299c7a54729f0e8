"""Grad-CAM: noise."""

from typing import Any

import numpy as np
import pytest
import torch

from model import encode
from tests.gradcam.kit import LOGITS, PROMPT, cam_of, picture, pixels_seen
from tests.numerics import assert_same

pytestmark = pytest.mark.numeric


def test_noise_is_the_same_in_both_copies_of_a_patch_and_has_the_asked_spread(small: tuple[Any, Any]) -> None:
    clean = encode(*small, picture(), PROMPT).inputs["pixel_values"]
    with pixels_seen(small[0]) as seen:
        cam_of(small, noise_std=0.7, num_samples=2)
    for pixels in seen:
        noise = (pixels - clean).reshape(len(clean), 3, 2, 14, 14)  # (patch, channel, copy, row, col)
        torch.testing.assert_close(noise[:, :, 0], noise[:, :, 1], rtol=0, atol=1e-6)
        flat = noise[:, :, 0]
        assert float(flat.std()) == pytest.approx(0.7, rel=0.02)
        assert abs(float(flat.mean())) < 0.01
        across = torch.corrcoef(flat.transpose(0, 1).reshape(3, -1))
        assert float((across - torch.eye(3)).abs().max()) < 0.03
    assert float(torch.corrcoef(torch.stack([one.flatten() for one in seen]) - clean.flatten())[0, 1]) < 0.03


def test_same_seed_same_map(small: tuple[Any, Any]) -> None:
    one, same, other = (cam_of(small, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.maps, same.maps)
    np.testing.assert_array_equal(one.scores, same.scores)
    assert np.abs(one.maps - other.maps).max() > 0.01 * one.maps.max()
    assert not set(one.scores.tolist()) & set(other.scores.tolist())
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    np.testing.assert_array_equal(cam_of(small, seed=3).maps, one.maps)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_more_samples_keep_those_before(small: tuple[Any, Any]) -> None:
    four, two = (cam_of(small, num_samples=count).scores for count in (4, 2))
    assert_same(four[:2], two, terms=LOGITS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_samples": 0}, "num_samples must be a whole number of at least 1; got 0"),
        ({"num_samples": 2.0}, "num_samples must be a whole number of at least 1; got 2.0"),
        ({"noise_std": -0.1}, "noise_std must be a number of 0 or above; got -0.1"),
        ({"noise_std": float("nan")}, "noise_std must be a number of 0 or above; got nan"),
        ({"noise_std": float("inf")}, "noise_std must be a number of 0 or above; got inf"),
        ({"seed": -1}, "seed must be a whole number of at least 0; got -1"),
        ({"method": "magic"}, "method must be one of grad-cam, gradient-norm; got 'magic'"),
        ({"target": 10}, "there is no token 10: the answer has 10 tokens, 0 to 9"),
        ({"target": []}, "choose at least one token to explain"),
        ({"answer": []}, "the model gave an empty answer: there is nothing to explain"),
        ({"answer": [999]}, "an answer cannot have the token id 999"),
    ],
)
def test_refusals(small: tuple[Any, Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cam_of(small, **settings)


def test_an_answer_cannot_hold_image_tokens(small: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="an answer cannot have the token id"):
        cam_of(small, answer=[65, small[0].config.image_token_id])
