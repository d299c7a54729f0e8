"""How much memory a computation took at most."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")
HOW = {
    "cuda": "the highest memory that PyTorch took on the devices, above that before",
    "cpu": "the highest resident size of the process above that before; memory that the allocator kept from "
    "earlier work is not seen, so that small figures say little",
}


def measured(model: Any, compute: Callable[[], Result]) -> tuple[Result, int | None]:
    """Return what is computed and how many bytes it took at most; None where that cannot be told.

    On CUDA as PyTorch counts them, on Linux as the system does; see `HOW`.
    """
    devices = {weight.device for weight in model.parameters() if weight.device.type == "cuda"}
    if devices:
        for device in devices:
            torch.cuda.reset_peak_memory_stats(device)
        taken = sum(map(torch.cuda.memory_allocated, devices))
        result = compute()
        return result, sum(map(torch.cuda.max_memory_allocated, devices)) - taken
    return resident(compute)


def resident(compute: Callable[[], Result]) -> tuple[Result, int | None]:
    """Return what is computed and the highest resident size meanwhile above that before; None off Linux."""
    before = _forgotten()
    result = compute()
    peak = _status("VmHWM")
    return result, None if before is None or peak is None else max(0, peak - before)


def how(model: Any) -> str:
    """Return in words how memory was measured."""
    on_cuda = any(weight.device.type == "cuda" for weight in model.parameters())
    return HOW["cuda" if on_cuda else "cpu"]


def _forgotten() -> int | None:
    """Return the bytes that the process holds now, after forgetting its peak; None if it cannot be told."""
    clear = Path("/proc/self/clear_refs")
    if sys.platform != "linux":
        return None
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what is free already is not counted as held
        clear.write_text("5")
    except (OSError, AttributeError):  # not allowed here; a libc without it
        return None
    return _status("VmRSS")


def _status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)
