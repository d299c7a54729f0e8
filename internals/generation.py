"""An answer, token by token: how each is chosen, what hears of it, and where it ends.

transformers chooses, as in a plain `model.generate`; the model's own logits are read beside it. Knows nothing
of attention.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from model import end_ids

_drawing = threading.Lock()


@contextmanager
def generation_config_set(model: Any, chosen: GenerationConfig) -> Iterator[set[int]]:
    """Have a model generate by this config meanwhile; yield the ids that end an answer."""
    before, position_offset = model.generation_config, model.model.rope_deltas
    try:
        model.generation_config = chosen
        yield end_ids(chosen)
    finally:
        model.generation_config, model.model.rope_deltas = before, position_offset


class Draws(LogitsProcessor):
    """Has tokens drawn as after `torch.manual_seed(seed)`, whatever else the process draws meanwhile.

    transformers draws from the device's default generator. Its state is ours from the moment when logits are
    there until the token is drawn, and is put back then; nobody else's answer draws in between.
    """

    def __init__(self, device: torch.device, seed: int) -> None:
        self.device = device
        self.state = torch.Generator(device).manual_seed(seed).get_state()
        self.others: Tensor | None = None  # the process's own state, while ours is there

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores as they are; the next token is drawn from our state."""
        _drawing.acquire()
        self.others = self._get()
        self._set(self.state)
        return scores

    def drawn(self) -> None:
        """Put the process's random state back, if ours is there."""
        if self.others is not None:
            self.state = self._get()
            self._set(self.others)
            self.others = None
            _drawing.release()

    def _get(self) -> Tensor:
        if self.device.type == "cuda":
            return torch.cuda.get_rng_state(self.device)
        return torch.mps.get_rng_state() if self.device.type == "mps" else torch.get_rng_state()

    def _set(self, state: Tensor) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state, self.device)
        elif self.device.type == "mps":
            torch.mps.set_rng_state(state)
        else:
            torch.set_rng_state(state)


class RawLogits:
    """The model's own logits of its last forward: before any penalty, temperature or nucleus."""

    def __init__(self) -> None:
        self.latest: Tensor | None = None  # (vocabulary,)

    def hook(self, _: int, module: nn.Module, args: Any, output: Tensor) -> None:
        """Take what the head returned (1, position, vocabulary)."""
        self.latest = output[0, -1]

    def logprob(self, token: int) -> Tensor:
        """Return the log-probability () of a token under the model itself."""
        if self.latest is None:
            raise RuntimeError("no token was predicted yet")
        # in float32, as transformers chooses; a view would keep all of them
        return torch.log_softmax(self.latest.float(), dim=0)[token].clone()


class EachToken(StoppingCriteria):
    """File each token as it is chosen, tell the caller, and end the answer where it is to end."""

    def __init__(
        self,
        draws: Draws,
        keep: Callable[[], None],
        logits: RawLogits,
        ends: Collection[int],
        tell: Callable[[list[int]], None],
        stop: threading.Event | None,
    ) -> None:
        self.draws, self.keep, self.logits = draws, keep, logits
        self.ends, self.tell, self.stop = ends, tell, stop
        self.ids: list[int] = []
        self.logprobs: list[Tensor] = []
        self.stopped = False

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """Return whether the answer ends here (1,)."""
        self.draws.drawn()
        token = int(input_ids[0, -1])
        ended = token in self.ends
        if not ended:
            self.keep()
            self.ids.append(token)
            self.logprobs.append(self.logits.logprob(token))
            self.tell(self.ids)
            self.stopped = self.stop is not None and self.stop.is_set()
        return torch.full((1,), ended or self.stopped, dtype=torch.bool, device=input_ids.device)


def generate(
    model: Any, tokenizer: Any, inputs: Mapping[str, Tensor], max_new_tokens: int, each: EachToken
) -> None:
    """Have the model answer by its generation config; `each` hears of every token."""
    try:
        model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            logits_processor=LogitsProcessorList([each.draws]),
            stopping_criteria=StoppingCriteriaList([each]),
            tokenizer=tokenizer,  # for stop strings
        )
    finally:
        each.draws.drawn()
