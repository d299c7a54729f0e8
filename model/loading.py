"""A checkpoint, loaded.

Goes in: a name and where it is to run. Comes out: `(model, processor)`. Knows nothing of attention, maps or
pages.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText
from transformers.utils import logging as transformers_logging

import config
from model.adapters import apply_adapter, check_adapter
from model.checkpoint import Stored, check_folder, stored_tensors, weight_files
from model.errors import ModelError
from model.families import Family, Processor, processor_class
from model.generation_config import check_generation
from model.hub import checkpoint_folder, default_name
from model.mending import PREFIX, Mended, mended_files
from model.placement import Placement, check_memory, device_map
from model.quantisation import (
    Quantised,
    caveat,
    keep_layout,
    loading_keywords,
    needed_bytes,
    own_distance,
    quantised,
)
from model.readiness import check_ready
from model.source import Source, joined, source_of
from model.standard import standard_of
from model.templates import chosen_template, templates_in
from model.video_settings import SETTINGS
from utils import one_line

WHOLE = "fetch all of its files again, or choose another checkpoint"
# transformers applies an adapter that lies beside the weights by itself, and leaves out what it cannot place;
# it looks for one in the folder of this name inside the checkpoint's.
NO_ADAPTER = {"subfolder": "no-adapter"}
NOTES = "loading_notes"  # the attribute of a loaded model that holds them


def load_model(
    name: str | Path = "",
    *,
    adapter: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    attention_backend: str | None = None,
) -> tuple[Any, Processor]:
    """Return the model, in eval mode, and its processor.

    `name` is "demo" (the bundled model), a local folder, or a hub id; empty means `config.MODEL_NAME` with
    `config.ADAPTER`. `adapter` is a LoRA folder that is applied to it; without a name, to the base that it
    names itself. "base + adapter" as a name means the same. The others default to `config.DEVICE`, `DTYPE`
    and `ATTENTION_BACKEND`, where "auto" is CUDA with bfloat16 and flash_attention_2 as far as they are
    there, else the CPU with float32 and sdpa; `config.QUANTIZATION` counts. Only safetensors are read, and no
    code that comes with a checkpoint is run. What was mended of the checkpoint's files, `loading_notes` says.

    Raises:
        ModelError: one line that says what is wrong and what to do.
    """
    name = joined(str(name), adapter) if adapter else str(name) or default_name()
    placement = Placement.choose(
        device or config.DEVICE, dtype or config.DTYPE, attention_backend or config.ATTENTION_BACKEND
    )
    source = source_of(name, partial(checkpoint_folder, settings=placement))
    with _one_line_errors(name, source.base):
        family = check_folder(source.base, source.base_name, *source.folders)
        adapted = 0 if source.adapter is None else check_adapter(source.adapter, source.adapter_name)
        stored = stored_tensors(weight_files(source.base, source.base_name), source.base_name)
    with _quiet(), _one_line_errors(name, source.base), _small_files(source, family, stored) as files:
        held = quantised(files.settings, source.base_name, placement)
        check_memory(name, needed_bytes(stored, held, placement) + adapted, placement, bool(held.method))
        processor = _load_processor(source, family, files)
        model = _load_weights(source, files, placement, held)
        if source.adapter is not None:
            model, note = apply_adapter(
                model, source.adapter, source.adapter_name, source.base_name, merge=not held.method
            )
            files.notes.append(note)
    model.name_or_path = name
    model.eval()
    check_generation(model, name)
    encoded = check_ready(model, processor, name)
    if held.method:
        files.notes.append(held.note)
    if held.bits == "8bit":
        files.notes.append(caveat(own_distance(model, encoded)))
    setattr(model, NOTES, tuple(files.notes))
    return model, processor


def loading_notes(model: Any) -> tuple[str, ...]:
    """Return what was mended or is special of a loaded model, one line each."""
    return getattr(model, NOTES, ())


@contextmanager
def _small_files(source: Source, family: Family, stored: dict[str, Stored]) -> Iterator[Mended]:
    with mended_files(
        source.folders,
        source.base_name,
        standard_of(family.model_type),
        family.processor.__name__,
        stored,
    ) as files:
        yield files


def _load_processor(source: Source, family: Family, files: Mended) -> Processor:
    loader = processor_class(family)
    processor: Processor = loader.from_pretrained(
        files.folder, trust_remote_code=False, local_files_only=True
    )
    _narrow_pixels(processor.image_processor)
    setattr(processor, SETTINGS, files.videos)
    processor.chat_template, notes = chosen_template(
        processor,
        templates_in(source.folders, source.base_name),
        standard_of(family.model_type).template,
        family.label,
    )
    files.notes += notes
    return processor


def _load_weights(source: Source, files: Mended, placement: Placement, held: Quantised) -> Any:
    devices = device_map(placement.device)
    model, info = AutoModelForImageTextToText.from_pretrained(
        source.base,
        config=files.config,
        dtype=placement.dtype,
        attn_implementation=placement.attention_backend,
        device_map={"": "cpu"} if held.method and devices is None else devices,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
        adapter_kwargs=NO_ADAPTER,
        **loading_keywords(held, placement),
    )
    name = source.base_name
    if info["missing_keys"]:  # they would have been filled with random numbers
        missing = sorted(info["missing_keys"])
        raise ModelError(
            f"{name} is not complete: its files lack {len(missing)} weights, {missing[0]} among them; "
            "fetch the checkpoint again, or save it again as a whole."
        )
    keep_layout(model)
    files.notes += _notes_on_weights(model, sorted(info["unexpected_keys"]), name)
    return model


def _notes_on_weights(model: Any, unexpected: list[str], name: str) -> list[str]:
    """Return what is odd of the weights in the files; ModelError for an adapter among them."""
    adapted = [key for key in unexpected if ".lora_" in key or "base_layer" in key]
    if adapted:
        raise ModelError(
            f"{name} was saved with an adapter in its files ({adapted[0]}), which would not be applied; "
            "merge it with PEFT (merge_and_unload) and save that, or save base and adapter apart."
        )
    notes = []
    if unexpected:
        notes.append(f"{len(unexpected)} weights in its files are not the model's: {unexpected[0]}, …")
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if model.config.tie_word_embeddings and head.weight is not embedding.weight:
        notes.append(
            "lm_head.weight in its files is not the embedding, though config.json ties them: "
            "it is used as it is"
        )
    return notes


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
        text = re.sub(rf"\S*{PREFIX}\w+", "the folder", str(error).replace(str(folder), "the folder"))
        reason = one_line(text, 150)
        raise ModelError(f"{name} cannot be loaded: {reason.rstrip('.')}; {WHOLE}.") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep libraries from writing bars and warnings between the lines of ours."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
