"""Forward hooks, as contexts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn


@contextmanager
def hooked(modules: Sequence[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    """Call hook(index, module, args, output) on each forward; unhook on exit, also after half a start."""
    with ExitStack() as handles:
        for index, module in enumerate(modules):
            handles.callback(module.register_forward_hook(partial(hook, index)).remove)
        yield


@contextmanager
def entered(modules: Sequence[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    """Call hook(index, module, args) before each forward; unhook on exit, also after half a start."""
    with ExitStack() as handles:
        for index, module in enumerate(modules):
            handles.callback(module.register_forward_pre_hook(partial(hook, index)).remove)
        yield
