"""What a checkpoint's files say, before anything big is read.

Goes in: a folder in the published layout. Comes out: its family and weight files, or one line that says
what is wrong. Knows nothing of the hub, and reads no weights.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import ModelError
from model.families import FAMILIES, REFUSED, Family, known_families, masked_attention
from utils import one_line

AGAIN = "copy it again from where the checkpoint came from"


@dataclass(frozen=True)
class Stored:
    """A tensor in a file."""

    shape: tuple[int, ...]
    size: int  # bytes


def check_folder(folder: Path, name: str, *others: Path) -> Family:
    """Return the family of a folder's checkpoint; ModelError unless it is whole and its family known.

    The tokenizer may also lie in one of the others.
    """
    family = check_config(folder / "config.json", name)
    weight_files(folder, name)
    if not any(map(has_tokenizer, (folder, *others))):
        raise ModelError(
            f"{name} has no tokenizer: tokenizer.json is missing; copy it, with tokenizer_config.json, "
            "from the checkpoint that this one was made from."
        )
    return family


def has_tokenizer(folder: Path) -> bool:
    """Return whether a tokenizer's vocabulary lies in a folder."""
    has = {file.name for file in folder.iterdir()}
    return "tokenizer.json" in has or {"vocab.json", "merges.txt"} <= has


def check_config(path: Path, name: str) -> Family:
    """Return the family that a config.json names; ModelError for one that is not known or cannot be read."""
    if not path.is_file():
        raise ModelError(
            f"{name} is no model folder: it has no config.json; "
            "choose the folder that holds it, the weights and the tokenizer."
        )
    settings = read_json(path, name)
    found = settings.get("model_type")
    if isinstance(found, str) and found in REFUSED:
        raise ModelError(f"{name} cannot be used: {REFUSED[found]}.")
    if not isinstance(found, str) or found not in FAMILIES:
        said = "says nothing of a model_type" if found is None else f'says model_type "{one_line(found, 60)}"'
        raise ModelError(
            f"{name} is no {known_families()} model: its config.json {said}; "
            "choose a checkpoint of that kind."
        )
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
    shards = read_json(index, name).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ModelError(f"{name}: {index.name} lists no weights; {AGAIN}.")
    files = [folder / Path(str(shard)).name for shard in sorted(set(map(str, shards.values())))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelError(
            f"{name} is not complete: {missing[0]} is missing ({len(missing)} of {len(files)} files); "
            "fetch what is missing."
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
    return ModelError(f"{name} has no weights: model.safetensors is missing; {AGAIN}.")


def read_json(path: Path, name: str) -> dict[str, Any]:
    """Return the settings in a file; a byte order mark before them is no fault."""
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError):
        raise ModelError(f"{name}: {path.name} cannot be read as JSON; {AGAIN}.") from None
    if not isinstance(content, dict):
        raise ModelError(f"{name}: {path.name} holds no settings; {AGAIN}.")
    return content


def stored_tensors(files: Iterable[Path], name: str) -> dict[str, Stored]:
    """Return every tensor in the files, by name, from the files' headers; raise for a file cut short."""
    found: dict[str, Stored] = {}
    for file in files:
        found |= _tensors_in(file, name)
    return found


def _tensors_in(file: Path, name: str) -> dict[str, Stored]:
    """Return the tensors of a safetensors file. Its header is 8 bytes of length, then JSON."""
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
        ends = {key: tuple(map(int, tensor["data_offsets"])) for key, tensor in header.items()}
        if file.stat().st_size < 8 + length + max(end for _, end in ends.values()):
            raise ValueError("the file ends before its last tensor")
        return {
            key: Stored(tuple(map(int, header[key]["shape"])), end - begin)
            for key, (begin, end) in ends.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        raise ModelError(f"{name}: {file.name} is damaged or not complete; {AGAIN}.") from None
