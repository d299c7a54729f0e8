"""Fixtures that several tests here share."""

import pytest

from attention_processor import AttentionProcessor
from records.capture import Capture
from tests.attention_processor.kit import made_capture


@pytest.fixture(scope="module")
def capture() -> Capture:
    return made_capture()


@pytest.fixture(scope="module")
def processor(capture: Capture) -> AttentionProcessor:
    return AttentionProcessor(capture)
