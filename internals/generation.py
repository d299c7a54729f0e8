"""An answer, token by token: how each is chosen, what hears of it, and where it ends.

The checkpoint's own generation settings are set aside meanwhile. Knows nothing of attention.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)


@dataclass(frozen=True)
class Settings:
    """How an answer is generated."""

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.max_new_tokens, bool) or not isinstance(self.max_new_tokens, int):
            raise ValueError(f"max_new_tokens must be a whole number; got {self.max_new_tokens!r}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1; got {self.max_new_tokens}")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be 0 (greedy) or above; got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1; got {self.top_p}")


@contextmanager
def plain_generation(model: Any) -> Iterator[set[int]]:
    """Drop the checkpoint's own generation settings but its special tokens; yield the ids that end an answer.

    Published checkpoints come with a repetition penalty, a temperature and sampling switched on. Here an
    answer is what the arguments of `generate` say and nothing else.
    """
    before, position_offset = model.generation_config, model.model.rope_deltas
    eos = before.eos_token_id
    ends = {int(token) for token in (eos if isinstance(eos, (list, tuple)) else [eos]) if token is not None}
    pad = before.pad_token_id if before.pad_token_id is not None else min(ends, default=None)
    try:
        model.generation_config = GenerationConfig(
            bos_token_id=before.bos_token_id, eos_token_id=sorted(ends) or None, pad_token_id=pad
        )
        yield ends
    finally:
        model.generation_config, model.model.rope_deltas = before, position_offset


class Choose(LogitsProcessor):
    """Keep the model's logits, and draw the token where it is to be drawn.

    Same steps and same random numbers as `torch.manual_seed(seed)` and `generate(do_sample=True)`, but from a
    generator of our own: the process's random state is neither read nor changed.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.logits: Tensor | None = None  # (1, vocabulary), of the last forward
        self.generator: torch.Generator | None = None
        self.warpers = LogitsProcessorList()
        if settings.temperature not in (0, 1):
            self.warpers.append(TemperatureLogitsWarper(float(settings.temperature)))
        if settings.top_p < 1:
            self.warpers.append(TopPLogitsWarper(float(settings.top_p)))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores; where a token is drawn, those that leave only it."""
        self.logits = scores
        if self.settings.temperature == 0:
            return scores
        if self.generator is None:
            self.generator = torch.Generator(scores.device).manual_seed(self.settings.seed)
        probabilities = torch.softmax(self.warpers(input_ids, scores), dim=-1)
        token = torch.multinomial(probabilities, 1, generator=self.generator)
        return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)

    def logprob(self, token: int) -> Tensor:
        """Return the log-probability () of the token under the model itself."""
        if self.logits is None:
            raise RuntimeError("no token was predicted yet")
        return torch.log_softmax(self.logits[0], dim=0)[token].clone()  # a view would keep all of them


class EachToken(StoppingCriteria):
    """File each token as it is chosen, tell the caller, and end the answer where it is to end."""

    def __init__(
        self,
        keep: Callable[[], None],
        choose: Choose,
        ends: Collection[int],
        tell: Callable[[list[int]], None],
        stop: threading.Event | None,
    ) -> None:
        self.keep, self.choose, self.ends, self.tell, self.stop = keep, choose, ends, tell, stop
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
            self.logprobs.append(self.choose.logprob(token))
            self.tell(self.ids)
            self.stopped = self.stop is not None and self.stop.is_set()
        return torch.full((1,), ended or self.stopped, dtype=torch.bool, device=input_ids.device)


def generate(
    model: Any, inputs: Mapping[str, Tensor], settings: Settings, choose: Choose, each: EachToken
) -> None:
    """Have the model answer; `choose` says which token comes next, `each` hears of every one."""
    model.generate(
        **inputs,
        max_new_tokens=settings.max_new_tokens,
        do_sample=False,  # Choose draws
        use_cache=True,
        logits_processor=LogitsProcessorList([choose]),
        stopping_criteria=StoppingCriteriaList([each]),
    )
