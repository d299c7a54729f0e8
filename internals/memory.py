"""How much memory a pass needs and is there, and what is done when it does not suffice."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

from internals.growing import free_disk
from internals.sizes import Sizes
from model import decoder_layers, free_memory
from records.plan import Plan, size_text
from records.store import cache_folder

Result = TypeVar("Result")


# Beyond so many tokens at once a batch is no faster: the processor is busy anyway.
_TOKENS_AT_ONCE = {"cpu": 1024, "cuda": 16_384, "mps": 4096}
USABLE = 0.7  # of the free memory; the estimates are rough, and Linux ends a process that takes too much


NO_MEMORY = (
    "there is not enough memory for one pass; "
    "a smaller picture (MAX_PIXELS), later layers or an earlier token need less"
)


def pass_bytes(model: Any, tokens: int, rows: int, layers: Sequence[int], recompute: bool = False) -> int:
    """Return about how many bytes one sample's forward and backward pass needs beside the weights.

    `tokens` are those that the model reads, `rows` those whose logits are computed.
    """
    sizes, text = Sizes.of(model), model.config.get_text_config()
    eager, item = text._attn_implementation == "eager", sizes.item
    inside = [sizes.kept(layer, tokens, eager) for layer in range(layers[0] + 1, sizes.count)]
    streams = tokens * sizes.wide * item
    graph = len(inside) * streams + max(inside) if recompute else sum(inside)
    backward = tokens * item * (4 * sizes.inner + 3 * (sizes.wide + sizes.query)) + len(layers) * streams
    return graph + backward + tokens * sizes.tower + 3 * rows * text.vocab_size * max(item, 4)


def forward_bytes(model: Any, tokens: int, rows: int) -> int:
    """Return about how many bytes one forward pass without gradients needs beside the weights.

    `tokens` are those that the model reads, `rows` those whose logits are computed.
    """
    sizes, text = Sizes.of(model), model.config.get_text_config()
    item = sizes.item
    layer = tokens * (4 * max(item, 4) * (sizes.wide + sizes.query) + 3 * item * sizes.inner)
    if text._attn_implementation == "eager":
        layer += tokens * tokens * sizes.heads * (item + 8)
    layer = max(layer, *(sizes.kept(number, tokens, eager=False) for number in range(sizes.count)))
    return max(layer, tokens * sizes.tower) + rows * text.vocab_size * (item + 4)


def held_by_graph(model: Any, lowest: int) -> int:
    """Return the bytes of weights that a backward pass to one layer's output holds beside those in place.

    They are the weights that accelerate keeps elsewhere and brings for each module: the graph holds on to
    them until it is freed, unless layers are computed again.
    """
    above = decoder_layers(model)[lowest + 1 :]
    weights = [weight for layer in above for weight in layer.parameters()]
    return sum(weight.nbytes for weight in weights if weight.device.type == "meta")


def free_bytes(model: Any) -> int:
    """Return the bytes that tensors can still take on the model's devices, all together."""
    return sum(map(_free_bytes, _devices(model)))


def tokens_at_once(model: Any) -> int:
    """Return beyond how many tokens a larger batch is no faster on the model's devices."""
    return min(_TOKENS_AT_ONCE.get(device.type, 1024) for device in _devices(model))


def _devices(model: Any) -> set[torch.device]:
    devices = {weight.device for weight in model.parameters() if weight.device.type != "meta"}
    return devices or {torch.device("cpu")}


def _free_bytes(device: torch.device) -> int:
    """Return the bytes that tensors can still take on a device."""
    if device.type != "cuda":
        return free_memory("cpu")
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + cached


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    said = ("not enough memory", "can't allocate memory", "out of memory")  # CPU on Windows, on Linux; others
    return isinstance(error, RuntimeError) and any(words in str(error) for words in said)


def attempt(compute: Callable[[], Result]) -> Result | None:
    """Return what is computed, or None if memory did not suffice; what it took is free again then."""
    try:
        return compute()
    except Exception as error:
        if not _out_of_memory(error):
            raise
    gc.collect()  # only here: the error held on to the graph
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def within_memory(compute: Callable[[], Result], otherwise: str = NO_MEMORY) -> Result:
    """Return what is computed; MemoryError, which says what to do about it, if memory did not suffice."""
    found = attempt(compute)
    if found is None:
        raise MemoryError(otherwise)
    return found


@contextmanager
def recomputed(layers: Iterable[Any], wanted: bool) -> Iterator[None]:
    """Keep only each layer's input, and compute its inside again in the backward pass.

    transformers does this where a layer has these attributes (gradient checkpointing). That the layer itself
    is in training mode decides nothing else.
    """
    again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
    names = {"gradient_checkpointing": True, "_gradient_checkpointing_func": again, "training": True}
    layers = list(layers) if wanted else []
    before = [{name: vars(layer)[name] for name in names if name in vars(layer)} for layer in layers]
    try:
        for layer in layers:
            vars(layer).update(names)
        yield
    finally:
        for layer, values in zip(layers, before, strict=True):
            for name in names:
                vars(layer).pop(name, None)
            vars(layer).update(values)


def check_room(plan: Plan, device: torch.device) -> None:
    """Raise ValueError, with the settings that help, if memory or disk has no room for what is planned."""
    needed, free, where = plan.bytes, 0, ""
    if plan.in_file:
        # The attention to text is there twice while it is put together.
        needed, free = plan.bytes + plan.text_bytes, free_disk(cache_folder())
        where = " on the disk of CACHE_DIR"
    else:
        free = free_memory(str(device))
    if needed > free:
        raise ValueError(
            f"An answer of {plan.new:,} tokens would record {size_text(needed)} and {size_text(free)} are "
            f"free{where}: lower MAX_NEW_TOKENS or MAX_PIXELS, or record less: the mean over heads "
            '(KEEP = "head-mean"), or fewer layers (SPECIFIC_LAYERS).'
        )
