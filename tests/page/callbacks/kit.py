"""What several tests here share."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from page.model_room import ModelRoom
from page.queue import Queue
from page.site import Page
from records.capture import Capture
from records.map_check import MapCheck
from tests.attention_extractor.kit import scripted
from tests.choosing import wanted
from tests.page.telling import Outputs, changes, request, viewed
from tests.serving import PROMPT

NEW = 6  # tokens of the answers
ALL = wanted()
LOOK: dict[str, Any] = {
    "colormap": "magma",
    "opacity": 0.8,
    "contrast": 0.5,
    "view": "side by side",
    "cells": "smooth",
    "scale": "shared",
}


def answer_to(room: ModelRoom, picture: Image.Image) -> Capture:
    assert room.loaded is not None
    extractor = AttentionExtractor(room.loaded.model, room.loaded.processor)
    return extractor.generate(picture, PROMPT, max_new_tokens=NEW)


def empty_answer(room: ModelRoom, picture: Image.Image) -> Capture:
    """An answer that ends before its first word."""
    assert room.loaded is not None
    model, processor = room.loaded.model, room.loaded.processor
    with scripted(model, [processor.tokenizer.convert_tokens_to_ids("<|im_end|>")]):
        return AttentionExtractor(model, processor).generate(picture, PROMPT, NEW, 0)


def unpacked(packed: dict[str, Any], grid: tuple[int, ...]) -> np.ndarray:
    """Read packed maps (map, h, w) as viewer/payload.py says that they are written."""
    numbers = np.frombuffer(base64.b64decode(packed["data"]), f"<u{packed['bits'] // 8}")
    low, high = (np.array(packed[end])[:, None] for end in ("low", "high"))
    values = low + numbers.reshape(len(low), -1) / (2 ** packed["bits"] - 1) * (high - low)
    return values.reshape(-1, *grid)


def expect_packed(packed: dict[str, Any], truth: np.ndarray) -> None:
    """Compare packed maps with the truth (map, h, w), as exactly as 16 bits can say it."""
    found = unpacked(packed, truth.shape[1:])
    step = np.ptp(truth.reshape(len(truth), -1), axis=1)[:, None, None] / 65535
    assert found.shape == truth.shape
    assert (np.abs(found - truth) <= step / 2 * 1.01 + 1e-9).all()


def maps_of(capture: Capture, *chosen: Any, of_prompt: bool = False) -> np.ndarray:
    """The maps (token, h, w) of every token, as the processor has them."""
    processor = AttentionProcessor(capture)
    if of_prompt:
        fold, count = processor.get_attention_heatmap_for_prompt_token, len(capture.prompt_token_ids)
    else:
        fold, count = processor.get_attention_heatmap_for_token, len(capture.token_ids)
    return np.stack([fold(token, *chosen) for token in range(count)])


def expect_maps(shown: dict[str, Any], capture: Capture, *chosen: Any) -> None:
    """Compare the viewer's data with the processor, number by number."""
    for side, of_prompt in (("answer", False), ("prompt", True)):
        expect_packed(shown[side]["maps"], maps_of(capture, *chosen, of_prompt=of_prompt))


class Waiting(threading.Thread):
    """Somebody in a line, who stays at the front until told to go."""

    def __init__(self, line: Queue, order: list[str], name: str) -> None:
        super().__init__(daemon=True, name=name)
        self.line, self.order = line, order
        self.stop, self.turned, self.gone = threading.Event(), threading.Event(), threading.Event()
        self.told: list[int] = []
        self.heard = threading.Condition()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with self.line.turn(self.on_place, self.stop):
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
    image: dict[str, str],
    tokens: int = NEW,
    temperature: float = 0,
    reuse: bool = True,
    generation: str = "checkpoint",
    given: str = "",
) -> list[Any]:
    """What the page's components hold: the question, the settings, and whether to answer from the store."""
    return [image, PROMPT, given, tokens, 0, generation, temperature, 1, 0, 1, reuse]


def asked(page: Page, question: list[Any], mine: Any = None, visitor: str = "me") -> list[Outputs]:
    """Press Ask, and return all that was shown."""
    told = page.on_generate(request(visitor), *question, mine)
    begun = viewed(page, next(told))
    assert begun == {"progress": {"phase": "waiting"}, "work": None, "notice": None}
    return list(told)


def check_of(*tokens: int) -> MapCheck:
    """A test of a map of these tokens, in which two patches were hidden."""
    return MapCheck(
        text="word",
        tokens=tokens,
        counts=(0, 2),
        hottest=np.array([0.9, 0.1]),
        random=np.array([[0.9, 0.8], [0.9, 0.7], [0.9, 0.85]]),
        central=np.array([0.9, 0.6]),
        hottest_cells=np.array([3, 17]),
        random_cells=np.array([[0, 1], [5, 9], [21, 30]]),
        patches=40,
        ranked=40,
        filling="mean",
        seed=0,
        map_key="a map",
    )


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
