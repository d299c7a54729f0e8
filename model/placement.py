"""Where and how a model runs, and whether it fits there.

Goes in: a device, dtype and attention backend by name. Comes out: a `Placement` that this computer can
offer, and free bytes. Knows nothing of checkpoints.
"""

from __future__ import annotations

import importlib
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from transformers.utils import is_flash_attn_2_available

from model.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BACKENDS = ("sdpa", "flash_attention_2", "eager")


@dataclass(frozen=True)
class Placement:
    """Where and how a model runs."""

    device: str  # "cpu", "mps", "cuda" (all of them) or "cuda:1"
    dtype: torch.dtype
    attention_backend: str

    @classmethod
    def choose(cls, device: str, dtype: str, attention_backend: str) -> Placement:
        """Return a placement this computer can offer, with every "auto" decided; else raise ModelError."""
        device = _device(device)
        number_type = _dtype(dtype, device)
        return cls(device, number_type, _backend(attention_backend, device, number_type))


def _device(wanted: str) -> str:
    cuda = torch.cuda.is_available()
    if wanted == "auto":
        return "cuda" if cuda else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", wanted):
        raise ModelError(f'There is no device "{wanted}"; choose auto, cpu, cuda, cuda:0, cuda:1, … or mps.')
    if wanted.startswith("cuda") and not cuda:
        raise ModelError(
            f'The device "{wanted}" was asked for, but torch finds no CUDA device on this computer.'
        )
    if wanted.startswith("cuda:") and int(wanted[5:]) >= torch.cuda.device_count():
        raise ModelError(
            f'The device "{wanted}" was asked for, but there are {torch.cuda.device_count()} CUDA devices.'
        )
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise ModelError('The device "mps" was asked for, but torch finds no such device on this computer.')
    return wanted


def _dtype(wanted: str, device: str) -> torch.dtype:
    if wanted == "auto":
        return torch.bfloat16 if device.startswith("cuda") else torch.float32
    if wanted not in DTYPES:
        raise ModelError(f'There is no dtype "{wanted}"; choose auto, {", ".join(DTYPES)}.')
    return DTYPES[wanted]


def _backend(wanted: str, device: str, dtype: torch.dtype) -> str:
    flash = _flash_attention_imports()
    fits = device.startswith("cuda") and dtype in (torch.bfloat16, torch.float16)
    if wanted == "auto":
        return "flash_attention_2" if flash and fits else "sdpa"
    if wanted not in BACKENDS:
        raise ModelError(f'There is no attention backend "{wanted}"; choose auto, {", ".join(BACKENDS)}.')
    if wanted == "flash_attention_2" and not flash:
        raise ModelError(
            "flash_attention_2 was asked for, but flash-attn is not installed or does not import."
        )
    if wanted == "flash_attention_2" and not fits:
        raise ModelError("flash_attention_2 works on CUDA in bfloat16 or float16 only.")
    return wanted


def _flash_attention_imports() -> bool:
    if not is_flash_attn_2_available():
        return False
    try:
        importlib.import_module("flash_attn")
    except Exception:  # a build for another torch raises OSError or RuntimeError
        return False
    return True


def device_map(device: str) -> str | dict[str, str] | None:
    """Return accelerate's placement: over all devices for "cuda", on the one named, or none on the CPU."""
    if device == "cpu":
        return None
    return "auto" if device == "cuda" else {"": device}


def check_memory(name: str, needed: int, settings: Placement, quantised: bool = False) -> None:
    """Raise ModelError if weights of so many bytes, and a tenth more to work in, do not fit."""
    needed = int(needed * 1.1)
    free = free_memory(settings.device)
    if needed <= free:
        return
    kind = "its quantised form" if quantised else str(settings.dtype).removeprefix("torch.")
    half = ""
    if settings.dtype.itemsize == 4 and not quantised:
        half = f', or set DTYPE to "bfloat16" ({_gigabytes(needed // 2)})'
    raise ModelError(
        f"There is not enough memory for {name}: it needs about {_gigabytes(needed)} in {kind}, and "
        f"{_gigabytes(free)} are free on {settings.device}; "
        f"close other programs{half}, or choose a smaller model."
    )


def free_memory(device: str) -> int:
    """Return free bytes: of one CUDA device, or for "cuda" of all and the main memory."""
    if device.startswith("cuda:"):
        return int(torch.cuda.mem_get_info(device)[0])
    main = min([psutil.virtual_memory().available, *_container_memory()])
    if device == "cuda":
        main += sum(int(torch.cuda.mem_get_info(index)[0]) for index in range(torch.cuda.device_count()))
    return main


def _container_memory() -> list[int]:
    """Return the bytes that a container's limit leaves, if any: the system's own figure ignores it."""
    with suppress(OSError, ValueError):
        limit, used = (
            int(Path("/sys/fs/cgroup", file).read_text()) for file in ("memory.max", "memory.current")
        )
        return [max(0, limit - used)]
    return []


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
