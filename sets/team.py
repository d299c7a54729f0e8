"""The processes that work on a set together: one, or as many as `accelerate launch` or `torchrun` started."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object, parse_flag_from_env

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # for who has more to do: processes end together


class Team:
    """This process among the others. What is called here is called by all of them, in the same order."""

    def __init__(self) -> None:
        # Without cpu=True processes on processors alone would each take themselves for the only one.
        cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
        self.state = PartialState(cpu=cpu, timeout=PATIENCE)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that looks at what is done, and writes what comes of all."""
        return bool(self.state.is_main_process)

    @property
    def placement(self) -> dict[str, str]:
        """Keywords of `load_model` that give each process its own device; none for one alone."""
        if self.state.num_processes == 1:
            return {}
        device = self.state.device
        return {"device": "cpu" if device.type == "cpu" else str(device)}

    def same(self, value: T) -> T:
        """Return the first process's value: where files are, and when they changed, differs by machine."""
        if self.state.num_processes == 1:
            return value
        found = [value]
        broadcast_object_list(found)
        return found[0]

    def share(self, values: Sequence[T]) -> Sequence[T]:
        """Return this process's part of values that all have in the same order."""
        return values[self.state.process_index :: self.state.num_processes]

    def all_of(self, value: T) -> list[T]:
        """Return every process's value, in all of them; they wait for each other."""
        return [value] if self.state.num_processes == 1 else list(gather_object([value]))

    def wait(self) -> None:
        """Wait until all are here: one that ends with a failure has the others ended."""
        self.state.wait_for_everyone()
