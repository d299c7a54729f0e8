"""Fixtures that several tests here share."""

from collections.abc import Iterator
from typing import Any

import pytest

from attention_extractor import AttentionExtractor
from records.capture import Capture
from tests.attention_extractor.kit import (
    PROMPT,
    everything,
    picture,
    small_model,
)


@pytest.fixture(scope="module")
def shared_small() -> tuple[Any, Any]:
    return small_model()


@pytest.fixture
def small(shared_small: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Lend the module's small (model, processor); fail the test that leaves anything of a capture behind."""
    model = shared_small[0]
    before = everything(model)
    yield shared_small
    assert everything(model) == before


@pytest.fixture(scope="module")
def eager_twin() -> tuple[Any, Any]:
    """Return the same weights under eager attention; output_attentions leaves hooks of its own on them."""
    model, processor = small_model()
    model.set_attn_implementation("eager")
    return model, processor


@pytest.fixture(scope="module")
def capture(shared_small: tuple[Any, Any]) -> Capture:
    return AttentionExtractor(*shared_small, layers=[0, 2], float16=False).generate(picture(), PROMPT, 4, 0)
