"""Gradients of scores with regard to the features of many layers, from one backward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from internals.hooks import entered, hooked
from internals.memory import (
    USABLE,
    attempt,
    free_bytes,
    held_by_graph,
    pass_bytes,
    recomputed,
    tokens_at_once,
)
from internals.teacher_forcing import teacher_forced_inputs
from model import Encoded, decoder_layers
from records.targets import Explained, Score
from utils import Watch


@dataclass(frozen=True, eq=False)
class LayerGradients:
    """What all passes of one explanation share: what is read, what is differentiated, what is kept of it."""

    model: Any
    encoded: Encoded
    explained: Explained
    layers: tuple[int, ...]  # ascending, the last one not among them
    samples: int  # passes, each with a picture of its own
    picture: Callable[[int], Tensor]  # the `pixel_values` (patch, value) of a sample
    # From features and gradient at the visual tokens (sample, patch, channel): a value each (sample, patch).
    kept: Callable[[Tensor, Tensor], Tensor]

    @cached_property
    def rows(self) -> list[int]:
        """The positions of the sequence that predict the scores' tokens, ascending."""
        places = {place for score in self.explained.scores for place in score.tokens}
        return [self.encoded.prompt_length + place - 1 for place in sorted(places)]

    @property
    def read(self) -> int:
        """The number of tokens that the model reads: up to the last row, as nothing after it counts."""
        return self.rows[-1] + 1

    def inputs(self, samples: range) -> dict[str, Tensor]:
        """Return what the model reads, each sample a row of the batch."""
        said = self.explained.token_ids[: self.read - self.encoded.prompt_length]
        return teacher_forced_inputs(self.encoded, said, list(map(self.picture, samples)))

    def forward(self, samples: range) -> tuple[list[Tensor], Tensor]:
        """Return each layer's features (sample, token, channel), and logits (sample, row, vocabulary).

        They are what the next layer gets: where features of the vision tower are added to a layer's output
        (DeepStack), the sum.
        """
        features: list[Tensor] = []

        def begin(index: int, module: nn.Module, args: Any, output: Tensor) -> None:
            output.requires_grad_()

        def keep(index: int, module: nn.Module, args: tuple[Tensor, ...]) -> None:
            features.append(args[0])

        layers = decoder_layers(self.model)
        with (
            hooked([layers[self.layers[0]]], begin),  # the graph begins at the lowest layer's output
            entered([layers[layer + 1] for layer in self.layers], keep),
        ):
            output = self.model(
                **self.inputs(samples), use_cache=False, logits_to_keep=torch.tensor(self.rows)
            )
        return features, output.logits

    def run(self, samples: range, check: Callable[[], None]) -> tuple[Tensor, Tensor]:
        """Return raw maps (sample, score, layer, patch) and scores (sample, score), float32 on the CPU.

        `check` is called before each backward pass, and may raise.
        """
        features, logits = self.forward(samples)
        scores = [self.score(one, logits) for one in self.explained.scores]
        maps = []
        for score in scores:
            check()
            gradients = torch.autograd.grad(score.sum(), features, retain_graph=score is not scores[-1])
            # The samples do not see each other: the gradient of their sum is that of each.
            pairs = zip(features, gradients, strict=True)
            maps.append(torch.stack([self.at_patches(*pair).cpu() for pair in pairs], dim=1))
        return torch.stack(maps, dim=1), torch.stack(scores, dim=1).detach().cpu()

    def score(self, score: Score, logits: Tensor) -> Tensor:
        """Return the score of each sample (sample,)."""
        rows = [self.rows.index(self.encoded.prompt_length + term.place - 1) for term in score.terms]
        each = logits[:, rows, [term.token_id for term in score.terms]].float()  # (sample, term)
        return (each * each.new_tensor([term.sign for term in score.terms])).sum(dim=1)

    def at_patches(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Return what is kept of one layer (sample, patch), in float32."""
        patches = self.encoded.image_positions.to(features.device)
        visual = features.detach().index_select(1, patches).float()
        return self.kept(visual, gradient.index_select(1, patches).float())


@dataclass(frozen=True)
class _Plan:
    """How many samples go into one batch, and whether layers are computed again to save memory."""

    at_once: int
    recompute: bool = False

    def smaller(self) -> _Plan:
        """Return the next plan that needs less memory; MemoryError where there is none."""
        if self.at_once > 1:
            return _Plan(self.at_once // 2)
        if not self.recompute:
            return _Plan(1, recompute=True)
        raise MemoryError(
            "there is not enough memory for the gradients of one sample; "
            "a smaller picture (MAX_PIXELS), later layers or an earlier token need less"
        )


def _plan(passes: LayerGradients) -> _Plan:
    """Return how to begin: batches that fit into the free memory, and are worth it."""
    free = free_bytes(passes.model)
    held = held_by_graph(passes.model, passes.layers[0])
    needed = partial(pass_bytes, passes.model, passes.read, len(passes.rows), passes.layers)
    if needed() + held > USABLE * free:
        sparing = _Plan(1, recompute=True)
        return sparing if needed(recompute=True) <= free else sparing.smaller()
    useful = tokens_at_once(passes.model) // passes.read
    fitting = int((USABLE * free - held) / needed())
    return _Plan(max(1, min(fitting, useful, passes.samples)))


def _tried(
    passes: LayerGradients, samples: range, plan: _Plan, check: Callable[[], None]
) -> tuple[Tensor, Tensor] | None:
    """Return a pass's maps and scores, or None if memory did not suffice."""

    def compute() -> tuple[Tensor, Tensor]:
        with recomputed(decoder_layers(passes.model), plan.recompute):
            return passes.run(samples, check)

    return attempt(compute)


def averages(passes: LayerGradients, watch: Watch) -> tuple[Tensor, Tensor]:
    """Return the mean raw maps (score, layer, patch) over all samples, and the scores (sample, score)."""
    count, done, scores = passes.samples, 0, []
    total, plan = torch.zeros(()), _plan(passes)
    watch.tell(0, count)
    while done < count:
        samples = range(done, min(done + plan.at_once, count))
        found = _tried(passes, samples, plan, watch.check)
        if found is None:
            plan = plan.smaller()
            continue
        for one in found[0]:  # one after the other: the sum does not depend on the batches
            total = total + one
        scores.append(found[1])
        done = samples.stop
        watch.tell(done, count)
    return total / count, torch.cat(scores)
