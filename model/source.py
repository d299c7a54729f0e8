"""Which folders a model's name means: base weights, a LoRA adapter, or both.

Goes in: a name such as "demo", a folder, a hub id, or two of these as "base + adapter". Comes out: folders.
Reads only what an adapter says of its base.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model.checkpoint import read_json
from model.errors import ModelError
from utils import one_line

PLUS = " + "  # between a base and its adapter
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Source:
    """The folders that a name means."""

    base: Path
    adapter: Path | None  # the base's own folder where an adapter lies beside base weights
    base_name: str  # as it was typed, or as the adapter names it
    adapter_name: str = ""

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the small files are looked for: what was saved with the adapter comes before the base's."""
        apart = self.adapter is not None and self.adapter != self.base
        return (self.adapter, self.base) if apart and self.adapter else (self.base,)


def joined(base: str, adapter: str) -> str:
    """Return the one name of a base and its adapter; without a base, the adapter's own."""
    return f"{base}{PLUS}{adapter}" if base else adapter


def parted(name: str) -> tuple[str, str]:
    """Return a name's base and adapter, "" where no adapter is named."""
    if PLUS not in name or Path(name).expanduser().exists():
        return name, ""
    base, _, adapter = name.rpartition(PLUS)
    return base.strip(), adapter.strip()


def is_adapter(folder: Path) -> bool:
    """Return whether a LoRA lies in a folder."""
    return (folder / ADAPTER_CONFIG).is_file()


def has_base(folder: Path) -> bool:
    """Return whether base weights lie in a folder; an adapter's own do not count."""
    return any((folder / f"model.safetensors{kind}").is_file() for kind in ("", ".index.json"))


def source_of(name: str, find: Callable[[str], Path]) -> Source:
    """Return the folders that a name means. `find` returns the folder of one name, or raises ModelError.

    Raises:
        ModelError: one line, for what is no adapter, an adapter whose base is not here, or two adapters.
    """
    first, second = parted(name)
    folder = find(first)
    if second:
        return _with_adapter(first, folder, second, find(second))
    if not is_adapter(folder):
        return Source(folder, None, first)
    if has_base(folder):
        return Source(folder, folder, first, first)
    base = read_json(folder / ADAPTER_CONFIG, name).get("base_model_name_or_path")
    ask = f"name its base too: BASE{PLUS}{name}, in the shell --model BASE --adapter {name}"
    if not isinstance(base, str) or not base.strip():
        raise ModelError(f"{name} is an adapter that does not say of which model; {ask}")
    try:
        below = find(base)
    except ModelError as error:
        reason = one_line(str(error).partition(";")[0].rstrip("."), 160)
        raise ModelError(
            f"{name} is an adapter of {one_line(base, 120)}, which cannot be had ({reason}); {ask}"
        ) from None
    return Source(_plain(base, below, name), folder, base, name)


def _with_adapter(base: str, folder: Path, adapter: str, lora: Path) -> Source:
    if not is_adapter(lora):
        raise ModelError(
            f"{adapter} is no adapter: it has no {ADAPTER_CONFIG}; name a folder that PEFT saved."
        )
    return Source(_plain(base, folder, adapter), lora, base, adapter)


def _plain(base: str, folder: Path, adapter: str) -> Path:
    """Return a base's folder, or raise for one that has an adapter of its own: only one is applied."""
    if is_adapter(folder):
        raise ModelError(
            f"{base} has an adapter itself, and only one can be applied; name the base without it, "
            f"or merge it first: BASE{PLUS}{adapter}"
        )
    return folder
