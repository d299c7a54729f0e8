"""What tests of several parts of the page share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from internals.hooks import hooked
from model import decoder_layers
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


@contextmanager
def memory_full(room: ModelRoom, at: int = 1, backward: bool = False) -> Iterator[None]:
    """Have a CUDA device that is full in the model's pass number `at`, or in the first backward pass."""
    loaded, passes = room.loaded, 0
    assert loaded is not None

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has")

    def full(index: int, module: Any, args: Any, output: torch.Tensor) -> None:
        nonlocal passes
        passes += 1
        if backward and output.requires_grad:
            output.register_hook(fail)
        elif not backward and passes >= at:
            fail()

    with hooked([decoder_layers(loaded.model)[-1]], full):
        yield
    assert passes >= at
