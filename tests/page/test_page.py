"""The page's parts without a browser: the explorer, the queue for the model, what is kept and shared."""

import base64
import hashlib
import logging
import re
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import config
import page.share as share_room
import records.pictures as pictures_room
import viewer
import visualization
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from methods import token_maps
from model import ModelError
from page.answering import Inquiry
from page.jobs import Job
from page.model_room import ModelRoom
from page.queue import FullError, Queue
from page.selection import ATTENTION, Controls, alone_of, look_of
from page.sessions import Run
from page.share import STOPPED, sized
from page.shown import choices, first_pick, subject_of
from page.site import Page
from records.capture import Capture
from records.look import Look
from records.selection import Selection
from records.store import Store
from report.formats import FORMATS
from report.png import figure
from report.view import short_id, whole_drawing
from tests.choosing import explored, selection_of
from tests.serving import HEADS, LAYERS, PROMPT, noise
from utils import Stopped

pytestmark = pytest.mark.timeout(120)
NEW = 6  # tokens of the answers
ALL = [0, LAYERS - 1, 0, HEADS - 1, "mean"]  # the sliders, spanning all
LOOK: dict[str, Any] = {
    "colormap": "magma",
    "opacity": 0.8,
    "contrast": 0.5,
    "view": "side by side",
    "cells": "smooth",
    "scale": "shared",
}
Outputs = dict[Any, Any]


# --- What is needed -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def capture(room: ModelRoom) -> Capture:
    """The answer about the first picture, generated without the page."""
    return answer_to(room, noise(0))


@pytest.fixture
def run(capture: Capture) -> Run:
    return Run(capture, noise(0))


@pytest.fixture
def mine(page: Page, run: Run) -> str:
    """The id of an answer kept for the visitor "me"."""
    return page.sessions.keep("me", run)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Uploads of two pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(2):
        noise(number).save(folder / f"{number}.png")
    return [{"path": str(folder / f"{number}.png")} for number in range(2)]


@pytest.fixture(scope="module", autouse=True)
def files_of_the_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Put what is made to be downloaded into a folder of these tests."""
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(share_room, "get_upload_folder", lambda: str(folder))
        yield folder


def answer_to(room: ModelRoom, picture: Image.Image) -> Capture:
    assert room.loaded is not None
    extractor = AttentionExtractor(room.loaded.model, room.loaded.processor)
    return extractor.generate(picture, PROMPT, max_new_tokens=NEW)


def request(visitor: str = "me") -> Any:
    return SimpleNamespace(session_hash=visitor)


def changes(component: Any) -> dict[str, Any]:
    """What an update of a component changes."""
    return component.constructor_args if isinstance(component, gr.blocks.Block) else component


def unpacked(packed: dict[str, Any], grid: tuple[int, int]) -> np.ndarray:
    """Read packed maps (map, h, w) as viewer/payload.py says that they are written."""
    numbers = np.frombuffer(base64.b64decode(packed["data"]), f"<u{packed['bits'] // 8}")
    low, high = (np.array(packed[end])[:, None] for end in ("low", "high"))
    values = low + numbers.reshape(len(low), -1) / (2 ** packed["bits"] - 1) * (high - low)
    return values.reshape(-1, *grid)


def maps_of(capture: Capture, *chosen: Any, of_prompt: bool = False) -> np.ndarray:
    """The maps (token, h, w) of every token, as the processor has them."""
    processor = AttentionProcessor(capture)
    if of_prompt:
        fold, count = processor.get_attention_heatmap_for_prompt_token, len(capture.prompt_token_ids)
    else:
        fold, count = processor.get_attention_heatmap_for_token, len(capture.token_ids)
    return np.stack([fold(token, *chosen) for token in range(count)])


def expect_maps(shown: dict[str, Any], capture: Capture, *chosen: Any) -> None:
    """Compare the viewer's data with the processor, number by number, as exactly as 16 bits can say it."""
    for side, of_prompt in (("answer", False), ("prompt", True)):
        truth = maps_of(capture, *chosen, of_prompt=of_prompt)
        step = np.ptp(truth.reshape(len(truth), -1), axis=1)[:, None, None] / 65535
        found = unpacked(shown[side]["maps"], capture.grid)
        assert found.shape == truth.shape
        assert (np.abs(found - truth) <= step / 2 * 1.01 + 1e-9).all()


# --- What is shown ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranges", "layers", "heads"),
    [
        (ALL, (0, 1, 2), (0, 1, 2, 3)),
        ([1, 2, 0, 0, "max"], (1, 2), (0,)),
        ([0, 2, 1, 3, "min"], (0, 1, 2), (1, 2, 3)),
        ([0, 99, 99, 99, "mean"], (0, 1, 2), (3,)),  # sliders of a larger model
    ],
)
def test_the_viewer_gets_the_maps_that_the_sliders_say(
    run: Run, ranges: Sequence[Any], layers: Any, heads: Any
) -> None:
    capture, aggregation = run.capture, ranges[-1]
    shown = explored(run, "an id", "1", ranges, ATTENTION, False)
    expect_maps(shown, capture, layers, heads, aggregation)
    assert "picture" not in shown
    folded: dict[str, Any] = {"layers": layers, "heads": heads, "aggregation": aggregation}
    expected = viewer.payload(
        capture,
        None,
        *(token_maps(ATTENTION, capture, of_prompt=side, **folded) for side in (False, True)),
        pick="1",
        leaned=viewer.leaned_on(capture, layers),
    )
    assert shown == {**expected, "run": "an id"}


@pytest.mark.parametrize("wrong", [[0, 1, 0, 1, "sum"], [0, "x", 0, 1, "mean"], [0, 1, -1, 1, "mean"]])
def test_sliders_that_are_none_are_one_line(run: Run, wrong: Sequence[Any]) -> None:
    with pytest.raises(ValueError, match=r"range must be|aggregation must be") as caught:
        explored(run, "an id", "all", wrong, ATTENTION, False)
    assert len(str(caught.value).splitlines()) == 1


def test_a_look_is_what_the_viewer_says_of_itself() -> None:
    assert look_of(None) == (Look(), config.HEATMAP_SCALE)
    assert look_of(LOOK) == (Look("magma", 0.8, "side by side", True, gamma=2**0.5), "shared")
    wiped, scale = look_of(LOOK | {"view": "wipe", "cells": "cells", "scale": "own", "contrast": -2})
    assert (wiped, scale) == (Look("magma", 0.8, "overlay", False, gamma=0.25), "own")


@pytest.mark.parametrize(
    "change",
    [
        {"scale": "all"},
        {"contrast": 4},
        {"contrast": True},
        {"contrast": "high"},
        {"opacity": 2},
        {"opacity": None},
        {"colormap": "rainbows"},
        {"colormap": {}},
        {"view": "upside down"},
    ],
)
def test_a_look_that_is_none_is_one_line(change: dict[str, Any]) -> None:
    wrongs: list[Any] = [LOOK | change, [], "magma"]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"\w") as caught:
            look_of(wrong)
        assert len(str(caught.value).splitlines()) == 1


def test_what_is_drawn_into_a_file_is_what_is_shown(run: Run) -> None:
    drawn_as, scale = look_of(LOOK)
    wide = Selection((0, 1, 2), (0, 1, 2, 3), "mean", None, "word", look=drawn_as, scale=scale)
    assert selection_of(run, ALL, "all", "word", LOOK) == wide
    assert selection_of(run, ALL, "all", "token", LOOK) == replace(wide, by="token")
    assert selection_of(run, ALL, None, "word", LOOK).tokens in (None, tuple(range(NEW)))
    narrow = selection_of(run, [1, 1, 2, 3, "max"], "3-5", "word", LOOK)
    assert narrow == replace(wide, layers=(1,), heads=(2, 3), aggregation="max", tokens=(3, 4, 5))
    asked = selection_of(run, ALL, "p0-7", "word", LOOK)
    assert asked == replace(wide, tokens=tuple(range(8)), of_prompt=True)
    for key, by, line in (
        ("99", "word", "There is no token 99"),
        ("nonsense", "word", "The tokens must be"),
        ("1", "letter", "A map is for each word or token."),
    ):
        with pytest.raises(ValueError, match=re.escape(line)):
            selection_of(run, ALL, key, by, LOOK)


def test_one_layer_or_head_alone(run: Run) -> None:
    assert alone_of([1, 2], run.capture) == [1, 1, 2, 2]
    assert alone_of([None, 3], run.capture) == [0, 2, 3, 3]
    assert alone_of([2, None], run.capture) == [2, 2, 0, 3]
    assert alone_of([None, None], run.capture) == [0, 2, 0, 3]
    for wrong, line in (
        ([3, 0], "There is no layer 3: there are 3, 0 to 2."),
        ([0, 4], "There is no head 4: there are 4, 0 to 3."),
        (["<b>", 0], "The layers must be"),
        ([0], "Choose a layer and a head."),
        (None, "Choose a layer and a head."),
        ("01", "Choose a layer and a head."),
    ):
        with pytest.raises(ValueError, match=re.escape(line)):
            alone_of(wrong, run.capture)


# --- The explorer -------------------------------------------------------------------------------------------


def test_an_answer_comes_with_its_picture_its_list_and_its_most_telling_word(page: Page, run: Run) -> None:
    shown = page.explorer.shown("an id", run, Controls.of(ALL))
    seen, listed = changes(shown[page.explorer.viewer]), changes(shown[page.explorer.token])
    first = first_pick(run)
    assert first is not None
    assert seen["value"] == explored(run, "an id", first.key, ALL, ATTENTION, False)
    assert seen["picture"] == {**viewer.picture_payload(noise(0)), "run": "an id"}
    assert seen["heads"] is None
    assert (listed["choices"], listed["value"]) == (choices(run), first.key)


def test_maps_of_other_layers_and_heads_are_the_processors(page: Page, run: Run, mine: str) -> None:
    outputs = page.explorer.on_maps(request(), mine, 1, 2, 0, 3, "max", ATTENTION, False)
    assert outputs.keys() == {page.explorer.viewer}
    shown = outputs[page.explorer.viewer]
    expect_maps(shown, run.capture, (1, 2), (0, 1, 2, 3), "max")
    assert (shown["run"], shown["settings"]["layers"]) == (mine, [1, 2])


def test_layers_and_heads_of_a_word(page: Page, run: Run, mine: str) -> None:
    capture, processor = run.capture, run.processor
    for key, tokens, of_prompt in (("1-2", [1, 2], False), ("p0-7", list(range(8)), True)):
        heads = changes(page.explorer.on_heads(request(), mine, key)[page.explorer.viewer])["heads"]
        assert heads["pick"] == {"tokens": tokens, "of_prompt": of_prompt}
        fold = processor.get_attention_heatmap_for_token
        if of_prompt:
            fold = processor.get_attention_heatmap_for_prompt_token
        rows: list[Any] = [None, *([layer] for layer in range(LAYERS))]
        columns: list[Any] = [None, *([head] for head in range(HEADS))]
        truth = np.stack([fold(tokens, row, column) for row in rows for column in columns])
        found = unpacked(heads["maps"], capture.grid)
        assert found.shape == truth.shape
        step = np.ptp(truth.reshape(len(truth), -1), axis=1)[:, None, None] / 255
        assert (np.abs(found - truth) <= step / 2 * 1.01 + 1e-7).all()
    assert page.explorer.on_heads(request(), mine, None) == gr.skip()


def test_one_head_alone_moves_the_sliders(page: Page, run: Run, mine: str) -> None:
    ranges = page.explorer.ranges
    outputs = page.explorer.on_alone(request(), mine, [2, 1], "max")
    expect_maps(outputs[page.explorer.viewer], run.capture, (2,), (1,), "max")
    assert [outputs[one] for one in ranges.all] == [2, 2, 1, 1, "max"]
    outputs = page.explorer.on_alone(request(), mine, [None, None], "mean")
    expect_maps(outputs[page.explorer.viewer], run.capture)
    assert [outputs[one] for one in ranges.all] == ALL


def test_the_explorer_answers_nobody_about_anothers_answer(page: Page, mine: str) -> None:
    explorer = page.explorer

    def every(visitor: str, run_id: Any) -> list[Callable[[], Outputs]]:
        return [
            lambda: explorer.on_maps(request(visitor), run_id, *ALL, ATTENTION, False),
            lambda: explorer.on_heads(request(visitor), run_id, "1"),
            lambda: explorer.on_alone(request(visitor), run_id, [0, 0], "mean"),
        ]

    for visitor, run_id in (("you", mine), ("me", "wrong")):
        for callback in every(visitor, run_id):
            with pytest.raises(gr.Error, match=r"^'?This answer is no longer kept: press Generate again\."):
                callback()
    assert [callback() for callback in every("me", None)] == [gr.skip()] * 3  # no answer yet
    for wrong in ("99", "red"):
        with pytest.raises(gr.Error, match=r"token") as caught:
            explorer.on_heads(request(), mine, wrong)
        assert len(str(caught.value).splitlines()) == 1


# --- The queue for the model --------------------------------------------------------------------------------


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


def test_people_are_served_as_they_came_and_told_their_place() -> None:
    line = Queue()
    with waiting_line(line, "abcd") as (people, order):
        assert len(line) == 4
        for place, one in enumerate(people):
            assert one.turned.wait(30)
            assert order == list("abcd"[: place + 1])
            for behind in range(place + 1, 4):
                assert people[behind].hears(behind - place)
                assert not people[behind].turned.is_set()
            one.gone.set()
        for one in people:
            one.join(30)
            assert one.error is None
    assert [one.told for one in people] == [[], [1], [2, 1], [3, 2, 1]]


def test_who_stops_while_waiting_leaves_the_line_to_the_others() -> None:
    line = Queue()
    with waiting_line(line, "abc") as (people, order):
        people[1].stop.set()
        people[1].join(30)
        assert isinstance(people[1].error, Stopped)
        assert people[2].hears(1)
        people[0].gone.set()
        assert people[2].turned.wait(30)
        assert order == ["a", "c"]


def test_a_full_line_refuses_and_has_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "QUEUE_SIZE", 2)
    line = Queue()
    with waiting_line(line, "abc") as (people, _):
        with pytest.raises(FullError, match="Too many people wait for the model"), line.turn():
            raise AssertionError("a third one waits")
        assert len(line) == 3
        people[0].gone.set()
        people[0].join(30)
        late = Waiting(line, [], "late")
        late.start()
        assert late.hears(2)
        late.stop.set()
        late.join(30)
        assert isinstance(late.error, Stopped)


def test_an_error_lets_the_next_one_in() -> None:
    line = Queue()
    for _ in range(2):
        with pytest.raises(ValueError, match="in the middle"), line.turn():
            raise ValueError("in the middle")
        assert len(line) == 0

    def confused(_: int) -> None:
        raise KeyError("told")

    with line.turn(), pytest.raises(KeyError, match="told"), line.turn(confused):
        raise AssertionError("nobody left, and still it came in")
    assert len(line) == 0


# --- Generate, and what is kept -----------------------------------------------------------------------------


def form(image: dict[str, str], tokens: int = NEW, temperature: float = 0, reuse: bool = True) -> list[Any]:
    """What the page's components hold: the question, the settings, and whether to answer from the store."""
    return [image, PROMPT, tokens, temperature, 1, 0, reuse]


def asked(
    page: Page, question: list[Any], mine: Any = None, ranges: Any = ALL, visitor: str = "me"
) -> list[Outputs]:
    """Press Generate, and return all that was shown."""
    told = page.on_generate(request(visitor), *question, mine, (LAYERS, HEADS), *ranges)
    assert next(told)[page.answer_state] == {"state": "waiting"}
    return list(told)


@contextmanager
def no_model(page: Page, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail whoever has the model answer."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the model was called")

    with monkeypatch.context() as patch:
        patch.setattr(page.room, "work", refuse)
        yield


def test_the_same_greedy_question_answers_at_once(
    page: Page, pictures: list[dict[str, str]], capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked(page, form(pictures[0]))[-1]
    assert "note" in first[page.answer_state]
    assert first[page.answer_state]["note"] == ""
    assert first[page.recent.mine] == [entry.id for entry in page.store.recent()]
    with no_model(page, monkeypatch):
        again = asked(page, form(pictures[0]), first[page.recent.mine])[-1]
        other = list(asked(page, form(pictures[0]), None, [1, 1, 0, 3, "max"], "you"))[-1]
        assert again[page.answer_state]["note"] == f"kept from before, by {capture.model_name}"
        seen = changes(again[page.explorer.viewer])["value"]
        assert seen["answer"]["text"] == capture.text
        expect_maps(seen, capture)
        expect_maps(changes(other[page.explorer.viewer])["value"], capture, (1,), None, "max")
        assert again[page.recent.mine] == first[page.recent.mine]  # not listed twice
        for question in (
            form(pictures[0], reuse=False),
            form(pictures[0], tokens=NEW - 1),
            form(pictures[0], temperature=0.5),
            form(pictures[1]),
        ):
            with pytest.raises(gr.Error, match="Something went wrong"):
                asked(page, question)
    assert page.store.recent()[0].tokens == NEW


@pytest.mark.parametrize(
    ("ranges", "line"),
    [
        ([2, 1, 0, 3, "mean"], "The range of layers runs backwards: from 2 to 1."),
        ([0, 2, 3, 0, "mean"], "The range of heads runs backwards: from 3 to 0."),
        ([9, 5, 0, 3, "mean"], "The range of layers runs backwards: from 9 to 5."),  # of a larger model
    ],
)
def test_sliders_that_run_backwards_are_refused_and_no_answer_is_lost_for_them(
    page: Page,
    pictures: list[dict[str, str]],
    mine: str,
    ranges: list[Any],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(gr.Error, match=f"^'?{re.escape(line)}"):
        page.explorer.on_maps(request(), mine, *ranges, ATTENTION, False)
    told = page.on_generate(request(), *form(pictures[0]), None, (LAYERS, HEADS), *ranges)
    with no_model(page, monkeypatch):
        assert next(told)[page.problem] == line
        with pytest.raises(gr.Error, match=re.escape(line)):
            next(told)


def test_without_the_store_the_model_answers_again_and_the_list_has_it_once(
    page: Page, pictures: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    work = page.room.work

    def counted(*arguments: Any) -> Any:
        calls.append("work")
        return work(*arguments)

    monkeypatch.setattr(page.room, "work", counted)
    for count in (1, 2):
        last = asked(page, form(pictures[0], reuse=False))[-1]
        assert last[page.answer_state]["note"] == ""
        assert len(calls) == count
    assert len(page.store.recent()) == 1


@pytest.mark.parametrize("reuse", [True, False])
def test_on_the_way_to_one_answer_the_picture_is_decoded_once_and_hashed_once(
    page: Page, pictures: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, reuse: bool
) -> None:
    calls: list[str] = []
    decoded, sha256 = pictures_room._decoded, hashlib.sha256

    def decoding(file: Any) -> Image.Image:
        calls.append("decoded")
        return decoded(file)

    def hashing(data: bytes) -> Any:
        calls.append("hashed")
        return sha256(data)

    monkeypatch.setattr(pictures_room, "_decoded", decoding)
    monkeypatch.setattr(pictures_room, "hashlib", SimpleNamespace(sha256=hashing))
    last = asked(page, form(pictures[0], reuse=reuse))[-1]
    assert changes(last[page.explorer.viewer])["value"]["answer"]["text"]
    assert len(page.store.recent()) == 1
    assert calls == ["decoded", "hashed"]


def test_a_full_disk_does_not_lose_the_answer(
    page: Page,
    pictures: list[dict[str, str]],
    capture: Capture,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page.store, "save", full)
    with caplog.at_level(logging.WARNING):
        last = asked(page, form(pictures[0]), ["0" * 32])[-1]
    assert changes(last[page.explorer.viewer])["value"]["answer"]["text"] == capture.text
    assert page.recent.mine not in last  # the browser's list stays as it is
    (line,) = caplog.messages
    assert line.startswith("the answer could not be kept in ")
    assert "\n" not in line


def test_another_models_answer_is_never_kept_under_the_first_ones_question(
    folders: tuple[Path, Path], pictures: list[dict[str, str]], tmp_path: Path
) -> None:
    room = ModelRoom()
    first = room.load(str(folders[0]))
    page = Page(room, str(folders[0]), store=Store(tmp_path / "cache"))
    key = Inquiry.of(pictures[0], PROMPT, NEW, 0, 1, 0).key(first)
    assert key is not None
    work = room.work

    def changed_meanwhile(*arguments: Any) -> Any:
        room.load(str(folders[1]))
        return work(*arguments)

    room.work = changed_meanwhile  # type: ignore[assignment]
    last = asked(page, form(pictures[0]))[-1]
    shown = changes(last[page.explorer.viewer])["value"]
    assert shown["settings"]["model"] == str(folders[1])
    assert page.store.find(key) is None
    assert [entry.model for entry in page.store.recent()] == [str(folders[1])]  # listed, but answers nothing
    room.work = work  # type: ignore[method-assign]
    room.load(str(folders[0]))
    assert asked(page, form(pictures[0]))[-1][page.answer_state]["note"] == ""
    kept = page.store.find(key)
    assert kept is not None
    assert kept.capture.model_name == str(folders[0])


def test_values_of_twelve_bits_are_spread_and_said(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "scan.png"
    Image.fromarray(np.linspace(0, 4095, 112 * 168).astype(np.uint16).reshape(112, 168)).save(file)
    last = asked(page, form({"path": str(file)}))[-1]
    said = "Its values run from 0 to 4,095: they are spread over all shades from black to white."
    assert last[page.answer_state]["note"] == said


def test_a_place_in_line_is_shown_and_an_answer_stopped_there_is_none(
    page: Page, pictures: list[dict[str, str]]
) -> None:
    question = form(pictures[0])
    with page.room.queue.turn():
        told = page.on_generate(request(), *question, None, (LAYERS, HEADS), *ALL)
        waiting = next(one for one in told if one[page.answer_state].get("ahead"))[page.answer_state]
        assert (waiting["state"], waiting["ahead"]) == ("waiting", 1)
        page.on_stop(request())
        last = list(told)[-1]
    assert last[page.problem] == "Stopped before the answer began."
    assert last[page.answer_state] == {"state": "empty"}
    assert not page.room.busy
    assert page.store.recent() == []


def test_a_full_line_is_one_line_of_text(
    page: Page, pictures: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "QUEUE_SIZE", 0)
    full = "Too many people wait for the model. Try again in a minute."
    shown: list[Outputs] = []
    with page.room.queue.turn():
        told = page.on_generate(request(), *form(pictures[0]), None, (LAYERS, HEADS), *ALL)
        with pytest.raises(gr.Error, match=re.escape(full)):
            shown.extend(told)
    assert shown[-1][page.problem] == full
    assert not page.jobs.stop("me")


# --- Recent answers -----------------------------------------------------------------------------------------


@pytest.fixture
def kept(page: Page, room: ModelRoom, capture: Capture) -> list[str]:
    """The ids of two answers in the store, the older one first."""
    ids = []
    for number, one in enumerate((capture, answer_to(room, noise(1)))):
        entry = page.store.save(one, noise(number), f"{number}" * 32)
        assert entry is not None
        ids.append(entry)
    return ids


def reopened(page: Page, mine: Any, wanted: Any) -> Outputs:
    return page.on_reopen(request(), wanted, mine, (LAYERS, HEADS), *ALL)


def test_only_this_browsers_answers_are_listed_and_opened(page: Page, kept: list[str]) -> None:
    one, two = kept
    assert [entry["id"] for entry in page.recent.listed(kept)] == [two, one]
    assert [entry["id"] for entry in page.recent.listed([one])] == [one]
    for nobody in ([], None, "all", [None, 3, "../x"], ["f" * 32], {one: 1}):
        assert page.recent.listed(nobody) == []
        with pytest.raises(gr.Error, match=r"^'?This answer is not in your list\."):
            reopened(page, nobody, two)
    with pytest.raises(gr.Error, match="not in your list"):
        reopened(page, [one], two)
    with pytest.raises(gr.Error, match="not in your list"):
        reopened(page, ["../" + one], "../" + one)


def test_what_the_list_says_of_an_answer(page: Page, kept: list[str], capture: Capture) -> None:
    (entry,) = page.recent.listed(kept[:1])
    assert (entry["prompt"], entry["model"]) == (PROMPT, capture.model_name)
    assert entry["answer"] == " ".join(capture.text.split())
    assert entry["src"].startswith("data:image/png;base64,iVBOR")
    assert re.fullmatch(r"\d\d \w{3} \d{4}, \d\d:\d\d", entry["when"])


def test_an_answer_is_reopened_without_a_model(page: Page, kept: list[str], capture: Capture) -> None:
    empty = Page(ModelRoom(), "demo", store=page.store)
    shown = reopened(empty, kept, kept[0])
    seen = changes(shown[empty.explorer.viewer])
    expect_maps(seen["value"], capture)
    assert seen["picture"]["url"] == viewer.picture_payload(noise(0))["url"]
    assert shown[empty.answer_state]["state"] == "done"
    assert shown[empty.prompt] == PROMPT
    assert np.array_equal(np.asarray(changes(shown[empty.image])["value"]), np.asarray(noise(0)))
    assert shown[empty.recent.mine][0] == kept[0]
    run_id = shown[empty.run_id]
    maps = empty.explorer.on_maps(request(), run_id, 1, 1, 0, 0, "mean", ATTENTION, False)
    expect_maps(maps[empty.explorer.viewer], capture, (1,), (0,))
    question: list[Any] = [run_id, "word", "1", "", "answer", "", "auto", "grad-cam", 1, 0, 0]
    told = empty.gradcam.on_run(request(), *question)
    with pytest.raises(gr.Error, match=r"and no model is loaded now: press Generate again"):
        list(told)


def test_an_answer_that_is_reopened_is_not_followed_by_the_one_being_written(
    page: Page, kept: list[str], pictures: list[dict[str, str]]
) -> None:
    with page.room.queue.turn():
        told = page.on_generate(request(), *form(pictures[1], reuse=False), None, (LAYERS, HEADS), *ALL)
        next(told)
        next(told)
        shown = reopened(page, kept, kept[0])
        *_, last = told
    assert last == gr.skip()
    assert page.sessions.run("me", shown[page.run_id]).kept == kept[0]
    assert len(page.jobs) == 0


def test_an_answer_of_another_size_of_model_resets_the_sliders(page: Page, kept: list[str]) -> None:
    shown = page.on_reopen(request(), kept[0], kept, (36, 16), 30, 35, 9, 15, "max")
    ranges = page.ranges
    ends = [changes(shown[one]) for one in ranges.all[:4]]
    assert [end["value"] for end in ends] == [0, LAYERS - 1, 0, HEADS - 1]
    settings = changes(shown[page.explorer.viewer])["value"]["settings"]
    assert (settings["layers"], settings["heads"]) == ([0, 1, 2], [0, 1, 2, 3])
    assert settings["aggregation"] == "max"


def test_damaged_and_removed_answers_are_one_line(
    page: Page, kept: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = kept
    (page.store.folder / one / "capture.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        assert [entry["id"] for entry in page.recent.listed(kept)] == [two]
    assert "is damaged and was skipped" in caplog.text
    with pytest.raises(gr.Error, match="is damaged and was skipped") as damaged:
        reopened(page, kept, one)
    assert page.store.remove(two)
    with pytest.raises(gr.Error, match=r"This answer is no longer kept: ask again\.") as removed:
        reopened(page, kept, two)
    for caught in (damaged, removed):
        assert len(str(caught.value).splitlines()) == 1
        assert str(page.store.folder) not in str(caught.value)


# --- Files to share -----------------------------------------------------------------------------------------


def shared(page: Page, run_id: Any, kind: Any = "png", key: Any = "1", **changed: Any) -> list[Outputs]:
    """Press "Make the file", and return all that was shown."""
    given: dict[str, Any] = {"by": "word", "look": LOOK, "ranges": ALL, "visitor": "me"} | changed
    callback = page.share.on_make(
        request(given["visitor"]),
        run_id,
        kind,
        given["by"],
        key,
        given["look"],
        *given["ranges"],
        ATTENTION,
        False,
    )
    return list(callback)


def file_of(page: Page, shown: list[Outputs]) -> Path:
    made = changes(shown[-1][page.share.file])
    assert made["visible"] is True
    return Path(made["value"])


@pytest.mark.parametrize("kind", list(FORMATS))
def test_each_file_is_of_this_answer_and_its_name_is_ours(
    page: Page, mine: str, capture: Capture, kind: str, files_of_the_page: Path
) -> None:
    you = page.sessions.keep("you", Run(replace(capture, text="X" * len(capture.text)), noise(0)))
    shown = shared(page, mine, kind)
    assert shown[0][page.share.line] == "Drawing …"
    assert changes(shown[0][page.share.make])["interactive"] is False
    assert changes(shown[0][page.share.stop])["visible"] is True
    file = file_of(page, shown)
    assert files_of_the_page in file.parents
    assert len(file.parent.name) >= 40
    chosen = "-word-001" if kind == "png" else ""  # the others are of the whole answer
    assert file.name == f"attention-{short_id(capture)}{chosen}{FORMATS[kind].ending}"
    assert re.fullmatch(rf"{FORMATS[kind].name}, [\d.]+ [kM]B, \d+\.\d s( · .*)?", shown[-1][page.share.line])
    assert changes(shown[-1][page.share.make])["interactive"] is True
    assert changes(shown[-1][page.share.stop])["visible"] is False
    content = file.read_bytes()
    starts = {"png": b"\x89PNG", "zip": b"PK", "gif": b"GIF89a", "pdf": b"%PDF", "npz": b"PK"}
    assert content.startswith(starts.get(kind, b"<!doctype html>" if kind == "html" else b"\0\0\0"))
    if kind == "png":
        with Image.open(file) as picture:
            assert picture.info["Answer"] == capture.text
    if kind == "npz":
        with np.load(file) as numbers:
            assert capture.text in [str(numbers[name]) for name in numbers.files]
    with pytest.raises(gr.Error, match="no longer kept"):
        shared(page, you, kind)
    assert not list(files_of_the_page.rglob("*.tmp"))


def test_the_numbers_of_a_file_are_those_of_the_sliders(page: Page, mine: str, capture: Capture) -> None:
    file = file_of(page, shared(page, mine, "npz", ranges=[1, 1, 2, 3, "max"]))
    with np.load(file) as numbers:
        maps = [numbers[name] for name in numbers.files if numbers[name].shape[1:] == capture.grid]
    truth = maps_of(capture, (1,), (2, 3), "max")
    assert any(one.shape == truth.shape and np.allclose(one, truth, atol=1e-7) for one in maps)


def test_a_picture_for_each_token_or_word(page: Page, mine: str, capture: Capture) -> None:
    words = len(AttentionProcessor(capture).words())
    for by, count in (("word", words), ("token", NEW)):
        with zipfile.ZipFile(file_of(page, shared(page, mine, "zip", by=by))) as packed:
            assert sum(name.endswith(".png") for name in packed.namelist()) == count


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"run_id": None}, "There is no answer to share yet: press Generate first."),
        ({"run_id": "wrong"}, "This answer is no longer kept: press Generate again."),
        ({"visitor": "you"}, "This answer is no longer kept: press Generate again."),
        ({"kind": "exe"}, "The file must be one of png, zip, gif, mp4, pdf, html, npz."),
        ({"kind": None}, "The file must be one of"),
        ({"key": "99"}, "There is no token 99: there are 6, 0 to 5."),
        ({"by": "letter"}, "A map is for each word or token."),
        ({"look": {"scale": "own"}}, "must be a number"),
        ({"ranges": [0, 1, 0, None, "mean"]}, "The head range must be a number"),
        ({"ranges": [0, 1, 2, 1, "mean"]}, "The range of heads runs backwards: from 2 to 1."),
    ],
)
def test_what_cannot_be_made_is_one_line(
    page: Page, mine: str, change: dict[str, Any], line: str, files_of_the_page: Path
) -> None:
    before = set(files_of_the_page.iterdir())
    given: dict[str, Any] = {"run_id": mine, "kind": "png", "by": "word", "key": "1", "look": LOOK} | change
    visitor, ranges = given.pop("visitor", "me"), given.pop("ranges", ALL)
    told = page.share.on_make(request(visitor), *(given[name] for name in given), *ranges, ATTENTION, False)
    reason = next(told)[page.share.line]
    assert line in reason
    assert len(reason.splitlines()) == 1
    with pytest.raises(gr.Error, match=re.escape(line)):
        next(told)
    assert set(files_of_the_page.iterdir()) == before


@pytest.mark.parametrize("end", ["stop", "leave"])
def test_a_file_is_not_made_when_it_is_stopped(
    page: Page, mine: str, monkeypatch: pytest.MonkeyPatch, end: str, files_of_the_page: Path
) -> None:
    drawing, write = threading.Event(), share_room.export
    folders: list[Path] = []

    def waiting(kind: str, subject: Any, image: Any, folder: Path, watch: Any) -> Any:
        folders.append(folder)
        drawing.set()
        assert watch.stop.wait(30)
        return write(kind, subject, image, folder, watch)

    monkeypatch.setattr(share_room, "export", waiting)
    told = page.share.on_make(request(), mine, "zip", "token", "all", LOOK, *ALL, ATTENTION, False)
    assert next(told)[page.share.line] == "Drawing …"
    next(told)  # the work has begun
    assert drawing.wait(30)
    page.share.on_stop(request("you"))  # stops nothing of another visitor
    (job,) = page.jobs._jobs
    assert not job.stop.is_set()
    {"stop": page.share.on_stop, "leave": page.on_leave}[end](request())
    last = list(told)[-1]
    if end == "stop":
        assert last[page.share.line] == STOPPED
        assert changes(last[page.share.file])["visible"] is False
    else:
        assert last == gr.skip()  # nobody is there to see it
    assert list(folders[0].iterdir()) == []
    assert len(page.jobs) == 0


def test_sizes_are_for_people() -> None:
    assert [sized(size) for size in (3, 1499, 999_499, 2_340_000)] == ["1 kB", "1 kB", "999 kB", "2.3 MB"]


def test_the_picture_in_a_file_is_the_one_of_the_shell(page: Page, mine: str, run: Run) -> None:
    """The same view, drawn by the drawing room alone: the map's part of the picture is the same."""
    file = file_of(page, shared(page, mine, "png", key="2", ranges=[0, 1, 0, 3, "mean"]))
    subject = subject_of(run, selection_of(run, [0, 1, 0, 3, "mean"], "2", "word", LOOK))
    low, high = visualization.shared_range(
        [*maps_of(run.capture, (0, 1)), *maps_of(run.capture, (0, 1), of_prompt=True)]
    )
    look = replace(subject.selection.look, vmin=low, vmax=high)
    expected = np.asarray(figure(noise(0), whole_drawing(subject), look))
    with Image.open(file) as picture:
        drawn = np.asarray(picture.convert("RGB"))
    assert np.array_equal(drawn[: len(expected), : expected.shape[1]], expected)


def test_without_a_model_a_question_is_refused_at_once(
    page: Page, pictures: list[dict[str, str]], room: ModelRoom
) -> None:
    empty = Page(ModelRoom(), "demo", store=page.store)
    told = empty.on_generate(request(), *form(pictures[0]), None, (LAYERS, HEADS), *ALL)
    assert next(told)[empty.problem] == "No model is loaded: press Load first."
    with pytest.raises(gr.Error, match="press Load first"):
        next(told)
    with pytest.raises(ModelError, match="press Load first"):
        empty.room.work(lambda _: None, Job("me", "answer"))
