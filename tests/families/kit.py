"""What several tests here share: one answer of each family, and the same model for slow computations."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from attention_extractor import AttentionExtractor
from model import FAMILIES, Encoded, encode
from records.capture import Capture
from tests.tiny_families import ATTENDED, LAYERS, cell, new_family, tiny_family

KINDS = list(FAMILIES)
HYBRIDS = list(ATTENDED)
GRID, TOKENS, PROMPT = (5, 3), 7, "Is red here?"


def attended(kind: str) -> tuple[int, ...]:
    """Return the layers with attention, as the configuration was written."""
    return ATTENDED.get(kind, tuple(range(LAYERS)))


def picture(kind: str, seed: int = 0) -> Image.Image:
    """Return noise of GRID visual tokens."""
    (h, w), side = GRID, cell(kind)
    pixels = np.random.default_rng(seed).integers(0, 256, (side * h, side * w, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@lru_cache
def plain(kind: str) -> Any:
    """Return an equal model for slow computations: output_attentions leaves hooks of its own behind."""
    model = new_family(kind)[0]
    model.set_attn_implementation({"text_config": "eager"})
    return model


@lru_cache
def answer(kind: str) -> Capture:
    """Return an answer, the tokens of which were drawn at random so that they differ."""
    extractor = AttentionExtractor(*tiny_family(kind), store_on_cpu=True, float16=False)
    return extractor.generate(picture(kind), PROMPT, max_new_tokens=TOKENS, temperature=2.0, seed=1)


def read(kind: str) -> tuple[dict[str, torch.Tensor], Encoded]:
    """Return the inputs of prompt and whole answer, and what picture and prompt were encoded to."""
    encoded = encode(*tiny_family(kind), picture(kind), PROMPT)
    return forced(encoded.inputs, answer(kind)), encoded


def forced(asked: Mapping[str, torch.Tensor], capture: Capture) -> dict[str, torch.Tensor]:
    """Return the inputs of a prompt and of the whole answer to it."""
    said, inputs = torch.tensor([capture.token_ids]), dict(asked)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], said], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(said)], 1)
    return inputs


@lru_cache
def eager(kind: str) -> torch.Tensor:
    """Return transformers' own eager attention (attention layer, head, query, key) to prompt and answer."""
    with torch.no_grad():
        return torch.cat(plain(kind)(**read(kind)[0], output_attentions=True).attentions)
