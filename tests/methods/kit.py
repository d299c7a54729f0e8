"""What several tests here share."""

import math
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import torch
from PIL import Image

from attention_extractor import AttentionExtractor
from methods import METHODS, TokenMaps, token_maps
from model import FAMILIES, encode
from records.capture import Capture
from tests.attention_processor.kit import (
    GRID,
    HEADS,
    RECORDED,
    made_capture,
)
from tests.numerics import assert_same
from tests.tiny import tiny_model

LAYERS, OF_MODEL, CELL = 5, 4, 28  # decoder layers, heads, pixels of a merged patch
LANDSCAPE, PORTRAIT = (4, 7), (6, 3)  # grids (h, w)
LOGITS = 5.0  # about the largest of the small model's: the size of the terms of a log-probability
PROMPT, MEAN = "Is red here?", 100  # MEAN: of every channel of every picture here
LOCAL = ["heads-3", "heads-5", "heads-8"]
OFFERED = [name for name, method in METHODS.items() if not method.refusal(FAMILIES["qwen2_5_vl"])]
WITH_MODEL = [name for name in OFFERED if METHODS[name].needs_model]


def small_model() -> tuple[Any, Any]:
    return tiny_model(layers=LAYERS, heads=OF_MODEL, kv_heads=2, hidden=48, vocabulary="bytes")


@lru_cache
def plain() -> Any:
    """Return an equal model for the slow computations: output_attentions leaves hooks of its own behind."""
    model = small_model()[0]
    model.set_attn_implementation({"text_config": "eager"})
    return model


def picture(grid: tuple[int, int] = LANDSCAPE, seed: int = 0) -> Image.Image:
    """Return a random picture whose mean is MEAN exactly: each value comes with its mirror image."""
    h, w = grid
    rng = np.random.default_rng(seed)
    half = rng.integers(0, 2 * MEAN + 1, (3, CELL * CELL * h * w // 2))
    values = rng.permuted(np.concatenate([half, 2 * MEAN - half], axis=1), axis=1)
    return Image.fromarray(values.reshape(3, CELL * h, CELL * w).transpose(1, 2, 0).astype(np.uint8))


@lru_cache
def answer(grid: tuple[int, int] = LANDSCAPE) -> Capture:
    """Return an answer of seven tokens, drawn at random so that they differ."""
    extractor = AttentionExtractor(*small_model(), store_on_cpu=True, float16=False)
    return extractor.generate(picture(grid), PROMPT, max_new_tokens=7, temperature=2.0, top_p=1.0, seed=1)


def maps_of(
    small: tuple[Any, Any], method: str, grid: tuple[int, int] = LANDSCAPE, **given: Any
) -> TokenMaps:
    given = {"capture": answer(grid), "image": picture(grid), **given}
    return token_maps(method, model=small[0], processor=small[1], **given)


def read(small: tuple[Any, Any], image: Image.Image, capture: Capture) -> tuple[dict[str, torch.Tensor], Any]:
    """Return the inputs of prompt and whole answer, and what the image and prompt were encoded to."""
    encoded = encode(plain(), small[1], image, capture.prompt)
    said = torch.tensor([list(capture.token_ids)])
    inputs = dict(encoded.inputs)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], said], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(said)], 1)
    return inputs, encoded


def assert_each_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare map by map, each at its own size."""
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    for one, other in zip(found, expected, strict=True):
        assert np.abs(other).max() > 0
        assert_same(one, other)


def methods_layers(found: TokenMaps) -> list[int]:
    """Return the layers that a method chose itself."""
    return list(found.settings["layers"])


def slow_filter(heat: np.ndarray) -> np.ndarray:
    """Return the rank-Gaussian filter, window by window; the border's mirror leaves out the border itself."""
    h, w = heat.shape
    found = np.zeros_like(heat)

    def mirrored(index: int, size: int) -> int:
        return abs(index) if index < size else 2 * (size - 1) - index

    for row, col in product(range(h), range(w)):
        window = sorted(
            heat[mirrored(row + down, h), mirrored(col + right, w)]
            for down, right in product((-1, 0, 1), repeat=2)
        )
        mean = sum(window) / 9
        sigma = math.sqrt(sum((value - mean) ** 2 for value in window) / 9) / mean if mean else 0
        if sigma == 0:
            found[row, col] = window[4]
            continue
        weights = [math.exp(-((rank - 4) ** 2) / (2 * sigma**2)) for rank in range(9)]
        pairs = zip(weights, window, strict=True)
        found[row, col] = sum(weight * value for weight, value in pairs) / sum(weights)
    return found


def logprobs_of(small: tuple[Any, Any], image: Image.Image, capture: Capture) -> np.ndarray:
    inputs, encoded = read(small, image, capture)
    with torch.no_grad():
        rows = torch.log_softmax(plain()(**inputs).logits[0].double(), dim=-1)
    return np.array(
        [rows[encoded.prompt_length + i - 1, token].item() for i, token in enumerate(capture.token_ids)]
    )


def capture_of(answer_maps: np.ndarray, prompt_maps: np.ndarray) -> Capture:
    """Return a capture whose heads and layers all look as given: (token, patch), shares of the image."""
    parts: dict[str, Any] = {}
    for name, maps in (("", answer_maps), ("prompt_", prompt_maps)):
        each = torch.tensor(maps / maps.sum(1, keepdims=True) * 0.5, dtype=torch.float32)[:, None, None]
        parts[f"{name}attention"] = each.expand(-1, len(RECORDED), HEADS, -1).contiguous()
        shares = torch.tensor([0.5, 0.3, 0.2]).expand(len(maps), len(RECORDED), HEADS, 3)
        parts[f"{name}shares"] = shares.contiguous()
    return made_capture(**parts)


def noisy(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1.5, (count, GRID[0] * GRID[1]))


def slow_entropy(heat: np.ndarray) -> float:
    """Return the spatial entropy of one map, its pieces found by walking from cell to cell."""
    left = {(int(row), int(col)) for row, col in zip(*np.where(heat > heat.mean()), strict=True)}
    sizes = []
    while left:
        open_, size = [left.pop()], 0
        while open_:
            row, col = open_.pop()
            size += 1
            near = {(row + down, col + right) for down, right in product((-1, 0, 1), repeat=2)} & left
            left -= near
            open_ += near
        sizes.append(size)
    return -sum(size / sum(sizes) * math.log(size / sum(sizes)) for size in sizes)
