"""A model that reads an image, a prompt and the answer it gave to them: what the methods share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from model import Encoded, encode

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers.processing_utils import ProcessorMixin

from attention_extractor import Capture, decoder_layer_numbers
from attention_processor import AttentionProcessor
from gradcam import (
    USABLE,
    Result,
    Watch,
    attempt,
    check_belongs,
    free_bytes,
    lent,
    teacher_forced,
    tokens_at_once,
)

NO_MEMORY = (
    "there is not enough memory for one pass; "
    "a smaller picture (MAX_PIXELS), later layers or an earlier token need less"
)


def within_memory(compute: Callable[[], Result]) -> Result:
    """Return what is computed; MemoryError, with what to do about it, if memory did not suffice."""
    found = attempt(compute)
    if found is None:
        raise MemoryError(NO_MEMORY)
    return found


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
    processor: ProcessorMixin | None = None
    image: Image.Image | None = None
    watch: Watch = field(default_factory=Watch)
    of_prompt: bool = False  # the tokens are the prompt's; only for methods that need no model

    def encoded(self, prompt: str) -> Encoded:
        """Return the picture and a prompt as the model reads them."""
        if self.model is None or self.processor is None or self.image is None:
            raise ValueError("this method needs the model, its processor and the picture beside the capture")
        return encode(self.model, self.processor, self.image, prompt)

    @cached_property
    def reading(self) -> Reading:
        """The model with the answer put into its mouth.

        Raises:
            ValueError: without a model, processor and image, or if the capture is not of these.
        """
        encoded = self.encoded(self.capture.prompt)
        check_belongs(self.capture, encoded, self.model)
        return Reading(self.model, encoded, self.capture.token_ids, self.tokens)

    def layers(self, asked: Sequence[int] | None) -> tuple[int, ...]:
        """Return the decoder layers asked for, ascending; the later half for None."""
        count = self.capture.layer_count
        return later_half(count) if asked is None else decoder_layer_numbers(count, asked)

    def heads(self, asked: Sequence[int] | None) -> list[int]:
        """Return the heads asked for, all for None."""
        return AttentionProcessor(self.capture).heads(asked)


@dataclass(frozen=True, eq=False)
class Reading:
    """A model, and the prompt and answer that it reads in one pass."""

    model: Any
    encoded: Encoded
    ids: tuple[int, ...]  # the answer
    tokens: tuple[int, ...]  # those that are explained

    @property
    def rows(self) -> list[int]:
        """The position that predicts each token that is explained, ascending."""
        return [self.encoded.prompt_length + token - 1 for token in self.tokens]

    @property
    def read(self) -> int:
        """The number of tokens that the model reads: up to the last row, as nothing after it counts."""
        return self.rows[-1] + 1

    @property
    def pixels(self) -> Tensor:
        """The picture as the model reads it (patch, value)."""
        return self.encoded.inputs["pixel_values"]

    @property
    def patches(self) -> Tensor:
        """The position of each visual token (patch,)."""
        return self.encoded.image_positions

    def inputs(self, pictures: Sequence[Tensor] = ()) -> dict[str, Tensor]:
        """Return what the model reads, each picture a row of the batch; the given one by default."""
        said = self.ids[: self.read - self.encoded.prompt_length]
        return teacher_forced(self.encoded, said, pictures or [self.pixels])

    def logits(self, pictures: Sequence[Tensor] = ()) -> Tensor:
        """Return the logits (picture, row, vocabulary) that predict the tokens that are explained."""
        return self.model(
            **self.inputs(pictures), use_cache=False, logits_to_keep=torch.tensor(self.rows)
        ).logits

    def logprobs(self, pictures: Sequence[Callable[[], Tensor]], watch: Watch | None = None) -> Tensor:
        """Return log p of each token under each picture (picture, token), float32 on the CPU.

        The answer stays the same: every token is predicted after those that were really said. A picture is a
        function that returns `pixel_values`; it is called when its turn comes. As many are read at once as
        memory allows. `watch` is told how many of them are done.

        Raises:
            MemoryError: if one picture alone does not fit.
            Stopped: if the watch was told to stop.
            RuntimeError: if the model is at work for something else.
        """
        watch, done, found = watch or Watch(), 0, []
        needed = forward_bytes(self.model, self.read, len(self.rows))
        at_once = min(int(USABLE * free_bytes(self.model) / needed), tokens_at_once(self.model) // self.read)
        at_once = max(1, at_once)
        with lent(self.model):
            watch.tell(0, len(pictures))
            while done < len(pictures):
                some = [picture() for picture in pictures[done : done + at_once]]
                each = attempt(partial(self._logprobs, some))
                if each is None:
                    if at_once == 1:
                        raise MemoryError(NO_MEMORY)
                    at_once //= 2
                    continue
                found.append(each)
                done += len(some)
                watch.tell(done, len(pictures))
        return torch.cat(found)

    def _logprobs(self, pictures: Sequence[Tensor]) -> Tensor:
        with torch.no_grad():
            rows = []
            for logits in self.logits(pictures):  # one picture after the other: float32 of one at a time
                said = torch.tensor([[self.ids[token]] for token in self.tokens], device=logits.device)
                all_ = logits.float()
                rows.append(all_.gather(1, said)[:, 0] - all_.logsumexp(dim=1))
            return torch.stack(rows).cpu()


def forward_bytes(model: Any, tokens: int, rows: int) -> int:
    """Return about how many bytes one forward pass without gradients needs beside the weights.

    `tokens` are those that the model reads, `rows` those whose logits are computed.
    """
    text, vision = model.config.get_text_config(), model.config.vision_config
    size = model.dtype.itemsize
    layer = tokens * (8 * max(size, 4) * text.hidden_size + 3 * size * text.intermediate_size)
    if text._attn_implementation == "eager":
        layer += tokens * tokens * text.num_attention_heads * (size + 8)
    tower = 4 * tokens * size * (8 * vision.hidden_size + 3 * vision.intermediate_size)
    return max(layer, tower) + rows * text.vocab_size * (size + 4)
