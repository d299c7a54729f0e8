"""What a checkpoint's files say, before anything big is read.

Goes in: a folder in the published layout. Comes out: its family and weight files, or one line that says
what is wrong. Knows nothing of the hub, and reads no weights.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import ModelError
from model.families import FAMILIES, REFUSED, Family, known_families, masked_attention
from utils import one_line

AGAIN = "copy it again from where the checkpoint came from"
MOST_SETTINGS = 64_000_000  # bytes of a JSON file; an index of a hundred thousand weights has ten million
MOST_TEMPLATE = 1_000_000  # bytes of a chat template
MOST_VOCABULARY = 256_000_000  # bytes of a tokenizer's file; the largest published ones have forty million
MOST_HEADER = 100_000_000  # bytes before a file's tensors, as safetensors itself has it
DEEPEST = 64  # lists and objects inside each other in a JSON file
# What a config.json may say at most; the parts of a model are made before its weights are looked at.
MOST = {
    **dict.fromkeys(("num_hidden_layers", "depth", "mtp_num_hidden_layers"), 1_000),
    **dict.fromkeys(("num_experts", "num_attention_heads", "num_key_value_heads", "num_heads"), 100_000),
    **dict.fromkeys(("hidden_size", "out_hidden_size", "head_dim"), 1_000_000),
    **dict.fromkeys(("intermediate_size", "moe_intermediate_size", "num_position_embeddings"), 100_000_000),
    **dict.fromkeys(("vocab_size",), 100_000_000),
    **dict.fromkeys(("patch_size", "temporal_patch_size", "spatial_merge_size", "in_channels"), 1_000),
}
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8}


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
    has = {file.name for file in folder.iterdir() if file.is_file()}
    return "tokenizer.json" in has or {"vocab.json", "merges.txt"} <= has


def check_config(path: Path, name: str) -> Family:
    """Return the family that a config.json names; ModelError for one that is not known or cannot be read."""
    if not path.is_file():
        raise ModelError(
            f"{name} is no model folder: it has no config.json; "
            "choose the folder that holds it, the weights and the tokenizer."
        )
    settings = read_config(path, name)
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
    named = sorted(set(map(str, shards.values())))
    if odd := [one for one in named if one != Path(one).name or not one.endswith(".safetensors")]:
        raise ModelError(
            f"{name}: {index.name} names {one_line(odd[0], 80)}, which is no safetensors file beside it; "
            f"{AGAIN}."
        )
    files = [folder / one for one in named]
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
    """Return the settings in a file; a byte order mark before them is no fault.

    Raises:
        ModelError: one line, for a file that is no JSON, or too large or too deep to be settings.
    """
    check_size(path, name, MOST_SETTINGS)
    try:
        content = json.loads(path.read_text("utf-8-sig"))
        is_deep = _is_deep(content)
    except RecursionError:
        is_deep = True
    except (OSError, ValueError):
        raise ModelError(f"{name}: {path.name} cannot be read as JSON; {AGAIN}.") from None
    if is_deep:
        raise ModelError(f"{name}: {path.name} is nested more than {DEEPEST} deep; {AGAIN}.")
    if not isinstance(content, dict):
        raise ModelError(f"{name}: {path.name} holds no settings; {AGAIN}.")
    return content


def read_config(path: Path, name: str) -> dict[str, Any]:
    """Return what a config.json says; ModelError for one that no model could be made of."""
    settings = read_json(path, name)
    for part in _objects(settings):
        for setting, most in MOST.items():
            value = part.get(setting)
            if isinstance(value, (int, float)) and not value <= most:  # NaN is not either
                raise ModelError(
                    f"{name} cannot be used: its config.json says {setting} {one_line(value, 30)}, and at "
                    f"most {most:,} are taken; {AGAIN}."
                )
    return settings


def check_size(path: Path, name: str, most: int) -> None:
    """Raise ModelError for a file of more than so many bytes, and for what is no file: a pipe never ends."""
    size = path.stat().st_size if path.is_file() else None
    if size is None:
        raise ModelError(f"{name}: {path.name} is no file that can be read; {AGAIN}.")
    if size > most:
        raise ModelError(f"{name}: {path.name} has {size:,} bytes, and at most {most:,} are read; {AGAIN}.")


def _is_deep(content: Any) -> bool:
    """Return whether lists and objects lie inside each other more than DEEPEST deep, without recursion."""
    level = [content]
    for _ in range(DEEPEST):
        level = [part for one in level for part in _parts(one)]
        if not level:
            return False
    return True


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _objects(content: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield an object and all those inside it."""
    yield content
    for part in _parts(content):
        if isinstance(part, dict):
            yield from _objects(part)


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
            room = file.stat().st_size - 8 - length
            if room < 0 or length > MOST_HEADER:
                raise ValueError("the header is longer than the file, or than any")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        if not header:
            raise ValueError("there are no tensors")
        return {key: _stored(tensor, room) for key, tensor in header.items()}
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        struct.error,
    ):
        raise ModelError(f"{name}: {file.name} is damaged or not complete; {AGAIN}.") from None


def _stored(tensor: Mapping[str, Any], room: int) -> Stored:
    """Return a tensor of a file that has so many bytes of them; ValueError for one that cannot be in it."""
    begin, end = map(int, tensor["data_offsets"])
    shape = tuple(map(int, tensor["shape"]))
    bits = BITS.get(tensor["dtype"])
    if not 0 <= begin <= end <= room or min(shape, default=0) < 0:
        raise ValueError("a tensor is not in the file")
    if bits is not None and math.prod(shape) * bits != 8 * (end - begin):
        raise ValueError("a tensor has not the bytes of its shape")
    return Stored(shape, end - begin)
