"""Having a model alone, and giving it back as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from model import decoder_config

_busy: set[int] = set()
_busy_lock = threading.Lock()


@contextmanager
def alone(text_config: object) -> Iterator[None]:
    """Refuse a second capture or map on a decoder while one is being computed."""
    key = id(text_config)
    with _busy_lock:
        if key in _busy:
            raise RuntimeError(
                "this model is already at work for another answer or map; "
                "wait for it, or load the model again"
            )
        _busy.add(key)
    try:
        yield
    finally:
        with _busy_lock:
            _busy.discard(key)


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Switch every module to eval mode; put back those that were not."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def lent(model: Any) -> Iterator[None]:
    """Have the model alone, in eval mode, its parameters without gradients; put everything back on exit."""
    with alone(decoder_config(model)), in_eval_mode(model), torch.inference_mode(False), torch.enable_grad():
        # By name: where accelerate brings weights for each pass, it puts new objects into their place.
        trained = [name for name, weight in _weights(model) if weight.requires_grad]
        position_offset = model.model.rope_deltas
        try:
            for _, weight in _weights(model):
                weight.requires_grad_(False)
            yield
        finally:
            weights = dict(_weights(model))
            for name in trained:
                weights[name].requires_grad_(True)
            model.model.rope_deltas = position_offset


def _weights(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Return every weight by each of its names."""
    return model.named_parameters(remove_duplicate=False)
