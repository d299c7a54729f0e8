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
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from model import end_ids
from records.generation import GenerationSettings


@contextmanager
def generation_config_set(model: Any, chosen: GenerationConfig) -> Iterator[set[int]]:
    """Have a model generate by this config meanwhile; yield the ids that end an answer."""
    before, position_offset = model.generation_config, model.model.rope_deltas
    try:
        model.generation_config = chosen
        yield end_ids(chosen)
    finally:
        model.generation_config, model.model.rope_deltas = before, position_offset


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Draw as after `torch.manual_seed(seed)`; afterwards the process's random state is as it was."""
    cards = range(torch.cuda.device_count()) if device.type == "cuda" else ()
    of_mps = torch.mps.get_rng_state() if device.type == "mps" else None
    with torch.random.fork_rng(cards):
        if device.type == "cpu":
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
        try:
            yield
        finally:
            if of_mps is not None:
                torch.mps.set_rng_state(of_mps)


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
        keep: Callable[[], None],
        logits: RawLogits,
        ends: Collection[int],
        tell: Callable[[list[int]], None],
        stop: threading.Event | None,
    ) -> None:
        self.keep, self.logits, self.ends, self.tell, self.stop = keep, logits, ends, tell, stop
        self.ids: list[int] = []
        self.logprobs: list[Tensor] = []
        self.stopped = False

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """Return whether the answer ends here (1,)."""
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
    model: Any, tokenizer: Any, inputs: Mapping[str, Tensor], settings: GenerationSettings, each: EachToken
) -> None:
    """Have the model answer by its generation config; `each` hears of every token."""
    with seeded(inputs["input_ids"].device, settings.seed):
        model.generate(
            **inputs,
            max_new_tokens=settings.max_new_tokens,
            stopping_criteria=StoppingCriteriaList([each]),
            tokenizer=tokenizer,  # for stop strings
        )
