"""The generation config that an answer is given by: the checkpoint's own, or a neutral one.

Goes in: a model and what a person chose. Comes out: a `GenerationConfig` of transformers, one line why an
answer by it cannot be recorded, and what of it decides an answer. Knows nothing of attention.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation import GenerationMode

import config
from model.errors import ModelError
from records.generation import GenerationSettings, generation_text
from utils import one_line

# What says how an answer is computed or returned, not what it is; rows need the whole of a growing cache.
NEUTRAL: dict[str, Any] = {
    "use_cache": True,
    "cache_implementation": None,
    "cache_config": None,
    "prefill_chunk_size": None,
    "return_dict_in_generate": False,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "output_logits": None,
    "max_length": None,
}
DRAWN = ("temperature", "top_p", "top_k")  # of no consequence where the likeliest token is taken
# Of a generation config, what a record leaves out: token ids, and what `refused` holds to one value.
UNTOLD = {
    *NEUTRAL,
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "do_sample",
    "max_new_tokens",
    "num_beams",
}


def generation_config_of(model: Any, settings: GenerationSettings) -> GenerationConfig:
    """Return the generation config that an answer is given by.

    That of "checkpoint" is the model's own, but for how it is computed; otherwise only its special tokens
    are.

    Raises:
        ValueError: one line, for a checkpoint's config whose words have no single row of attention each.
    """
    own = model.generation_config
    if settings.generation == "checkpoint":
        chosen = copy.deepcopy(own)
        chosen.update(**NEUTRAL)
    elif settings.generation == "greedy":
        chosen = GenerationConfig(do_sample=False, repetition_penalty=1.0)
    else:
        is_drawn = bool(settings.temperature)
        drawn = {name: getattr(settings, name) for name in DRAWN} if is_drawn else {}
        chosen = GenerationConfig(
            do_sample=is_drawn, repetition_penalty=float(settings.repetition_penalty or 1), **drawn
        )
    ends = end_ids(own)
    chosen.bos_token_id, chosen.eos_token_id = own.bos_token_id, sorted(ends) or None
    chosen.pad_token_id = own.pad_token_id if own.pad_token_id is not None else min(ends, default=None)
    if reason := refused(chosen):
        raise ValueError(reason)
    return chosen


def refused(chosen: GenerationConfig) -> str | None:
    """Return why an answer by a generation config cannot be recorded, with what to do; None if it can.

    Each word needs one row of attention, in one sequence that only grows.
    """
    odd = None
    if chosen.get_generation_mode() not in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE):
        mode = chosen.get_generation_mode().value.replace("_", " ")
        beams = f" (num_beams {chosen.num_beams})" if (chosen.num_beams or 1) > 1 else ""
        odd = f"{mode}{beams}"
    elif (chosen.num_return_sequences or 1) > 1:
        odd = f"{chosen.num_return_sequences} answers at a time (num_return_sequences)"
    elif chosen.guidance_scale not in (None, 1):
        odd = f"classifier-free guidance (guidance_scale {chosen.guidance_scale})"
    if odd is None:
        return None
    return (
        f"The checkpoint's generation_config.json asks for {odd}, which cannot be recorded: "
        'set GENERATION = "greedy" in config.py, or mend that file.'
    )


def told(chosen: GenerationConfig) -> dict[str, Any]:
    """Return what of a generation config decided the answer, JSON-ready; temperature 0: it is greedy.

    Values that are transformers' defaults and change nothing are left out.
    """
    defaults = GenerationConfig._get_default_generation_params()
    known = {name: value for name, value in chosen.to_dict().items() if value is not None}
    values = {name: known.get(name, defaults[name]) for name in (*DRAWN, "repetition_penalty")}
    if not chosen.do_sample:
        values = {"temperature": 0.0, "repetition_penalty": values["repetition_penalty"]}
    for name, value in known.items():
        is_meant = not name.startswith("_") and name not in {*UNTOLD, *DRAWN, "transformers_version"}
        if is_meant and value != defaults.get(name):
            values[name] = value if isinstance(value, (str, int, float, bool)) else str(value)
    return values


def own_generation(model: Any) -> str:
    """Return how the checkpoint itself would answer: "greedy", "drawn, temperature 0.7, top k 50, …"."""
    chosen = copy.deepcopy(model.generation_config)
    neutral = {"temperature": 0.0, "top_p": 1.0, "repetition_penalty": 1.0}
    telling = {name: value for name, value in told(chosen).items() if neutral.get(name) != value}
    return refused(chosen) or generation_text(telling)


def end_ids(chosen: GenerationConfig) -> set[int]:
    """Return the token ids that end an answer."""
    ends = chosen.eos_token_id
    listed = ends if isinstance(ends, (list, tuple)) else [ends]
    return {int(token) for token in listed if token is not None}


def check_generation(model: Any, name: str) -> None:
    """Raise ModelError where the checkpoint's own settings would answer no question, and are to be used."""
    if config.GENERATION != "checkpoint":
        return
    try:
        chosen = generation_config_of(model, GenerationSettings.of("checkpoint"))
    except ValueError as error:
        raise ModelError(f"{name}: {error}") from None
    try:
        chosen, _ = model._prepare_generation_config(chosen)
        model._prepare_special_tokens(chosen, device=torch.device("cpu"))
        model._get_logits_processor(chosen, input_ids_seq_length=1, device=torch.device("cpu"))
    except Exception as error:  # each of two dozen processors has its own
        reason = one_line(error, 200).rstrip(".")
        raise ModelError(
            f'{name}: {reason}; mend its generation_config.json, or set GENERATION = "greedy" in config.py.'
        ) from None
