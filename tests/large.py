"""What the viewer is given after a long answer about a large picture; for tests and benchmarks of it."""

from typing import Any

import numpy as np
import torch
from PIL import Image

import viewer
from tests.attention_processor.kit import PROMPT_TOKENS, made_capture
from tests.viewer.payload.kit import attention_of

LARGE_GRID, LARGE_TOKENS = (30, 40), 128


def large_payload() -> dict[str, Any]:
    """Return random maps of 30 × 40 patches for 128 words of one token, as the viewer takes them."""
    words = tuple(f" word{index}" for index in range(LARGE_TOKENS))
    ends = np.cumsum([len(one) for one in words]).tolist()
    generator = np.random.default_rng(0)
    size = (LARGE_TOKENS, 2, 3, LARGE_GRID[0] * LARGE_GRID[1])  # (token, layer, head, patch)
    attention = torch.tensor(generator.exponential(size=size) ** 3, dtype=torch.float32)
    attention /= 2 * attention.sum(-1, keepdim=True)
    shares = torch.stack([attention.sum(-1)] + [torch.full(attention.shape[:3], 0.25)] * 2, -1)
    capture = made_capture(
        token_ids=tuple(range(LARGE_TOKENS)),
        tokens=words,
        text="".join(words),
        token_spans=tuple(zip([0, *ends[:-1]], ends, strict=True)),
        attention=attention,
        shares=shares,
        layers=(0, 1),
        logprobs=-torch.rand(LARGE_TOKENS),
        grid=LARGE_GRID,
        prompt_attention=attention[:PROMPT_TOKENS],
        prompt_shares=shares[:PROMPT_TOKENS],
        prompt_length=1300,
        context_tokens=("said",) * 100,
    )
    noise = generator.integers(0, 255, (*LARGE_GRID, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((1120, 840), Image.Resampling.BICUBIC)
    return viewer.payload(capture, picture, *attention_of(capture))
