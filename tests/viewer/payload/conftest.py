"""Fixtures that several tests here share."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

import viewer
from tests.attention_processor.kit import (
    PROMPT_TOKENS,
    TOKENS,
    made_capture,
)
from tests.viewer.payload.kit import EVIL, FLAT, attention_of


@pytest.fixture(scope="module")
def capture() -> Any:
    return made_capture()


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 255, (140, 196, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def made(capture: Any, image: Image.Image) -> dict[str, Any]:
    """A payload that went through JSON."""
    data = viewer.payload(capture, image, *attention_of(capture, [0, 5], [1], "max"))
    return json.loads(json.dumps(data, allow_nan=False))


@pytest.fixture(scope="module")
def evil(image: Image.Image) -> dict[str, Any]:
    """A payload in which everything that a model or a visitor writes tries to break out."""
    ends = (*[(0, 0)] * (TOKENS - 1), (0, len(EVIL)))
    changed = {
        "tokens": tuple(f"{EVIL}{i}" for i in range(TOKENS)),
        "text": EVIL,
        "token_spans": ends,
        "prompt": EVIL,
        "prompt_token_spans": tuple((0, len(EVIL)) for _ in range(PROMPT_TOKENS)),
        "model_name": EVIL,
    }
    return viewer.payload(made_capture(**changed), image, FLAT)
