"""A model that reads a prompt and an answer that was given: nothing is generated (teacher forcing)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from internals.exclusive import lent
from internals.memory import NO_MEMORY, USABLE, attempt, forward_bytes, free_bytes, tokens_at_once
from model import PIXELS, Encoded
from records.capture import Capture
from utils import Watch

BLOCK = 64  # tokens whose logits are in float32 together
# What the processor returns for each token, and what stands there for a token of the answer.
_OF_TOKENS = {"attention_mask": 1, "mm_token_type_ids": 0}


def teacher_forced_inputs(
    encoded: Encoded, said: Sequence[int], pictures: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Return what the model reads: the prompt and the tokens said, once with each picture, in one batch.

    A picture is `Encoded.pixels` (patch, value) of the prompt's own grids. Every key of the processor is
    passed on.
    """
    batch = {name: torch.cat(each) for name, each in _by_name(encoded, pictures).items()}
    for name, value in encoded.inputs.items():
        if name in batch:
            continue
        if name in ("input_ids", *_OF_TOKENS):
            answer = list(said) if name == "input_ids" else [_OF_TOKENS[name]] * len(said)
            value = torch.cat([value, value.new_tensor([answer])], dim=1)
        batch[name] = torch.cat([value] * len(pictures))
    return batch


def _by_name(encoded: Encoded, pictures: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    """Return the pixels of some pictures by the names that the model takes those of images and clips by."""
    found: dict[str, list[Tensor]] = {}
    for pixels in pictures:
        for visual, some in zip(encoded.visuals, encoded.apart(pixels), strict=True):
            found.setdefault(PIXELS[visual.kind], []).append(some)
    return found


def head_logprobs(model: Any, hidden: Tensor, said: Sequence[int]) -> Tensor:
    """Return log p (row,) of the token that was said after each row of final features (row, width).

    A few rows at a time: the logits over a whole vocabulary are large.
    """
    some = zip(hidden.split(BLOCK), torch.tensor(list(said)).split(BLOCK), strict=True)
    return torch.cat([said_logprobs(model.lm_head(rows), ids.tolist()).cpu() for rows, ids in some])


def check_belongs(capture: Capture, encoded: Encoded, model: Any) -> None:
    """Raise ValueError unless the capture is of this picture, prompt and model, read in the same way."""
    asked = tuple(encoded.input_ids[encoded.prompt_positions].tolist())
    here = ([visual.hash for visual in encoded.visuals], asked, str(model.name_or_path))
    if ([one.hash for one in capture.visuals], capture.prompt_token_ids, capture.model_name) != here:
        raise ValueError("the answer was given to another picture or prompt, or by another model")
    grids = [[visual.grid for visual in one.visuals] for one in (capture, encoded)]
    if (grids[0], capture.prompt_length) != (grids[1], encoded.prompt_length):
        raise ValueError(
            "the model reads this prompt otherwise than when it answered: by another chat template, or "
            "with the picture at another size"
        )


def said_logprobs(logits: Tensor, said: Sequence[int]) -> Tensor:
    """Return log p (token,) in float32 of the tokens said, each under its logits (token, vocabulary).

    Some tokens at a time are brought to float32: there is no second copy of all logits.
    """
    ids = torch.tensor(said, device=logits.device)
    found = []
    for some, chosen in zip(logits.split(BLOCK), ids.split(BLOCK), strict=True):
        rows = some.float()
        found.append(rows.gather(1, chosen[:, None])[:, 0] - rows.logsumexp(dim=1))
    return torch.cat(found)


@dataclass(frozen=True, eq=False)
class TeacherForced:
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
        """The pictures as the model reads them (patch, value)."""
        return self.encoded.pixels

    @property
    def patches(self) -> Tensor:
        """The position of each visual token (patch,)."""
        return self.encoded.image_positions

    def inputs(self, pictures: Sequence[Tensor] = ()) -> dict[str, Tensor]:
        """Return what the model reads, each picture a row of the batch; the given one by default."""
        said = self.ids[: self.read - self.encoded.prompt_length]
        return teacher_forced_inputs(self.encoded, said, pictures or [self.pixels])

    def logits(self, pictures: Sequence[Tensor] = ()) -> Tensor:
        """Return the logits (picture, row, vocabulary) that predict the tokens that are explained."""
        return self.model(
            **self.inputs(pictures), use_cache=False, logits_to_keep=torch.tensor(self.rows)
        ).logits

    def logprobs(self, pictures: Sequence[Callable[[], Tensor]], watch: Watch | None = None) -> Tensor:
        """Return log p of each token under each picture (picture, token), float32 on the CPU.

        The answer stays the same: every token is predicted after those that were really said. A picture is a
        function that returns `Encoded.pixels`; it is called when its turn comes. As many are read at once as
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
        said = [self.ids[token] for token in self.tokens]
        with torch.no_grad():
            return torch.stack([said_logprobs(logits, said) for logits in self.logits(pictures)]).cpu()
