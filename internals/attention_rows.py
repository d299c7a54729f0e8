"""Rows of attention beside the model's own kernel, and what each layer's attention is made of.

transformers lets an attention function be registered by name. Ours calls the backend in use for the output,
and hands out queries and keys, of which `attention_rows` computes single rows: softmax(q·Kᵀ) of one query
each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import eager_attention_forward

from model import decoder_layers
from model.families import WHY_MASKED

# For each attention module of a running capture, the prompt positions whose rows are wanted (last position
# included). Modules that are not here pay nothing, whatever model they belong to.
_wanted_rows: WeakKeyDictionary[nn.Module, Tensor] = WeakKeyDictionary()


class Mixing(NamedTuple):
    """What one layer's attention is made of, positions applied."""

    query: Tensor  # (batch, head, token, dim)
    key: Tensor  # (batch, kv head, token, dim)
    value: Tensor  # (batch, kv head, token, dim)
    output: Tensor  # (batch, token, head, dim): softmax(q·Kᵀ·scaling)·V, before the heads are joined
    scaling: float


# For each watched attention module, who sees what it mixes.
_watchers: WeakKeyDictionary[nn.Module, Callable[[Mixing], None]] = WeakKeyDictionary()
_PREFIX = "captured_"


def attention_rows(query: Tensor, key: Tensor, scaling: float, positions: Tensor) -> Tensor:
    """Return softmax(q·Kᵀ·scaling) of some query rows, computed in float32: (head, row, key).

    `query` is (1, head, row, dim), `key` (1, kv head, key, dim). `positions` (row,) are the rows' positions
    in the sequence; each row sees the keys up to its own position and gives the later ones 0.
    """
    _, heads, rows, dim = query.shape
    _, kv_heads, keys, _ = key.shape
    # Heads that share a key head are consecutive: taken as further rows of it, they need no copy of the keys.
    grouped = query[0].float().reshape(kv_heads, -1, dim) * scaling
    scores = torch.bmm(grouped, key[0].float().transpose(1, 2)).view(heads, rows, keys)
    first = int(positions.min()) + 1  # every row sees the keys before this one
    later = torch.arange(first, keys, device=positions.device) > positions[:, None]  # (row, key)
    scores[..., first:].masked_fill_(later.to(scores.device), -torch.inf)
    return torch.softmax(scores, dim=-1)


def _captured_attention(
    backend: Callable[..., Any],
    name: str,
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Return the backend's output and, in the place of the attention weights, what wanted rows are made of.

    That is the queries of these rows and all keys so far. The rows themselves are computed for many tokens at
    once: one product of some hundred rows costs far less than some hundred products of one row.
    """
    seen_as = module if name in ("sdpa", "eager") else _seen_with_backend(module, name)
    output, _ = backend(seen_as, query, key, value, attention_mask, **settings)
    watch = _watchers.get(module)
    if watch is not None:
        watch(Mixing(query, key, value, output, module.scaling))
    rows = _wanted_rows.get(module)
    if rows is None:
        return output, None
    if query.shape[2] > 1:
        query = query.index_select(2, rows.to(query.device))
    return output, (query, key)


class _Seen:
    """Something as it is, but for a few attributes."""

    def __init__(self, target: Any, **changed: Any) -> None:
        self.__dict__.update(changed, _target=target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


def _seen_with_backend(module: Any, name: str) -> Any:
    """Return the module as the backend would meet it without us: flash attention goes by that name."""
    return _Seen(module, config=_Seen(module.config, _attn_implementation=name))


def _registered(backend: str) -> str:
    """Register our attention function over a backend, with that backend's mask, and return its name.

    The backend's name is part of it: transformers takes any name with "flash" in it for flash attention.
    """
    name = _PREFIX + backend.replace("/", "_")
    function = ALL_ATTENTION_FUNCTIONS.get_interface(backend, eager_attention_forward)
    AttentionInterface.register(name, partial(_captured_attention, function, backend))
    if backend in ALL_MASK_ATTENTION_FUNCTIONS:
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[backend])
    return name


@contextmanager
def rows_wanted(modules: Sequence[nn.Module], rows: Tensor) -> Iterator[None]:
    """Have these attention modules return rows."""
    try:
        for module in modules:
            _wanted_rows[module] = rows
        yield
    finally:
        for module in modules:
            _wanted_rows.pop(module, None)


@contextmanager
def attention_watched(
    model: Any, layers: Sequence[int], watch: Callable[[int, Mixing], None]
) -> Iterator[None]:
    """Call watch(layer, mixing) inside the attention of these decoder layers, at each forward.

    The model must be had alone. sdpa takes the place of eager attention, which would keep a (head, token,
    token) matrix of every layer for the gradients.

    Raises:
        ValueError: for attention whose rows do not run over all keys.
    """
    of_layer: Sequence[Any] = list(decoder_layers(model))
    modules = {layer: of_layer[layer].self_attn for layer in layers}
    check_full_attention(modules.values())
    try:
        for layer, module in modules.items():
            _watchers[module] = partial(watch, layer)
        with backend_wrapped(model, next(iter(modules.values())), {"eager": "sdpa"}):
            yield
    finally:
        for module in modules.values():
            _watchers.pop(module, None)


def check_full_attention(modules: Iterable[Any]) -> None:
    """Raise ValueError for attention whose rows do not run over all keys: of a window, or of an indexer."""
    modules = list(modules)
    if any(getattr(module, "sliding_window", None) for module in modules):
        raise ValueError(f"this model uses sliding-window attention, {WHY_MASKED}")
    if any(getattr(module, "indexer", None) is not None for module in modules):
        raise ValueError(f"this model's attention keeps only the keys that an indexer selects, {WHY_MASKED}")


@contextmanager
def backend_wrapped(
    model: Any, module: Any, instead: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """Switch the decoder to our attention function, and back on exit; yield the name of the one in use.

    Our function computes with that one, or with what is to be used `instead` of it.
    """
    backend = module.config._attn_implementation
    name = _registered(instead.get(backend, backend))
    try:
        model.set_attn_implementation({"text_config": name})
        if module.config._attn_implementation != name:
            raise RuntimeError(
                "the decoder's attention backend could not be switched; its weights cannot be read"
            )
        yield backend
    finally:
        model.set_attn_implementation({"text_config": backend})
