"""What several tests here share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image

from gradcam import (
    create_comparative_analysis,
    create_layer_comparison_grid,
    single_layer_visualization,
    visualize_multiple_layers,
)
from methods.grad_cam import smooth_grad_cam
from model import decoder_layers, encode
from records.grad_cam import GradCam
from records.targets import Contrast, Text
from tests.tiny import tiny_model

LAYERS, HEADS = 5, 4
LANDSCAPE, PORTRAIT = (4, 7), (6, 3)  # grids (h, w)
PROMPT = "What is here?"
ANSWER = tuple(b"A red box.")  # in the byte vocabulary a token is a byte
SAMPLES, SIGMA = 3, 0.3
LOGITS = 5.0  # about the largest of the small model's: the size of the terms of a score
# Of all logits (position, vocabulary) and the prompt's length.
Score = Callable[[torch.Tensor, int], torch.Tensor]


def small_model(**settings: Any) -> tuple[Any, Any]:
    return tiny_model(layers=LAYERS, heads=HEADS, kv_heads=2, hidden=48, vocabulary="bytes", **settings)


def picture(grid: tuple[int, int] = LANDSCAPE, seed: int = 0) -> Image.Image:
    h, w = grid
    pixels = np.random.default_rng(seed).integers(0, 256, (28 * h, 28 * w, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def cam_of(small: tuple[Any, Any], grid: tuple[int, int] = LANDSCAPE, **settings: Any) -> GradCam:
    given = {"layers": "all", "num_samples": SAMPLES, "noise_std": SIGMA, "answer": ANSWER, **settings}
    return smooth_grad_cam(*small, picture(grid), PROMPT, **given)


@contextmanager
def pixels_seen(model: Any) -> Iterator[list[torch.Tensor]]:
    """Yield a list that fills with what the vision tower reads: (patch, value), of each sample."""
    seen: list[torch.Tensor] = []

    def note(module: Any, args: Any, kwargs: Any) -> None:
        pixels, grid = args[0], kwargs["grid_thw"]
        seen.extend(pixels.detach().clone().split(grid.prod(-1).tolist()))

    handle = model.model.visual.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def read_with(
    small: tuple[Any, Any], grid: tuple[int, int], ids: Sequence[int], pixels: torch.Tensor | None
) -> tuple[dict[str, torch.Tensor], torch.Tensor, int]:
    """Return the whole sequence's inputs, the positions of the visual tokens and the prompt's length."""
    encoded = encode(*small, picture(grid), PROMPT)
    inputs = dict(encoded.inputs)
    answer = torch.tensor([list(ids)])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(answer)], 1)
    if pixels is not None:
        inputs["pixel_values"] = pixels
    visual = (inputs["input_ids"][0] == small[0].config.image_token_id).nonzero()[:, 0]
    return inputs, visual, encoded.prompt_length


def slow_gradient(
    small: tuple[Any, Any],
    grid: tuple[int, int],
    ids: Sequence[int],
    pixels: torch.Tensor | None,
    layer: int,
    score: Score,
) -> tuple[np.ndarray, np.ndarray]:
    """Return features and gradients (patch, channel) at one layer, from a plain forward and backward()."""
    model = small[0]
    inputs, visual, length = read_with(small, grid, ids, pixels)
    kept: list[torch.Tensor] = []

    def keep(module: Any, args: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handle = decoder_layers(model)[layer].register_forward_hook(keep)
    try:
        score(model(**inputs).logits[0], length).backward()
    finally:
        handle.remove()
        model.zero_grad(set_to_none=True)
        model.model.rope_deltas = None
    features, gradient = kept[0], kept[0].grad
    assert gradient is not None
    return features[0, visual].detach().double().numpy(), gradient[0, visual].double().numpy()


def slow_map(
    small: tuple[Any, Any],
    grid: tuple[int, int],
    ids: Sequence[int],
    pixels: torch.Tensor | None,
    layer: int,
    score: Score,
    relu: bool = True,
) -> np.ndarray:
    """Return Grad-CAM (h, w) as it is written in the paper."""
    features, gradient = slow_gradient(small, grid, ids, pixels, layer, score)
    h, w = grid
    heat = np.zeros(grid)
    for channel in range(features.shape[1]):
        weight = sum(gradient[patch, channel] for patch in range(h * w)) / (h * w)
        for patch in range(h * w):
            heat[patch // w, patch % w] += weight * features[patch, channel]
    return np.maximum(heat, 0) if relu else heat


def logits_of(ids: Sequence[int], tokens: Sequence[int]) -> Score:
    """Return the score "sum of the logits of these tokens of the answer"."""

    def score(logits: torch.Tensor, length: int) -> torch.Tensor:
        return sum((logits[length + token - 1, ids[token]] for token in tokens), torch.zeros(()))

    return score


TARGETS: list[tuple[Any, Sequence[int], Score]] = [
    (None, ANSWER, logits_of(ANSWER, range(len(ANSWER)))),
    (0, ANSWER, logits_of(ANSWER, [0])),
    (-2, ANSWER, logits_of(ANSWER, [8])),
    ([5, 3, 4, 3], ANSWER, logits_of(ANSWER, [3, 4, 5])),
    (Text("oval"), tuple(b"oval"), logits_of(tuple(b"oval"), range(4))),
    (Text("tin", at=6), tuple(b"A red tin"), logits_of(tuple(b"A red tin"), [6, 7, 8])),
    (
        Contrast("red", "blue"),
        ANSWER,
        lambda logits, length: logits[length + 1, ord("r")] - logits[length + 1, ord("b")],
    ),
]


class Calls:
    """A hook that counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *_: Any) -> None:
        self.count += 1


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 20 bytes."),
]


def kept_bytes(run: Callable[[], Any]) -> tuple[Any, int]:
    """Return what run() returns, and the bytes that autograd keeps for the backward pass."""
    sizes: dict[int, int] = {}
    tensors: list[torch.Tensor] = []  # kept, so that no two of them have the same address

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            tensors.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    return result, sum(sizes.values())


def wants_gradients(model: Any) -> bool:
    return any(weight.requires_grad for weight in model.parameters())


MODES: list[tuple[str, Callable[..., Any], dict[str, Any], tuple[int, ...]]] = [
    ("single", single_layer_visualization, {"layer_idx": 2}, (2,)),
    ("single", single_layer_visualization, {}, (3,)),
    ("grid", create_layer_comparison_grid, {}, (0, 1, 2, 3)),
    ("grid", create_layer_comparison_grid, {"layer_range": "late"}, (3,)),
    ("grid", create_layer_comparison_grid, {"layer_range": [0, -2]}, (0, 3)),
    ("multi", visualize_multiple_layers, {"layer_indices": [2, 1]}, (1, 2)),
    ("comparative", create_comparative_analysis, {}, (0, 2, 3)),
]
