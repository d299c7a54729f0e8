"""Grad-CAM: one layer, one sample, the plain model with everything that it computes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRMSNorm

from internals.hooks import hooked
from model import decoder_layers
from records.targets import Contrast
from tests.gradcam.kit import (
    ANSWER,
    LANDSCAPE,
    LAYERS,
    PORTRAIT,
    SAMPLES,
    TARGETS,
    cam_of,
    logits_of,
    pixels_seen,
    read_with,
    slow_gradient,
    slow_map,
    small_model,
)
from tests.numerics import assert_same

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize(("target", "ids", "score"), TARGETS, ids=lambda value: str(value)[:24])
@pytest.mark.parametrize("grid", [LANDSCAPE, PORTRAIT])
def test_equals_the_definition(
    small: tuple[Any, Any], grid: tuple[int, int], target: Any, ids: Sequence[int], score: Any
) -> None:
    if isinstance(target, Contrast):  # in bytes the answer says " red": compare at the r
        target = replace(target, at=2)
    with pixels_seen(small[0]) as seen:
        cam = cam_of(small, grid, target=target)
    assert len(seen) == SAMPLES
    assert cam.maps.shape == (LAYERS - 1, *grid)
    assert cam.maps.dtype == np.float32
    assert cam.layers == (0, 1, 2, 3)
    assert (cam.token_ids, cam.grid) == (tuple(ids), grid)
    for layer in (0, 2, 3):
        expected = np.mean([slow_map(small, grid, ids, pixels, layer, score) for pixels in seen], axis=0)
        assert_same(cam.layer_map(layer), expected)
    inputs, _, length = read_with(small, grid, ids, seen[1])
    with torch.no_grad():
        logits = small[0](**inputs).logits[0]
    small[0].model.rope_deltas = None
    assert_same(cam.scores[1], score(logits, length), terms=logits)


@pytest.mark.parametrize("grid", [LANDSCAPE, PORTRAIT])
def test_the_gradient_norm_equals_its_definition(small: tuple[Any, Any], grid: tuple[int, int]) -> None:
    with pixels_seen(small[0]) as seen:
        cam = cam_of(small, grid, target=[3, 4], method="gradient-norm")
    for layer in (0, 3):
        gradients = [
            slow_gradient(small, grid, ANSWER, pixels, layer, logits_of(ANSWER, [3, 4]))[1] for pixels in seen
        ]
        norms = [[sum(value * value for value in patch) ** 0.5 for patch in one] for one in gradients]
        assert_same(cam.layer_map(layer), np.mean(norms, axis=0).reshape(grid))
    assert cam.settings["method"] == "gradient-norm"


def test_raw_maps_are_averaged_not_normalised_ones(small: tuple[Any, Any]) -> None:
    with pixels_seen(small[0]) as seen:
        cam = cam_of(small, layers=[1], noise_std=2.0)
    each = [slow_map(small, LANDSCAPE, ANSWER, pixels, 1, TARGETS[0][2]) for pixels in seen]
    assert_same(cam.maps[0], np.mean(each, axis=0))
    normalised = np.mean([one / one.max() for one in each], axis=0)
    assert np.abs(normalised / normalised.max() - cam.maps[0] / cam.maps[0].max()).max() > 0.05


def test_without_noise_it_is_grad_cam_whatever_the_number_of_samples(small: tuple[Any, Any]) -> None:
    plain = cam_of(small, num_samples=1, noise_std=0)
    many = cam_of(small, num_samples=7, noise_std=0.0)
    np.testing.assert_array_equal(plain.maps, many.maps)
    assert many.scores.tolist() == [plain.scores[0]] * 7
    for layer in plain.layers:
        assert_same(plain.layer_map(layer), slow_map(small, LANDSCAPE, ANSWER, None, layer, TARGETS[0][2]))


def test_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64: the map of patch p is d/dε s(F + ε·F_p at every visual token) / number of patches."""

    def norm(self: Any, x: torch.Tensor) -> torch.Tensor:  # the model's own computes in float32
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)

    monkeypatch.setattr(Qwen2_5_VLRMSNorm, "forward", norm)
    small = small_model()
    model, token, layer, step = small[0].double(), 4, 2, 1e-5
    cam = cam_of(small, layers=[layer], target=token, noise_std=0)
    inputs, visual, length = read_with(small, LANDSCAPE, ANSWER, None)
    by, patch = 0.0, 0

    def move(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, visual] += by * output[:, visual[patch]]
        return output

    def score() -> float:
        return float(model(**inputs).logits[0, length + token - 1, ANSWER[token]])

    slopes = {}
    with torch.no_grad(), hooked([decoder_layers(model)[layer]], lambda index, *given: move(*given)):
        for patch in (0, 5, 12, 19, 27):
            by = step
            above = score()
            by = -step
            slopes[patch] = (above - score()) / (2 * step) / len(visual)
    assert min(slopes.values()) < 0 < max(slopes.values())
    for patch, slope in slopes.items():
        assert cam.maps[0].reshape(-1)[patch] == pytest.approx(max(0.0, slope), rel=1e-4, abs=1e-7)


def test_the_backend_does_not_matter(small: tuple[Any, Any]) -> None:
    sdpa = cam_of(small)
    small[0].set_attn_implementation({"text_config": "eager"})
    try:
        eager = cam_of(small)
    finally:
        small[0].set_attn_implementation({"text_config": "sdpa"})
    assert_same(eager.maps, sdpa.maps)
    assert (sdpa.settings["attention_backend"], eager.settings["attention_backend"]) == ("sdpa", "eager")
