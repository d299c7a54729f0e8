"""What is to be explained: tokens of an answer, and the model, where one is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_processor import AttentionProcessor
from internals.teacher_forcing import TeacherForced, check_belongs
from model import Encoded, Pictures, Processor, attention_layers, encode
from records.capture import Capture
from records.layers import attention_layer_numbers, decoder_layer_numbers
from utils import Watch


@dataclass(frozen=True, eq=False)
class Maps:
    """What one method hands back."""

    maps: NDArray[np.float32]  # (token, …), a value for each patch
    settings: dict[str, Any] = field(default_factory=dict)  # what was decided beside what was asked
    forward: int = 0  # passes
    backward: int = 0
    notes: tuple[str, ...] = ()


def later_half(count: int) -> tuple[int, ...]:
    """Return the later half of so many layers, where words look at what they name."""
    return tuple(range(count // 2, count))


@dataclass(frozen=True, eq=False)
class Question:
    """What is to be explained: tokens of a captured answer; and the model, where one is needed."""

    capture: Capture
    tokens: tuple[int, ...]  # ascending, each once
    model: Any = None
    processor: Processor | None = None
    image: Pictures | None = None
    watch: Watch = field(default_factory=Watch)
    of_prompt: bool = False  # the tokens are the prompt's; only for methods that need no model

    def encoded(self, prompt: str) -> Encoded:
        """Return the pictures and a prompt as the model reads them."""
        if self.model is None or self.processor is None or self.image is None:
            raise ValueError("this method needs the model, its processor and the picture beside the capture")
        capture = self.capture
        how: Any = {"thinking": capture.thinking, "system": capture.system, "history": capture.history}
        return encode(self.model, self.processor, self.image, prompt, **how)

    @cached_property
    def forced(self) -> TeacherForced:
        """The model with the answer put into its mouth.

        Raises:
            ValueError: without a model, processor and image, or if the capture is not of these.
        """
        encoded = self.encoded(self.capture.prompt)
        check_belongs(self.capture, encoded, self.model)
        return TeacherForced(self.model, encoded, self.capture.token_ids, self.tokens)

    def layers(self, asked: Sequence[int] | None) -> tuple[int, ...]:
        """Return the decoder layers asked for, ascending; the later half for None."""
        count = self.capture.layer_count
        return later_half(count) if asked is None else decoder_layer_numbers(count, asked)

    def attention_layers(self, asked: Sequence[int] | None) -> tuple[int, ...]:
        """Return the layers with attention asked for; for None those of the later half, or all if none is.

        Raises:
            ValueError: for a layer without attention; the message names those that have it.
        """
        count, attended = self.capture.layer_count, attention_layers(self.model)
        if asked is not None:
            return attention_layer_numbers(count, attended, asked)
        return tuple(layer for layer in attended if layer in later_half(count)) or attended

    def heads(self, asked: Sequence[int] | None) -> list[int]:
        """Return the heads asked for, all for None."""
        return AttentionProcessor(self.capture).heads(asked)
