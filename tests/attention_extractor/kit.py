"""What several tests here share."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from internals import attention_rows, exclusive
from internals.hooks import hooked
from model import Encoded, encode
from tests.conftest import traces
from tests.tiny import tiny_model

LAYERS, HEADS, TOKENS = 3, 6, 11
PROMPT = "What is at the top left?"
# 鿂, 𰻝 and 🫠 are split over two, four and three tokens of the real vocabulary, the family over seven.
MIXED = "我看到鿂𰻝🦄🫠 and 👩‍👩‍👧: don't  stop—\n你好！"


def picture(width: int = 140, height: int = 224, seed: int = 0) -> Image.Image:
    """Return noise of 8 x 5 visual tokens, or of another size."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def small_model(seed: int = 0, **settings: Any) -> tuple[Any, Any]:
    model, processor = tiny_model(LAYERS, HEADS, 2, 96, seed, vocabulary="bytes", **settings)
    model.generation_config.eos_token_id = None  # so that every answer has the length asked for
    return model, processor


def everything(model: Any) -> tuple[Any, ...]:
    """Return what a capture may change for a while and must put back."""
    state = exclusive._busy, dict(attention_rows._wanted_rows)
    return traces(model), id(model.generation_config), model.model.rope_deltas, *map(len, state)


def plain(model: Any, processor: Any, image: Image.Image, prompt: str = PROMPT, **settings: Any) -> Any:
    """Return what transformers generates, without us."""
    neutral = {"do_sample": False, "repetition_penalty": 1.0, "temperature": 1.0, "top_k": 0}
    inputs = encode(model, processor, image, prompt).inputs
    return model.generate(**inputs, **{**neutral, "max_new_tokens": TOKENS, **settings})


def answer_ids(sequences: Tensor, encoded: Encoded) -> tuple[int, ...]:
    return tuple(sequences[0, encoded.prompt_length :].tolist())


def shares_of(row: Tensor, encoded: Encoded) -> Tensor:
    """Return the mass (…, 3) on image, rest of the prompt and answer, summed key by key."""
    groups = torch.full((row.shape[-1],), 2)
    groups[: encoded.prompt_length] = 1
    groups[encoded.image_positions] = 0
    return torch.stack([row[..., groups == group].sum(-1) for group in range(3)], dim=-1)


@contextmanager
def scripted(model: Any, ids: list[int]) -> Iterator[None]:
    """Have the model predict these tokens one after the other, whatever it thinks."""
    waiting = iter(ids)

    def predict(index: int, module: Any, args: Any, output: Tensor) -> Tensor:
        forced = torch.zeros_like(output)
        forced[..., next(waiting)] = 30.0
        return forced

    with hooked([model.lm_head], predict):
        yield


def stop_after(count: int) -> tuple[Any, threading.Event]:
    """Return an on_token that sets the event after so many tokens, and the event."""
    stop = threading.Event()

    def on_token(text: str, tokens: int) -> None:
        if tokens == count:
            stop.set()

    return on_token, stop
