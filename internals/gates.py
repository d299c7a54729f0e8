"""The gates behind the attention of each head, in models that have them.

There `q_proj` is twice as wide: for each head its query, then a gate of as many channels; what the head mixed
is multiplied by σ(gate) before the heads are joined (gated attention, Qiu et al. 2025, arXiv 2505.06708).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from internals.exclusive import lent
from internals.hooks import hooked
from internals.memory import within_memory
from internals.teacher_forcing import TeacherForced
from model import decoder_layers


def head_gates(forced: TeacherForced, layers: Sequence[int]) -> Tensor:
    """Return how far each head is let through at each row (row, layer, head): the mean of σ(gate), 0..1.

    The mean is over the head's channels, float32 on the CPU; one forward pass.

    Raises:
        MemoryError: if the pass does not fit.
        RuntimeError: if the model is at work for something else.
    """
    of_layer: Sequence[Any] = list(decoder_layers(forced.model))
    modules = [of_layer[layer].self_attn for layer in layers]
    rows, found = torch.tensor(forced.rows), dict[int, Tensor]()

    def keep(index: int, module: nn.Module, args: Any, output: Tensor) -> None:
        at_rows = output[0, rows.to(output.device)]  # (row, head · 2 · dim)
        _, gate = at_rows.view(len(rows), -1, 2, modules[index].head_dim).unbind(dim=2)
        found[index] = gate.float().sigmoid().mean(dim=-1).cpu()  # (row, head)

    with lent(forced.model), torch.no_grad(), hooked([module.q_proj for module in modules], keep):
        within_memory(forced.logits)
    return torch.stack([found[index] for index in range(len(modules))], dim=1)
