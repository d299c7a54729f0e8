"""A checkpoint's small files as transformers takes them: read by us, mended where they are odd.

Goes in: folders. Comes out: a folder for a while, with the configuration, the tokenizer and the image
processor in it, and a line for each thing that was mended. The checkpoint's own folder stays as it is.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from model.checkpoint import (
    AGAIN,
    MOST_SETTINGS,
    MOST_VOCABULARY,
    check_size,
    has_tokenizer,
    read_config,
    read_json,
)
from model.errors import ModelError
from model.image_settings import image_settings
from model.standard import Standard
from model.video_settings import video_settings

PREFIX = "small-files-"  # of the folder for a while
PICTURES, CLIPS = "preprocessor_config.json", "video_preprocessor_config.json"
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt")  # taken byte by byte
TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
# Name code that comes with a checkpoint or is fetched from the hub, which is never run, and other files.
LEFT_OUT = {"auto_map", "custom_generate", "transformers_weights", "kernel_config"}
LEFT_OUT |= {f"{start}{kind}_implementation" for start in ("", "_") for kind in ("attn", "experts")}


@dataclass
class Mended:
    """Small files that can be loaded."""

    folder: Path
    config: Any  # of transformers
    settings: dict[str, Any]  # the same as config.json says it
    videos: dict[str, Any]  # what is done to clips
    notes: list[str] = field(default_factory=list)


@contextmanager
def mended_files(
    folders: Sequence[Path], name: str, standard: Standard, processor: str, stored: Mapping[str, Any]
) -> Iterator[Mended]:
    """Yield a folder of small files that can be loaded; it is gone afterwards.

    Each kind of file is taken from the first of the folders that has it; the last one is the base's. The
    processor's class goes by the name `processor`. `stored` are the tensors in the weights' files.

    Raises:
        ModelError: one line, for a file that cannot be read or mended.
    """
    with tempfile.TemporaryDirectory(prefix=PREFIX) as made:
        folder, base = Path(made), folders[-1]
        settings = read_config(base / "config.json", name)
        notes = _mend_config(settings, stored, name)
        _write(folder / "config.json", settings)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        found = _found_settings(folders, name, "image_processor", PICTURES)
        images, more = image_settings(found, config.vision_config, standard)
        _write(folder / PICTURES, {**images, "processor_class": processor})
        found = _found_settings(folders, name, "video_processor", CLIPS)
        videos, others = video_settings(found, config.vision_config, standard)
        _write(folder / CLIPS, {**videos, "processor_class": processor})
        _take_tokenizer(folders, folder, name)
        notes += more + others + _generation_notes(base, name)
        yield Mended(folder, config, settings, videos, notes)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(_plain(content)), "utf-8")


def _plain(value: Any) -> Any:
    """Return settings without what is left out; they are nested a little only."""
    if isinstance(value, Mapping):
        kept = {key: entry for key, entry in value.items() if key not in LEFT_OUT}
        return {key: _plain(entry) for key, entry in kept.items() if not str(key).endswith("_file")}
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def _mend_config(settings: dict[str, Any], stored: Mapping[str, Any], name: str) -> list[str]:
    """Say whether the last layer is the embedding, where config.json does not; return notes."""
    text = settings.get("text_config")
    tied = settings.get("tie_word_embeddings")
    if tied is None and isinstance(text, dict):
        tied = text.get("tie_word_embeddings")
    has_head = any(key.endswith("lm_head.weight") for key in stored)
    if tied is None and not has_head:
        settings["tie_word_embeddings"] = True
        return [
            "its files hold no lm_head.weight, and config.json says nothing of tie_word_embeddings: "
            "the embedding is used for it"
        ]
    if tied is not None:
        settings["tie_word_embeddings"] = bool(tied)
    if tied is False and not has_head:
        raise ModelError(
            f"{name} is not complete: its files lack lm_head.weight; fetch them again, or, if the embedding "
            "was trained in its place, set tie_word_embeddings to true in its config.json."
        )
    return []


def _found_settings(folders: Sequence[Path], name: str, part: str, file: str) -> dict[str, Any] | None:
    """Return what the first of the folders that says anything says of pictures or clips; None if none does.

    It stands in a `part` of processor_config.json, or in a file of its own.
    """
    for folder in folders:
        if (folder / "processor_config.json").is_file():
            nested = read_json(folder / "processor_config.json", name).get(part)
            if isinstance(nested, dict):
                return nested
        if (folder / file).is_file():
            return read_json(folder / file, name)
    return None


def _take_tokenizer(folders: Sequence[Path], target: Path, name: str) -> None:
    """Copy the tokenizer of the first folder that has one; its chat templates are chosen elsewhere."""
    source = next(folder for folder in folders if has_tokenizer(folder))
    for file in TOKENIZER_FILES:
        if (source / file).is_file():
            check_size(source / file, name, MOST_VOCABULARY)
            shutil.copyfile(source / file, target / file)
    for file in TOKENIZER_SETTINGS:
        if (source / file).is_file():
            settings = read_json(source / file, name)
            settings.pop("chat_template", None)
            settings.pop("processor_class", None)
            _write(target / file, settings)


def _generation_notes(base: Path, name: str) -> list[str]:
    """Return a note for a generation_config.json that transformers would leave out without a word."""
    file = base / "generation_config.json"
    if not file.is_file():
        return []
    check_size(file, name, MOST_SETTINGS)
    try:
        json.loads(file.read_text("utf-8"))
    except RecursionError:
        raise ModelError(f"{name}: {file.name} is nested too deep; {AGAIN}.") from None
    except ValueError:
        return ["its generation_config.json cannot be read as JSON and is left out: answers are greedy"]
    return []
