"""The one signature of all methods."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

import config
from methods.catalog import FromConfig, Method, method_named
from methods.question import Maps, Question
from model import Pictures, Processor, decoder_config
from records.capture import Capture
from records.choices import Aggregation, Fill, chosen_indices
from records.token_maps import Cost, TokenMaps
from records.visuals import shape_of_map
from utils import OnProgress, Watch

if TYPE_CHECKING:
    from methods.attended import Pairs


class Options(TypedDict, total=False):
    """What a method may take beside the capture; `METHODS[name].options` says which, and the defaults.

    None is the method's own choice. Layers: all recorded ones for attention, the later half for the others.
    Heads: all. `epsilon`: 1 / number of patches. `size`: a quarter of the grid's shorter side; `stride`: half
    the size.
    """

    layers: Sequence[int] | None
    heads: Sequence[int] | None
    aggregation: Aggregation
    pairs: Pairs | None  # (layer, head) each: in the place of layers and heads
    epsilon: float | None
    num_samples: int
    noise_std: float
    seed: int
    size: int | None
    stride: int | None
    fill: Fill


def token_maps(
    method: str,
    capture: Capture,
    *,
    model: Any = None,
    processor: Processor | None = None,
    image: Pictures | None = None,
    tokens: int | Sequence[int] | None = None,
    of_prompt: bool = False,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
    **options: Unpack[Options],
) -> TokenMaps:
    """Return a raw map (h, w) of each of the answer's tokens, all of them by default, by one of `METHODS`.

    Of an answer about several pictures, which `image` is a list of, a map has the patches of all of them.
    A word, a range or the whole answer is the mean of its tokens' maps: `TokenMaps.token_map` of several.
    With `of_prompt` the tokens are those of the prompt, where the method has maps of them. "attention" and
    "heads-…" need the capture alone; the others the model, its processor and the picture, and read prompt and
    answer as they are (teacher forcing). `on_progress(passes done, passes in all)` is called before the first
    pass and after each batch of them; setting `stop` ends the computation there. The model is put back as it
    was, also after an error. Of the attention of one sequence (head, position, position), at most one layer
    is held at a time, and where it is rebuilt a few hundred rows of that.

    Raises:
        ValueError: for an unknown method, one that needs what the model does not have, an option that it does
            not take or a value out of range; for a capture that was not made from this model, picture and
            prompt.
        Stopped: if `stop` was set.
        MemoryError: if one pass alone does not fit.
        RuntimeError: if the model is at work for something else.
    """
    row = method_named(method)
    if of_prompt and not row.of_prompt:
        raise ValueError(f"{row.label} explains words of the answer, not of the prompt")
    if reason := row.refusal(capture):
        raise ValueError(reason)
    settings = {**_defaults(row), **_accepted(row, options)}
    chosen = _chosen_tokens(capture, tokens, of_prompt)
    question = Question(capture, chosen, model, processor, image, Watch(on_progress, stop), of_prompt)
    started = perf_counter()
    found = _function(row)(question, **settings, **row.fixed)
    cost = Cost(found.forward, found.backward, perf_counter() - started)
    return TokenMaps(
        method=method,
        tokens=chosen,
        maps=found.maps.reshape(-1, *shape_of_map(capture.visuals)),
        of_prompt=of_prompt,
        cost=cost,
        settings={**settings, **found.settings, **(_of_model(model) if row.needs_model else {})},
        notes=(*found.notes, *_zero_notes(chosen, found.maps)),
        capture=capture,
    )


def _function(row: Method) -> Callable[..., Maps]:
    """Return the function that makes the row's maps; its file is imported here, the first time."""
    module, name = row.function.split(":")
    found: Callable[..., Maps] = getattr(import_module(module), name)
    return found


def _defaults(row: Method) -> dict[str, Any]:
    """Return each option's default, config's where the row says so, as it is now."""
    return {
        name: getattr(config, value.setting) if isinstance(value, FromConfig) else value
        for name, value in row.options.items()
    }


def _accepted(row: Method, options: Options) -> Options:
    for name in options:
        if name not in row.options:
            listed = ", ".join(row.options) or "no options"
            raise ValueError(f"{row.label} does not take {name!r}; it takes {listed}")
    return options


def _chosen_tokens(capture: Capture, tokens: int | Sequence[int] | None, of_prompt: bool) -> tuple[int, ...]:
    count, name = len(capture.token_ids), "token"
    if of_prompt:
        count, name = len(capture.prompt_token_ids), "prompt token"
    elif count == 0:
        raise ValueError("the model gave an empty answer: there is nothing to explain")
    if tokens is None:
        return tuple(range(count))
    return tuple(sorted(set(chosen_indices(tokens, count, name))))


def _zero_notes(tokens: Sequence[int], maps: NDArray[np.float32]) -> list[str]:
    pairs = zip(tokens, maps, strict=True)
    return [f"The map of token {token} is zero everywhere." for token, heat in pairs if not heat.any()]


def _of_model(model: Any) -> dict[str, str]:
    return {
        "dtype": str(model.dtype).removeprefix("torch."),
        "attention_backend": decoder_config(model)._attn_implementation,
    }
