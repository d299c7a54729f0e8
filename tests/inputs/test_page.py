"""Anything that a browser may send to the page's callbacks: shown, or refused in one clear line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attention_extractor import AttentionExtractor
from page.model_room import ModelRoom
from page.sessions import Run
from page.site import Page
from records.store import Store
from tests.inputs import damage
from tests.inputs.kit import TIMES
from tests.inputs.pictures import animated, every_format, rotated, sizes
from tests.inputs.served import nothing_left, told_by
from tests.inputs.tally import Tally
from tests.inputs.values import ADDED, EMPTY, LONE, LONG, LOOK, ODD, WANTED, anything, ranges
from tests.page.telling import request
from tests.serving import FIRST, PROMPT, noise, uploads
from tests.tiny import save_tiny

ME = request("me")
GENERATION = [1, 0, "greedy", False, 0, 1, 0, 1]  # as the menu has it


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> ModelRoom:
    room = ModelRoom()
    room.load(str(save_tiny(tmp_path_factory.mktemp("models") / "first", **FIRST)))
    return room


@pytest.fixture(scope="module")
def page(room: ModelRoom, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(room, "first", store=Store(tmp_path_factory.mktemp("kept")))


@pytest.fixture(scope="module")
def upload() -> dict[str, str]:
    path = uploads() / "a.png"
    noise(0).save(path)
    return {"path": str(path)}


@pytest.fixture
def answered(room: ModelRoom, page: Page) -> str:
    """The id of an answer."""
    assert room.loaded is not None
    extractor = AttentionExtractor(room.loaded.model, room.loaded.processor)
    return page.sessions.keep("me", Run(extractor.generate(noise(0), PROMPT, max_new_tokens=3), (noise(0),)))


@pytest.fixture(autouse=True)
def _as_before(room: ModelRoom, tmp_path: Path) -> Iterator[None]:
    with nothing_left(room, tmp_path):
        yield


class Callback(NamedTuple):
    """What the browser calls, and values that it sends, where "run" and "picture" stand for what is there."""

    call: Callable[[Page], Callable[..., Any]]
    sent: list[Any]
    examples: int = 25


CALLBACKS = {
    "on_generate": Callback(
        lambda page: page.on_generate, ["picture", PROMPT, "", None, "", *GENERATION, False, None], 60
    ),
    "on_generate, a follow-up": Callback(
        lambda page: page.on_generate, [None, PROMPT, "", "run", "Be brief.", *GENERATION, False, None]
    ),
    "on_reopen": Callback(lambda page: page.on_reopen, ["0" * 32, None]),
    "on_maps": Callback(lambda page: page.explorer.on_maps, ["run", None, "0", WANTED]),
    "on_heads": Callback(lambda page: page.explorer.on_heads, ["run", {"key": "0"}, "0", None]),
    "on_test": Callback(lambda page: page.explorer.on_test, ["run", None, "0", WANTED], 12),
    "on_compare": Callback(lambda page: page.explorer.on_compare, ["run", {"name": "tam"}, "0", None]),
    "on_stop": Callback(lambda page: page.explorer.on_stop, ["run", {"part": "answer"}]),
    "on_need": Callback(lambda page: page.explorer.on_need, ["run"], 12),
    "on_make": Callback(lambda page: page.share.on_make, ["run", "npz", "word", "0", LOOK, WANTED]),
    "on_run": Callback(
        lambda page: page.gradcam.on_run,
        ["run", "text", "0", "a", "answer", "b", "auto", "grad-cam", 1, 0, 0],
    ),
    "on_draw": Callback(lambda page: page.gradcam.on_draw, ["run", 0, None, LOOK]),
    "on_plan": Callback(
        lambda page: lambda *sent: planned(page, *sent), ["picture", PROMPT, "", "run", "", *GENERATION]
    ),
    "on_hide": Callback(
        lambda page: page.again.on_hide,
        ["run", None, "0", WANTED, PROMPT, "", None, "", *GENERATION, None],
        12,
    ),
    "on_closer": Callback(
        lambda page: page.again.on_closer,
        ["run", {"visual": 0, "box": [0, 0, 0.5, 0.5]}, "0", WANTED, PROMPT, "", None, "", *GENERATION, None],
        12,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLBACKS)
def test_any_value_is_shown_or_refused(
    name: str, page: Page, answered: str, upload: dict[str, str], tally: Tally
) -> None:
    callback = CALLBACKS[name]

    @settings(max_examples=callback.examples * TIMES, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def tried(data: st.DataObject) -> None:
        sent = [{"run": answered, "picture": upload}.get(str(value), value) for value in callback.sent]
        places = data.draw(st.lists(st.integers(0, len(sent) - 1), min_size=1, max_size=2, unique=True))
        for place in places:
            sent[place] = data.draw(anything | ranges)
        line = None
        try:
            line = told_by(callback.call(page)(ME, *sent))
        except gr.Error as error:  # of a callback that is no stream
            line = told_by(raising(error))
        (tally.refused if line else tally.right)(f"page: {name}")

    tried()


def planned(page: Page, *sent: Any) -> Iterator[None]:
    """Say what an answer would record; why it cannot be given is told as an error would be."""
    line = page.on_plan(*sent)[page.plan]
    yield
    if line and not line.startswith("Up to"):
        raise gr.Error(line)


def raising(error: gr.Error) -> Iterator[None]:
    yield
    raise error


def test_any_picture_is_shown_or_refused(page: Page, tally: Tally) -> None:
    """As soon as it is chosen: the component shows it, or says why it cannot be asked about."""
    wholes = [*every_format(), *list(rotated())[::5], *animated(), *list(sizes())[::9]]
    files = [(one.data, one.shows is not None) for one in wholes]
    files += [(data, False) for some in (damage.headers(), damage.no_pictures()) for _, data, *_ in some]
    path = uploads() / "picture.jpg"
    for data, seen in files:
        path.write_bytes(data)
        (shown,) = checked(page, [{"path": str(path)}])
        assert ("url" in shown) == seen, shown
        if seen:
            tally.right("page: pictures")
        else:
            told_by(raising(gr.Error(shown["reason"])))
            tally.refused("page: pictures")


@settings(max_examples=25 * TIMES, suppress_health_check=list(HealthCheck))
@given(anything | st.fixed_dictionaries({"path": anything}))
def test_what_is_no_upload_is_told_beside_it(page: Page, tally: Tally, sent: Any) -> None:
    for one in checked(page, [sent]) + checked(page, sent):
        told_by(raising(gr.Error(one["reason"])))
    assert len(checked(page, [sent])) == isinstance(sent, dict)
    tally.refused("page: pictures")


def checked(page: Page, sent: Any) -> list[dict[str, Any]]:
    """Return what is told of files that were sent."""
    found = page.sources.on_check(sent)[page.sources.image].constructor_args["checked"]
    assert isinstance(found, list)
    return found


def test_any_prompt_is_answered_or_refused(page: Page, upload: dict[str, str], tally: Tally) -> None:
    for prompt in (*ODD[::2], *LONE, *EMPTY, *ADDED[::3], "x" * LONG, "\0" * LONG, "<|image_pad|>" * 200):
        line = told_by(page.on_generate(ME, upload, prompt, "", *GENERATION, False, None))
        (tally.refused if line else tally.right)("page: prompts")
