"""What tests of several parts of the page share."""

from typing import Any

import numpy as np
from PIL.Image import Image

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from page.model_room import ModelRoom
from records.capture import Capture
from tests.choosing import wanted
from tests.serving import PROMPT
from tests.viewer.payload.kit import read_back

NEW = 6  # tokens of the answers
ALL = wanted()


def loaded_of(room: ModelRoom) -> dict[str, Any]:
    assert room.loaded is not None
    return {"model": room.loaded.model, "processor": room.loaded.processor}


def answer_to(room: ModelRoom, picture: Image) -> Capture:
    return AttentionExtractor(**loaded_of(room)).generate(picture, PROMPT, max_new_tokens=NEW)


def unpacked(packed: dict[str, Any], grid: tuple[int, ...]) -> np.ndarray:
    """Read packed maps (map, h, w)."""
    return read_back(packed).reshape(-1, *grid)


def expect_packed(packed: dict[str, Any], maps: np.ndarray) -> None:
    """Compare packed maps with the truth (map, h, w), as exactly as 16 bits can say it."""
    truth = maps.astype(np.float64)
    found = unpacked(packed, truth.shape[1:])
    step = np.ptp(truth.reshape(len(truth), -1), axis=1)[:, None, None] / 65535
    assert found.shape == truth.shape
    assert (np.abs(found - truth) <= step / 2 * 1.01 + 1e-9).all()


def attention_maps(capture: Capture, *chosen: Any, of_prompt: bool = False) -> np.ndarray:
    """The maps (token, h, w) of every token, as the processor has them."""
    processor = AttentionProcessor(capture)
    if of_prompt:
        fold, count = processor.get_attention_heatmap_for_prompt_token, len(capture.prompt_token_ids)
    else:
        fold, count = processor.get_attention_heatmap_for_token, len(capture.token_ids)
    return np.stack([fold(token, *chosen) for token in range(count)])


def expect_maps(shown: dict[str, Any], capture: Capture, *chosen: Any) -> None:
    """Compare the viewer's data with the processor, number by number."""
    for side, of_prompt in (("answer", False), ("prompt", True)):
        expect_packed(shown[side]["maps"], attention_maps(capture, *chosen, of_prompt=of_prompt))
