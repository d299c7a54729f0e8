"""Grad-CAM, with and without noise, and the gradient norm as maps of tokens: the mean over chosen layers.

What is computed stands in `grad_cam.py`, with its papers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from methods.grad_cam import token_grad_cams
from methods.question import Maps, Question, later_half
from records.layers import WHY_NOT_LAST


def grad_cam(
    question: Question,
    layers: Sequence[int] | None,
    num_samples: int = 1,
    noise_std: float = 0.0,
    seed: int = 0,
    *,
    method: str = "grad-cam",
) -> Maps:
    """Return the mean over layers of the Grad-CAM (or gradient norm) of each token; the last has none."""
    count = question.capture.layer_count
    numbers = later_half(count - 1) if layers is None else question.layers(layers)
    below = [layer for layer in numbers if layer < count - 1]
    if not below:
        raise ValueError(f"layer {count - 1} is the last one and has no Grad-CAM: {WHY_NOT_LAST}")
    model, image = question.forced.model, question.image
    assert image is not None  # there would be no reading
    cams = token_grad_cams(
        model,
        question.processor,
        image,
        question.capture.prompt,
        below,
        question.tokens,
        num_samples,
        noise_std,
        seed,
        method=method,
        answer=question.capture,
        on_progress=question.watch.on_progress,
        stop=question.watch.stop,
    )
    left_out = f"Layer {count - 1}, the last, is left out: {WHY_NOT_LAST}."
    samples = num_samples if noise_std else 1
    return Maps(
        np.stack([cam.maps.mean(axis=0) for cam in cams]),
        {"layers": below},
        forward=samples,
        backward=samples * len(cams),
        notes=(left_out,) if below != list(numbers) else (),
    )
