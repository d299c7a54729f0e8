"""What several tests here share."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

import page.reading_again as reading_room
from methods import METHODS, TokenMaps, token_maps
from model import FAMILIES
from page.jobs import Job
from page.model_room import ModelRoom
from page.reading_again import read_again
from page.selection import ATTENTION
from page.sessions import Run
from page.shown import subject_of
from page.site import Page
from records.capture import Capture
from tests.choosing import selection_of, wanted
from tests.page.kit import loaded_of
from tests.page.telling import Outputs, request
from utils import Stopped

READ = [
    name
    for name, method in METHODS.items()
    if method.needs_model and not method.refusal(FAMILIES["qwen2_5_vl"])
]
LOCAL = {f"heads-{count}": count for count in (3, 5, 8)}
CAVEAT = METHODS[ATTENTION].caveat


def answering(page: Page, run: Run, way: str, *first: int, only: bool = False) -> TokenMaps:
    """Have the page read an answer again, and return the maps."""
    return read_again(page.around, run, way, Job("me", "method"), first, unasked=0 if only else None)


def maps_of(run: Run, controls: dict[str, Any]) -> TokenMaps:
    """Return the maps of the answer that the page would show."""
    found = subject_of(run, selection_of(run, controls)).maps.answer
    assert found is not None
    return found


def computed(room: ModelRoom, run: Run, way: str) -> Any:
    """Return a method's maps, without the page."""
    return token_maps(way, run.capture, image=run.original, **loaded_of(room))


def planted(capture: Capture, patches: Sequence[int]) -> Capture:
    """Return the capture with patches that every word looks at with every head; shares stay as they are."""
    rows: dict[str, Any] = {}
    for name in ("attention", "prompt_attention"):
        given: torch.Tensor = getattr(capture, name).float()
        totals = given.sum(-1, keepdim=True)
        changed = given + 1e-4
        for rank, patch in enumerate(patches):
            changed[..., patch] = (given.amax(-1) + 1e-4) * (20 - rank)
        rows[name] = (changed / changed.sum(-1, keepdim=True) * totals).to(getattr(capture, name).dtype)
    return replace(capture, **rows)


class Held:
    """A method that waits in the middle of its work, where it hears a stop; its first `free` calls do not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go, self.calls, self.free = threading.Event(), threading.Event(), 0, 0
        self.original = reading_room.token_maps
        monkeypatch.setattr(reading_room, "token_maps", self.token_maps)

    def token_maps(self, method: str, capture: Capture, **given: Any) -> Any:
        self.calls += 1
        if self.calls <= self.free:
            return self.original(method, capture, **given)
        tell, stop = given["on_progress"], given["stop"]
        tell(3, 11)
        self.reached.set()
        while not self.go.wait(0.01):
            if stop.is_set():
                raise Stopped
        return self.original(method, capture, **given)


def begun(steps: Iterator[Outputs], held: Held) -> list[Outputs]:
    """Let a reading go on until it is in the middle of its work; return what was shown so far."""
    shown_first = [next(steps), next(steps)]  # the second starts it
    assert held.reached.wait(30)
    return shown_first


def choose(page: Page, run_id: Any, way: Any, visitor: str = "me", key: Any = None) -> Iterator[Outputs]:
    """Choose a method, with a word picked."""
    return page.explorer.on_maps(request(visitor), run_id, None, key, wanted(method=way))
