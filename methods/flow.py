"""Attention followed from layer to layer: rollout, and gradient × attention.

Both are a product of one (position, position) matrix for each layer, of which single rows are read. Row q of
M_L ⋯ M_1 is e_q M_L ⋯ M_1: taken from the last layer down, it never needs more than one layer's matrix, and
that one only some rows at a time. What is kept of a layer are its queries, keys, values and output: a few
times (position, channel).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from internals.attention_rows import Mixing, attention_rows, attention_watched
from internals.exclusive import lent
from internals.memory import USABLE, attempt, free_bytes, pass_bytes, recomputed, within_memory
from internals.teacher_forcing import TeacherForced
from methods.question import Maps, Question
from model import decoder_layers
from utils import Watch

ATTENTION_ONLY = "Only the layers with attention are chained; what the model's other layers mix is left out."
BLOCK = 256  # rows of (head, row, key) that are computed together


def _blocks(mixing: Mixing, end: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield attention (head, row, key) of the positions before `end`, some rows at a time."""
    key = mixing.key[:, :, :end]
    for first in range(0, end, BLOCK):
        rows = slice(first, min(first + BLOCK, end))
        positions = torch.arange(rows.start, rows.stop, device=key.device)
        yield rows, attention_rows(mixing.query[:, :, rows], key, mixing.scaling, positions)


def _slopes(mixing: Mixing, gradient: Tensor, rows: slice, end: int) -> Tensor:
    """Return ∂s/∂A (head, row, key) of some rows: ∂s/∂o (1, position, head, dim) times the values."""
    _, kv_heads, _, dim = mixing.value.shape
    of_rows = gradient[0, rows].float().transpose(0, 1)  # (head, row, dim)
    value = mixing.value[0, :, :end].float().transpose(1, 2)  # (kv head, dim, key)
    return torch.bmm(of_rows.reshape(kv_heads, -1, dim), value).view(len(of_rows), -1, end)


def rollout(
    question: Question, layers: Sequence[int] | None = None, heads: Sequence[int] | None = None
) -> Maps:
    """Return row q, columns V of Ã_L ⋯ Ã_1, Ã_l = (mean over heads of A_l + I) / 2, for each token."""
    forced, chosen = question.forced, question.heads(heads)
    numbers = question.attention_layers(layers)
    question.watch.tell(0, 1)
    with lent(forced.model), torch.no_grad():
        mixings, _ = within_memory(partial(_read, forced, numbers))
        relevance = _rows(forced)
        for layer in reversed(numbers):
            question.watch.check()
            relevance = relevance.to(mixings[layer].query.device)
            mixed = torch.zeros_like(relevance)
            for rows, attention in _blocks(mixings[layer], forced.read):
                mixed += relevance[:, rows] @ attention[chosen].mean(dim=0)
            relevance = (relevance + mixed) / 2
    question.watch.tell(1, 1)
    return Maps(_maps(forced, relevance), _settings(numbers, chosen), forward=1)


def gradient_attention(
    question: Question, layers: Sequence[int] | None = None, heads: Sequence[int] | None = None
) -> Maps:
    """Return row q, columns V of (I + Ā_L) ⋯ (I + Ā_1), Ā_l = E_h[(∂s/∂A_l ⊙ A_l)⁺], for each token.

    s is the token's logit. All tokens share one forward pass, whose graph is kept; each costs one backward
    pass.
    """
    forced, chosen = question.forced, question.heads(heads)
    numbers = question.attention_layers(layers)
    tries = partial(_explained, forced, numbers, chosen, question.watch)
    # The graph begins inside the lowest layer: what is kept of that one counts too.
    begins = [layer - 1 for layer in numbers]
    with lent(forced.model):
        needed = pass_bytes(forced.model, forced.read, len(forced.rows), begins)
        fits = needed < USABLE * free_bytes(forced.model)
        found = attempt(partial(tries, recompute=False)) if fits else None
        if found is None:
            found = within_memory(partial(tries, recompute=True))
    notes = (ATTENTION_ONLY,) if question.capture.hybrid else ()
    return Maps(found, _settings(numbers, chosen), forward=1, backward=len(found), notes=notes)


def _explained(
    forced: TeacherForced, layers: Sequence[int], heads: list[int], watch: Watch, recompute: bool
) -> NDArray[np.float32]:
    """Return the maps (token, patch) of gradient × attention."""
    count = len(forced.tokens)
    watch.tell(0, count + 1)
    # The lowest layer is where the graph begins, so that its inside is not computed again.
    with recomputed(decoder_layers(forced.model)[layers[0] + 1 :], recompute):
        mixings, logits = _read(forced, layers)
        watch.tell(1, count + 1)
        outputs, found = [mixings[layer].output for layer in layers], []
        for index, token in enumerate(forced.tokens):
            score = logits[0, index, forced.ids[token]].float()
            slopes = torch.autograd.grad(score, outputs, retain_graph=index < count - 1)
            with torch.no_grad():
                found.append(_chained(forced, index, [mixings[layer] for layer in layers], slopes, heads))
            watch.tell(index + 2, count + 1)
    return _maps(forced, torch.stack([row.cpu() for row in found]))


def _chained(
    forced: TeacherForced,
    index: int,
    mixings: Sequence[Mixing],
    gradients: Sequence[Tensor],
    heads: list[int],
) -> Tensor:
    """Return the relevance (position,) of one token, from the last layer down."""
    end, relevance = forced.rows[index] + 1, _rows(forced)[index]
    for mixing, gradient in reversed(list(zip(mixings, gradients, strict=True))):
        relevance = relevance.to(mixing.query.device)
        mixed = torch.zeros_like(relevance)
        for rows, attention in _blocks(mixing, end):
            if relevance[rows].any():
                weighted = attention.mul_(_slopes(mixing, gradient, rows, end)).clamp_(min=0)
                mixed[:end] += relevance[rows] @ weighted[heads].mean(dim=0)
        relevance = relevance + mixed
    return relevance


def _read(forced: TeacherForced, layers: Sequence[int]) -> tuple[dict[int, Mixing], Tensor]:
    """Return what each layer's attention is rebuilt from, and the logits (1, row, vocabulary).

    With gradients switched on, the graph begins at the lowest layer's output.
    """
    kept: dict[int, Mixing] = {}

    def keep(layer: int, mixing: Mixing) -> None:
        if layer in kept:  # computed again for a backward pass
            return
        if torch.is_grad_enabled() and not mixing.output.requires_grad:
            mixing.output.requires_grad_()
        kept[layer] = mixing._replace(
            query=mixing.query.detach(), key=mixing.key.detach(), value=mixing.value.detach()
        )

    with attention_watched(forced.model, layers, keep):
        logits = forced.logits()
    return kept, logits


def _settings(layers: Sequence[int], heads: Sequence[int]) -> dict[str, Any]:
    return {"layers": list(layers), "heads": list(heads)}


def _rows(forced: TeacherForced) -> Tensor:
    """Return a one at each token's own row: (token, position)."""
    return torch.nn.functional.one_hot(torch.tensor(forced.rows), forced.read).float()


def _maps(forced: TeacherForced, relevance: Tensor) -> NDArray[np.float32]:
    """Return the visuals' columns of (token, position) as maps (token, patch)."""
    return relevance.cpu()[:, forced.patches.cpu()].numpy()
