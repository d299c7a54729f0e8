"""Grad-CAM: memory."""

import threading
from typing import Any

import pytest
import torch

from internals import gradients, memory
from internals.memory import pass_bytes
from methods.grad_cam import token_grad_cams
from model import encode
from tests.gradcam.kit import (
    ANSWER,
    LAYERS,
    LOGITS,
    OUT_OF_MEMORY,
    PROMPT,
    SAMPLES,
    cam_of,
    kept_bytes,
    picture,
    small_model,
)
from tests.numerics import assert_same
from utils import Stopped

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize(
    "plan", [gradients._Plan(1), gradients._Plan(2), gradients._Plan(5), gradients._Plan(2, recompute=True)]
)
def test_the_batch_size_does_not_change_the_maps(
    small: tuple[Any, Any], plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = cam_of(small, num_samples=5)
    monkeypatch.setattr(gradients, "_plan", lambda passes: plan)
    batched = cam_of(small, num_samples=5)
    assert_same(batched.maps, usual.maps)
    assert_same(batched.scores, usual.scores, terms=LOGITS)
    tokens = token_grad_cams(*small, picture(), PROMPT, [1, 3], num_samples=2, answer=ANSWER)
    assert_same(tokens[5].maps, cam_of(small, layers=[1, 3], num_samples=2, noise_std=0.15, target=5).maps)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: f"{type(error).__name__} {error}"[-30:])
def test_out_of_memory_halves_the_batch(
    small: tuple[Any, Any], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = cam_of(small, num_samples=7)
    forward, tried = gradients.LayerGradients.forward, []

    def small_memory(self: Any, samples: range) -> Any:
        tried.append((samples.start, len(samples)))
        result = forward(self, samples)
        if len(samples) > 2:
            raise error
        return result

    monkeypatch.setattr(gradients.LayerGradients, "forward", small_memory)
    monkeypatch.setattr(gradients, "_plan", lambda passes: gradients._Plan(7))
    progress: list[tuple[int, int]] = []
    cam = cam_of(small, num_samples=7, on_progress=lambda *done: progress.append(done))
    assert tried == [(0, 7), (0, 3), (0, 1), *((sample, 1) for sample in range(1, 7))]
    assert progress == [(done, 7) for done in range(8)]
    assert_same(cam.maps, usual.maps)


def test_when_one_sample_does_not_fit_layers_are_computed_again(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, forward, kept = cam_of(small), gradients.LayerGradients.forward, []

    def small_memory(self: Any, samples: range) -> Any:
        result, size = kept_bytes(lambda: forward(self, samples))
        kept.append(size)
        if size > 0.5 * kept[0]:
            raise MemoryError
        return result

    monkeypatch.setattr(gradients.LayerGradients, "forward", small_memory)
    monkeypatch.setattr(gradients, "_plan", lambda passes: gradients._Plan(1))
    assert_same(cam_of(small).maps, usual.maps)
    assert len(kept) == SAMPLES + 1
    assert max(kept[1:]) < 0.35 * kept[0]


def test_without_enough_memory_it_says_so(small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 1000)
    with pytest.raises(
        MemoryError, match="not enough memory for the gradients of one sample; a smaller picture"
    ):
        cam_of(small)

    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.undo()
    monkeypatch.setattr(gradients.LayerGradients, "forward", fail)
    with pytest.raises(MemoryError, match="not enough memory for the gradients of one sample"):
        cam_of(small)


def test_the_first_batch_fits_the_free_memory(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plans, plan = [], gradients._plan

    def noted(passes: Any) -> Any:
        plans.append(plan(passes))
        return plans[-1]

    monkeypatch.setattr(gradients, "_plan", noted)
    stop, rows = threading.Event(), len(ANSWER)
    stop.set()  # the plan is enough
    read = encode(*small, picture(), PROMPT).prompt_length + rows - 1
    whole = pass_bytes(small[0], read, rows, range(LAYERS - 1))
    sparing = pass_bytes(small[0], read, rows, range(LAYERS - 1), recompute=True)
    assert sparing < whole
    for free, expected in (
        (1000 * whole, gradients._Plan(1024 // read)),
        (3.5 * whole / memory.USABLE, gradients._Plan(3)),
        (1.01 * whole / memory.USABLE, gradients._Plan(1)),
        (0.99 * whole / memory.USABLE, gradients._Plan(1, recompute=True)),
        (1.01 * sparing, gradients._Plan(1, recompute=True)),
    ):
        monkeypatch.setattr(memory, "free_memory", lambda device, free=free: int(free))
        with pytest.raises(Stopped):
            cam_of(small, num_samples=20, stop=stop)
        assert plans[-1] == expected


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lowest", [0, 2])
def test_the_estimate_covers_what_autograd_keeps(
    backend: str, dtype: torch.dtype, lowest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = small_model(intermediate_size=320)
    model.to(dtype).set_attn_implementation(backend)
    forward, kept = gradients.LayerGradients.forward, []

    def measured(self: Any, samples: range) -> Any:
        result, size = kept_bytes(lambda: forward(self, samples))
        kept.append((size, pass_bytes(model, self.read, len(self.rows), self.layers)))
        return result

    monkeypatch.setattr(gradients.LayerGradients, "forward", measured)
    cam = cam_of((model, processor), layers=[lowest, 3], num_samples=1, target=-1)
    assert cam.maps.any()
    size, estimate = kept[0]
    assert size < estimate < 3 * size
