"""What several tests here share."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from attention_extractor import AttentionExtractor
from page.model_room import ModelRoom
from page.queue import Queue
from page.site import Page
from records.capture import Capture
from tests.attention_extractor.kit import scripted
from tests.page.kit import ALL, NEW
from tests.page.telling import Outputs, changes, request, viewed
from tests.serving import PROMPT

LOOK: dict[str, Any] = {
    "colormap": "magma",
    "opacity": 0.8,
    "contrast": 0.5,
    "view": "side by side",
    "cells": "smooth",
    "scale": "shared",
}


def empty_answer(room: ModelRoom, picture: Image.Image) -> Capture:
    """An answer that ends before its first word."""
    assert room.loaded is not None
    model, processor = room.loaded.model, room.loaded.processor
    with scripted(model, [processor.tokenizer.convert_tokens_to_ids("<|im_end|>")]):
        return AttentionExtractor(model, processor).generate(picture, PROMPT, NEW, 0)


class Waiting(threading.Thread):
    """Somebody in a line, who stays at the front until told to go."""

    def __init__(self, line: Queue, order: list[str], name: str, person: str = "") -> None:
        super().__init__(daemon=True, name=name)
        self.line, self.order, self.person = line, order, person
        self.stop, self.turned, self.gone = threading.Event(), threading.Event(), threading.Event()
        self.told: list[int] = []
        self.heard = threading.Condition()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with self.line.turn(self.on_place, self.stop, self.person):
                self.order.append(self.name)
                self.turned.set()
                self.gone.wait(30)
        except BaseException as error:
            self.error = error

    def on_place(self, ahead: int) -> None:
        with self.heard:
            self.told.append(ahead)
            self.heard.notify_all()

    def hears(self, ahead: int) -> bool:
        with self.heard:
            return self.heard.wait_for(lambda: ahead in self.told, 30)


@contextmanager
def waiting_line(line: Queue, names: str) -> Iterator[tuple[list[Waiting], list[str]]]:
    """Put people in line one after the other; the first of them has its turn."""
    order: list[str] = []
    people = [Waiting(line, order, name) for name in names]
    for place, one in enumerate(people):
        one.start()
        assert one.hears(place) if place else one.turned.wait(30)
    try:
        yield people, order
    finally:
        for one in people:
            one.stop.set()
            one.gone.set()
        for one in people:
            one.join(30)
    assert len(line) == 0


def form(
    image: Any,
    tokens: int = NEW,
    temperature: float = 0,
    reuse: bool = True,
    generation: str = "checkpoint",
    given: str = "",
    follows: str | None = None,
    system: str = "",
    prompt: str = PROMPT,
) -> list[Any]:
    """What the page's components hold: the question, the settings, and whether to answer from the store."""
    return [image, prompt, given, follows, system, tokens, 0, generation, False, temperature, 1, 0, 1, reuse]


def asked(page: Page, question: list[Any], mine: Any = None, visitor: str = "me") -> list[Outputs]:
    """Press Ask, and return all that was shown."""
    told = page.on_generate(request(visitor), *question, mine)
    begun = viewed(page, next(told))
    assert begun == {"progress": {"phase": "waiting"}, "work": None, "notice": None}
    return list(told)


@contextmanager
def no_model(page: Page, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail whoever has the model answer."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the model was called")

    with monkeypatch.context() as patch:
        patch.setattr(page.room, "work", refuse)
        yield


def reopened(page: Page, mine: Any, opened: Any) -> Outputs:
    return page.on_reopen(request(), opened, mine)


def shared(page: Page, run_id: Any, kind: Any = "png", key: Any = "1", **changed: Any) -> list[Outputs]:
    """Press "Make the file", and return all that was shown."""
    given: dict[str, Any] = {"by": "word", "look": LOOK, "wanted": ALL, "visitor": "me"} | changed
    callback = page.share.on_make(
        request(given["visitor"]),
        run_id,
        kind,
        given["by"],
        key,
        given["look"],
        given["wanted"],
    )
    return list(callback)


def file_of(page: Page, shown: list[Outputs]) -> Path:
    made = changes(shown[-1][page.share.file])
    assert made["visible"] is True
    return Path(made["value"])
