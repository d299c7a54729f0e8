"""Which checkpoint and which question an answer belongs to, as an id: equal for equal answers.

Goes in: a model's name, a picture's hash, a prompt and settings. Comes out: the key under which the answer
is kept. Reads no weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

import config
from model.checkpoint import read_config
from model.errors import ModelError
from model.families import attention_layers_in
from model.hub import folder_on_disk
from model.placement import Placement
from model.source import source_of
from records.conversation import History, conversation_of
from records.crops import Crop
from records.generation import GenerationSettings, thinking_identity
from records.keep import ALL, Keep, as_json, keep_of, layers_of
from records.turns import kinds_of_turns

Files = tuple[tuple[str, int, int], ...]
KEY = 1  # raised when what is kept under a key must not be found by it any more


@dataclass(frozen=True)
class Checkpoint:
    """What tells one checkpoint from another without reading its weights."""

    name: str  # as it was asked for
    folder: str
    files: Files  # name, size in bytes and time of change (ns) of each file
    layer_count: int
    attention_layers: tuple[int, ...]
    adapter: tuple[str, Files] | None = None  # its folder and files


def checkpoint(name: str) -> Checkpoint | None:
    """Return the checkpoint that a model's name means; None if it is not on this computer or not readable."""
    try:
        source = source_of(name, _folder_here)
        settings = read_config(source.base / "config.json", name)
        layers = (settings.get("text_config") or settings)["num_hidden_layers"]
        attended = attention_layers_in(settings)
        lora = source.adapter
        adapter = None if lora is None else (str(lora.resolve()), _files_in(lora))
        found = _files_in(source.base)
    except (ModelError, OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return Checkpoint(name, str(source.base.resolve()), found, int(layers), attended, adapter)


def _folder_here(name: str) -> Path:
    folder = folder_on_disk(name)
    if folder is None:
        raise ModelError(f"{name} is not on this computer; load it first.")
    return folder


def _files_in(folder: Path) -> Files:
    stats = {file.name: file.stat() for file in sorted(folder.iterdir()) if file.is_file()}
    return tuple((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats.items())


def verification_key(source: Checkpoint | None) -> str | None:
    """Return the id under which a checkpoint's self-test is kept: of its files, of where and how it runs."""
    if source is None:
        return None
    told = {"model": asdict(source), **_running()}
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def _running() -> dict[str, Any]:
    """Return what beside its files decides what a checkpoint computes."""
    return {
        "placement": str(Placement.choose(config.DEVICE, config.DTYPE, config.ATTENTION_BACKEND)),
        "quantization": config.QUANTIZATION,
        "versions": (torch.__version__, transformers.__version__),
    }


def answer_key(
    source: Checkpoint,
    image: str | list[str],
    prompt: str,
    *,
    layers: Sequence[int] | None = None,
    float16: bool | None = None,
    keep: Keep | None = None,
    answer: str | None = None,
    thinking: bool | None = None,
    system: str | None = None,
    clips: bool = False,
    crop: Crop | None = None,
    history: History = (),
    **settings: Any,
) -> str:
    """Return the id under which the answer to this question is kept: equal for equal answers.

    `image` is the picture's hash, of several a list, with `clips` where some of them are clips; `settings`
    are keywords of `GenerationSettings.of`; `answer` is one that was written elsewhere, for which none of
    them count but `thinking`. `system` and `history` are as for `AttentionExtractor.generate`: all that the
    conversation showed and said counts, and `image` is of what the question adds to it. `crop` says which of
    them is a part of which, for a closer look: the answer that is kept says so too. All that is None is read
    from `config`, as `AttentionExtractor` does; so are the device, dtype, quantisation and attention backend,
    and the bounds of the picture's size. What cannot change a greedy answer (seed, nucleus) does not count
    for one.

    Raises:
        ModelError: for a device, dtype or backend that this computer cannot offer.
        ValueError: for a setting out of range, and for a history that is none.
    """
    chat = conversation_of(history, system)
    clips = clips or "video" in kinds_of_turns(chat.turns)
    kept = keep_of(keep)
    if (of_pairs := layers_of(kept)) is not None:
        layers = of_pairs
    elif layers is None and not config.EXTRACT_ALL_LAYERS:
        layers = config.SPECIFIC_LAYERS
    layers = source.attention_layers if layers is None else layers
    if answer is None:
        how = GenerationSettings.of(**settings, thinking=thinking).identity
    else:
        how = {"given": answer, **thinking_identity(thinking)}
    question = {
        "format": KEY,
        "model": asdict(source),
        **_running(),
        "pixels": (config.MIN_PIXELS, config.MAX_PIXELS),
        "image": image,
        "prompt": prompt,
        "generation": how,
        "layers": sorted({layer % source.layer_count for layer in layers}),
        "float16": config.USE_FLOAT16 if float16 is None else float16,
        **({} if kept == ALL else {"keep": as_json(kept)}),
        **({} if chat.system is None else {"system": chat.system}),
        **({"history": [chat.hashes, *map(asdict, chat.turns)]} if chat.turns else {}),
        **({} if crop is None else {"crop": crop.as_json}),
        **({"clip_pixels": config.VIDEO_MAX_PIXELS} if clips else {}),
    }
    return hashlib.sha256(json.dumps(question).encode()).hexdigest()[:32]
