"""What tests of several pictures share: an answer of each family about three, and slow computations."""

from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from attention_extractor import AttentionExtractor
from model import Encoded, encode
from records.capture import Capture
from tests.families.kit import forced, plain
from tests.tiny_families import cell, tiny_family

TOKENS = 5
GRIDS = ((5, 3), (4, 6), (3, 4))
AFTER, BETWEEN = "Which is red?", "Is <image>redder than <image>, or <image>?"


@lru_cache
def pictures(kind: str) -> tuple[Image.Image, ...]:
    """Noise of GRIDS visual tokens."""
    found, side = [], cell(kind)
    for seed, (h, w) in enumerate(GRIDS):
        pixels = np.random.default_rng(seed).integers(0, 256, (side * h, side * w, 3), dtype=np.uint8)
        found.append(Image.fromarray(pixels))
    return tuple(found)


@lru_cache
def answer(kind: str, prompt: str) -> Capture:
    extractor = AttentionExtractor(*tiny_family(kind), store_on_cpu=True, float16=False)
    return extractor.generate(pictures(kind), prompt, max_new_tokens=TOKENS, temperature=2.0, seed=1)


def read(kind: str, prompt: str) -> tuple[dict[str, torch.Tensor], Encoded]:
    """Return the inputs of prompt and whole answer, and what pictures and prompt were encoded to."""
    encoded = encode(*tiny_family(kind), pictures(kind), prompt)
    return forced(encoded.inputs, answer(kind, prompt)), encoded


@lru_cache
def eager(kind: str, prompt: str) -> tuple[torch.Tensor, Encoded]:
    """Return transformers' own eager attention (attention layer, head, query, key), and what was encoded."""
    inputs, encoded = read(kind, prompt)
    with torch.no_grad():
        return torch.cat(plain(kind)(**inputs, output_attentions=True).attentions), encoded
