"""What a checkpoint's files say, before anything big is read.

Goes in: a folder in the published layout. Comes out: its family and weight files, or one line that says
what is wrong. Knows nothing of the hub, and reads no weights.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from model.errors import ModelError
from model.families import FAMILIES, REFUSED, Family, known_families, masked_attention
from utils import one_line


def check_folder(folder: Path, name: str) -> Family:
    """Return the family of a folder's checkpoint; ModelError unless it is whole and its family known."""
    family = check_config(folder / "config.json", name)
    weight_files(folder, name)
    has = {file.name for file in folder.iterdir()}
    if not ("tokenizer.json" in has or {"vocab.json", "merges.txt"} <= has):
        raise ModelError(f"{name} has no tokenizer: tokenizer.json is missing.")
    if not has & {"preprocessor_config.json", "processor_config.json"}:
        raise ModelError(f"{name} has no image processor: preprocessor_config.json is missing.")
    return family


def check_config(path: Path, name: str) -> Family:
    """Return the family that a config.json names; ModelError for one that is not known or cannot be read."""
    if not path.is_file():
        raise ModelError(f"{name} is no model folder: it has no config.json.")
    settings = _json(path, name)
    found = settings.get("model_type")
    if isinstance(found, str) and found in REFUSED:
        raise ModelError(f"{name} cannot be used: {REFUSED[found]}.")
    if not isinstance(found, str) or found not in FAMILIES:
        said = "says nothing of a model_type" if found is None else f'says model_type "{one_line(found, 60)}"'
        raise ModelError(f"{name} is no {known_families()} model: its config.json {said}.")
    if reason := masked_attention(settings):
        raise ModelError(f"{name} cannot be used: {reason}.")
    return FAMILIES[found]


def weight_files(folder: Path, name: str) -> list[Path]:
    """Return the safetensors files that hold the weights, each of them present."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        raise no_weights(name, [file.name for file in folder.iterdir()])
    shards = _json(index, name).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ModelError(f"{name}: {index.name} lists no weights.")
    files = [folder / Path(str(shard)).name for shard in sorted(set(map(str, shards.values())))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelError(
            f"{name} is not complete: {missing[0]} is missing ({len(missing)} of {len(files)} files)."
        )
    return files


def no_weights(name: str, files: Iterable[str]) -> ModelError:
    """Return the error for a checkpoint with these files, none of which are weights that are read."""
    pickled = sorted(file for file in files if file.endswith((".bin", ".pt", ".pth", ".ckpt")))
    if pickled:
        return ModelError(
            f"{name} has only pickled weights ({pickled[0]}), which can run any code when loaded; "
            "a checkpoint in safetensors is needed."
        )
    return ModelError(f"{name} has no weights: model.safetensors is missing.")


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise ModelError(f"{name}: {path.name} cannot be read as JSON.") from None
    if not isinstance(content, dict):
        raise ModelError(f"{name}: {path.name} holds no settings.")
    return content


def float_count(files: Iterable[Path], name: str) -> int:
    """Return how many numbers the weights are, from the files' headers; raise for a file cut short."""
    return sum(_numbers_in(file, name) for file in files)


def _numbers_in(file: Path, name: str) -> int:
    """Return how many numbers a safetensors file holds. Its header is 8 bytes of length, then JSON."""
    try:
        with file.open("rb") as stream:
            start = stream.read(8)
            if start == b"version ":
                raise ModelError(
                    f"{name}: {file.name} is a Git LFS pointer; fetch the file itself with: git lfs pull"
                )
            (length,) = struct.unpack("<Q", start)
            if length > file.stat().st_size:
                raise ValueError("the header is longer than the file")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        end = max(tensor["data_offsets"][1] for tensor in header.values())
        if file.stat().st_size < 8 + length + end:
            raise ValueError("the file ends before its last tensor")
        return sum(math.prod(tensor["shape"]) for tensor in header.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        raise ModelError(f"{name}: {file.name} is damaged or not complete.") from None
