"""The one signature of all methods."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attention_processor import Aggregation, chosen_indices
from methods.activation import token_activation
from methods.attended import Pairs, attention, relative
from methods.flow import gradient_attention, rollout
from methods.grad_cam import token_grad_cams
from methods.occlusion import Fill, occlusion
from methods.reading import Maps, Question, later_half
from methods.record import METHODS, Cost, TokenMaps
from model import Processor, decoder_config
from records.capture import Capture
from records.layers import WHY_NOT_LAST
from utils import OnProgress, Watch


class Options(TypedDict, total=False):
    """What a method may take beside the capture; `METHODS[name].options` says which, and the defaults.

    None is the method's own choice. Layers: all recorded ones for attention, the later half for the others.
    Heads: all. `epsilon`: 1 / number of patches. `size`: a quarter of the grid's shorter side; `stride`: half
    the size.
    """

    layers: Sequence[int] | None
    heads: Sequence[int] | None
    aggregation: Aggregation
    pairs: Pairs | None  # (layer, head) each: in the place of layers and heads
    epsilon: float | None
    num_samples: int
    noise_std: float
    seed: int
    size: int | None
    stride: int | None
    fill: Fill


def token_maps(
    method: str,
    capture: Capture,
    *,
    model: Any = None,
    processor: Processor | None = None,
    image: Image.Image | None = None,
    tokens: int | Sequence[int] | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
    **options: Unpack[Options],
) -> TokenMaps:
    """Return a raw map (h, w) of each of the answer's tokens, all of them by default, by one of `METHODS`.

    A word, a range or the whole answer is the mean of its tokens' maps: `TokenMaps.token_map` of several.
    "attention" needs the capture alone; the others the model, its processor and the picture, and read prompt
    and answer as they are (teacher forcing). `on_progress(passes done, passes in all)` is called before the
    first pass and after each batch of them; setting `stop` ends the computation there. The model is put back
    as it was, also after an error. Of the attention of one sequence (head, position, position), at most one
    layer is held at a time, and where it is rebuilt a few hundred rows of that.

    Raises:
        ValueError: for an unknown method, an option that it does not take or a value out of range; for a
            capture that was not made from this model, picture and prompt.
        Stopped: if `stop` was set.
        MemoryError: if one pass alone does not fit.
        RuntimeError: if the model is at work for something else.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    settings = {**METHODS[method].options, **_accepted(method, options)}
    chosen = _chosen_tokens(capture, tokens)
    question = Question(capture, chosen, model, processor, image, Watch(on_progress, stop))
    started = perf_counter()
    found = _MAKERS[method](question, **settings)
    cost = Cost(found.forward, found.backward, perf_counter() - started)
    return TokenMaps(
        method=method,
        tokens=chosen,
        maps=found.maps.reshape(-1, *capture.grid),
        cost=cost,
        settings={**settings, **found.settings, **(_of_model(model) if METHODS[method].needs_model else {})},
        notes=(*found.notes, *_zero_notes(chosen, found.maps)),
    )


def _accepted(method: str, options: Options) -> Options:
    takes = METHODS[method].options
    for name in options:
        if name not in takes:
            label, listed = METHODS[method].label, ", ".join(takes) or "no options"
            raise ValueError(f"{label} does not take {name!r}; it takes {listed}")
    return options


def _chosen_tokens(capture: Capture, tokens: int | Sequence[int] | None) -> tuple[int, ...]:
    count = len(capture.token_ids)
    if count == 0:
        raise ValueError("the model gave an empty answer: there is nothing to explain")
    return (
        tuple(range(count)) if tokens is None else tuple(sorted(set(chosen_indices(tokens, count, "token"))))
    )


def _zero_notes(tokens: Sequence[int], maps: NDArray[np.float32]) -> list[str]:
    pairs = zip(tokens, maps, strict=True)
    return [f"The map of token {token} is zero everywhere." for token, heat in pairs if not heat.any()]


def _of_model(model: Any) -> dict[str, str]:
    return {
        "dtype": str(model.dtype).removeprefix("torch."),
        "attention_backend": decoder_config(model)._attn_implementation,
    }


def _grad_cam(
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
    model, image = question.reading.model, question.image
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


def _gradient_norm(question: Question, **options: Any) -> Maps:
    return _grad_cam(question, **options, method="gradient-norm")


_MAKERS: Mapping[str, Callable[..., Maps]] = {
    "attention": attention,
    "relative": relative,
    "rollout": rollout,
    "gradient-attention": gradient_attention,
    "grad-cam": _grad_cam,
    "smooth-grad-cam": _grad_cam,
    "gradient-norm": _gradient_norm,
    "tam": token_activation,
    "occlusion": occlusion,
}
