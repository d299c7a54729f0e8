"""A checkpoint, loaded.

Goes in: a name and where it is to run. Comes out: `(model, processor)`. Knows nothing of attention, maps or
pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText
from transformers.utils import logging as transformers_logging

import config
from model.checkpoint import check_folder, float_count, weight_files
from model.errors import ModelError
from model.families import Family, Processor, processor_class
from model.generation_config import check_generation
from model.hub import checkpoint_folder
from model.placement import Placement, check_memory, device_map
from utils import one_line


def load_model(
    name: str | Path = "",
    *,
    device: str | None = None,
    dtype: str | None = None,
    attention_backend: str | None = None,
) -> tuple[Any, Processor]:
    """Return the model, in eval mode, and its processor.

    `name` is "demo" (the bundled model), a local folder, or a hub id; empty means `config.MODEL_NAME`. The
    others default to `config.DEVICE`, `DTYPE` and `ATTENTION_BACKEND`, where "auto" is CUDA with bfloat16 and
    flash_attention_2 as far as they are there, else the CPU with float32 and sdpa. Only safetensors are read,
    and no code that comes with a checkpoint is run.

    Raises:
        ModelError: one line that says what is wrong and what to do.
    """
    name = str(name) or config.MODEL_NAME
    settings = Placement.choose(
        device or config.DEVICE, dtype or config.DTYPE, attention_backend or config.ATTENTION_BACKEND
    )
    folder = checkpoint_folder(name, settings)
    family = check_folder(folder, name)
    check_memory(name, float_count(weight_files(folder, name), name) * settings.dtype.itemsize, settings)
    with _quiet(), _one_line_errors(name, folder):
        processor = _load_processor(family, folder)
        model = _load_weights(folder, name, settings)
    _narrow_pixels(processor.image_processor)
    model.name_or_path = name
    check_generation(model, name)
    return model.eval(), processor


def _load_processor(family: Family, folder: Path) -> Processor:
    loader = processor_class(family)
    processor: Processor = loader.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    processor.chat_template = processor.chat_template or processor.tokenizer.chat_template
    if not processor.chat_template:
        raise ValueError("it has no chat template")
    return processor


def _load_weights(folder: Path, name: str, settings: Placement) -> Any:
    model, info = AutoModelForImageTextToText.from_pretrained(
        folder,
        dtype=settings.dtype,
        attn_implementation=settings.attention_backend,
        device_map=device_map(settings.device),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
    )
    if info["missing_keys"]:  # they would have been filled with random numbers
        missing = sorted(info["missing_keys"])
        raise ModelError(
            f"{name} is not complete: its files lack {len(missing)} weights, {missing[0]} among them."
        )
    return model


def _narrow_pixels(image_processor: Any) -> None:
    """Apply `config.MIN_PIXELS` and `MAX_PIXELS`, which narrow a checkpoint's own bounds only."""
    lowest, highest = image_processor.size["shortest_edge"], image_processor.size["longest_edge"]
    highest = min(highest, config.MAX_PIXELS or highest)
    lowest = min(max(lowest, config.MIN_PIXELS or lowest), highest)
    image_processor.size = type(image_processor.size)(shortest_edge=lowest, longest_edge=highest)


@contextmanager
def _one_line_errors(name: str, folder: Path) -> Iterator[None]:
    """Turn whatever transformers and torch raise while loading into one ModelError."""
    try:
        yield
    except ModelError:
        raise
    except (torch.OutOfMemoryError, MemoryError):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise ModelError(
            f"There is not enough memory to load {name}; close other programs or choose a smaller model."
        ) from None
    except Exception as error:  # dozens of kinds, with server paths and many lines in their texts
        reason = one_line(str(error).replace(str(folder), "the folder"), 200)
        raise ModelError(f"{name} cannot be loaded: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from writing bars and warnings between the lines of ours."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
