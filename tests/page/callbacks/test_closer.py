"""A part of a picture is cut out, and the question asked again with it beside the whole."""

from typing import Any

import numpy as np
import pytest

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from page.model_room import ModelRoom
from page.sessions import Run
from page.site import Page
from page.sources import opened
from records.crops import Crop
from records.window import window_of
from tests.choosing import wanted
from tests.page.callbacks.kit import asked, form, reopened
from tests.page.kit import NEW, loaded_of
from tests.page.telling import Outputs, refused, request, viewed
from tests.serving import PROMPT, noise
from utils import one_line

pytestmark = pytest.mark.timeout(120)
BOX = [0.5, 0.25, 1, 0.75]


def closer(page: Page, run_id: Any, details: Any, key: str = "1-2") -> list[Outputs]:
    """Ask for a closer look, and return all that was shown."""
    given = form({}, reuse=False)[1:-1]  # the question and its settings
    return list(page.again.on_closer(request(), run_id, details, key, wanted(), *given, None))


def corners(box: list[float]) -> tuple[int, int, int, int]:
    """Return a box in pixels of the first picture, worked out by hand."""
    width, height = noise(0).size
    left, top, right, bottom = box
    return int(left * width), int(top * height), int(-(-right * width // 1)), int(-(-bottom * height // 1))


def test_a_box_is_asked_about_beside_the_whole(page: Page, room: ModelRoom, run: Run, mine: str) -> None:
    first, *_, last = closer(page, mine, {"visual": 0, "box": BOX})
    seen = viewed(page, last)["value"]
    made = page.sessions.run("me", last[page.run_id])
    part = noise(0).crop(corners(BOX))
    truth = AttentionExtractor(**loaded_of(room)).generate([noise(0), part], PROMPT, max_new_tokens=NEW)
    assert made.capture.token_ids == truth.token_ids
    assert np.allclose(made.capture.attention.numpy(), truth.attention.numpy(), atol=1e-5)
    assert made.capture.crop == Crop(1, 0, corners(BOX))
    assert seen["crop"]["visual"] == 1
    assert np.allclose(seen["crop"]["box"], BOX, atol=1 / min(noise(0).size))
    assert [np.asarray(one).tolist() for one in opened(first[page.sources.image])] == [
        np.asarray(one).tolist() for one in (noise(0), part)
    ]
    assert seen["facts"]["source"] == first[page.sources.image]
    assert "The crop shows no more detail" in viewed(page, last)["notice"]["text"]  # nothing was shrunk
    parent = seen["facts"]["parent"]
    assert (parent["text"], parent["of"]) == (run.capture.text, "without the closer look")
    assert page.store.open(parent["id"]).capture.token_ids == run.capture.token_ids
    again = reopened(page, [last[page.recent.mine][0]], last[page.recent.mine][0])
    assert viewed(page, again)["value"]["facts"]["parent"] == parent


def test_without_a_box_it_is_where_the_map_stands_out(page: Page, run: Run, mine: str) -> None:
    *_, last = closer(page, mine, {"visual": 0})
    heat = AttentionProcessor(run.capture).get_attention_heatmap_for_token([1, 2])
    window = window_of(heat, run.capture.visuals[0].size)
    assert page.sessions.run("me", last[page.run_id]).capture.crop == Crop(1, 0, window)


def test_of_a_follow_up_it_is_asked_in_its_conversation(page: Page, pictures: list[dict[str, str]]) -> None:
    first = asked(page, form(pictures[0]))[-1]
    second = asked(page, form(None, follows=first[page.run_id], prompt="And what else?"))[-1]
    before = page.sessions.run("me", second[page.run_id]).capture
    *_, last = closer(page, second[page.run_id], {"visual": 0, "box": BOX})
    made = page.sessions.run("me", last[page.run_id])
    assert made.capture.history == before.history
    assert made.capture.crop == Crop(1, 0, corners(BOX))
    assert made.capture.prompt == "And what else?"
    facts = viewed(page, last)["value"]["facts"]
    assert facts["turns"][0]["id"] == first[page.recent.mine][0]
    assert facts["parent"]["text"] == one_line(before.text)


@pytest.mark.parametrize(
    ("details", "line"),
    [
        ({"visual": 3}, "Choose a picture of this answer first."),
        ({"visual": "0"}, "Choose a picture of this answer first."),
        ({"visual": 0, "box": "all"}, "Choose a part of the picture first."),
        ({"visual": 0, "box": [0, 0, None, 1]}, "Choose a part of the picture first."),
        ({"visual": 0, "box": [0, 0, 1]}, "a crop has four numbers: left, top, right, bottom in pixels"),
        ({"visual": 0, "box": [0, 0, 0.01, 0.01]}, "the crop is too small"),
        ({"visual": 0, "box": [2, 2, 3, 3]}, "the crop lies outside of the picture"),
        ({"visual": 0, "box": [0, 0, float("nan"), 1]}, "a crop has four numbers"),
    ],
)
def test_what_is_no_part_of_a_picture_is_refused(page: Page, mine: str, details: Any, line: str) -> None:
    given = form({}, reuse=False)[1:-1]
    outputs, reason = refused(page.again.on_closer(request(), mine, details, "1", wanted(), *given, None))
    assert reason.startswith(line)
    assert all(page.sources.image not in one for one in outputs)
    assert page.sessions.run("me", mine).capture.token_ids


def test_what_is_hidden_is_known_to_be_asked_again(page: Page, run: Run, mine: str) -> None:
    given = form({}, reuse=False)[1:-1]
    *_, last = page.again.on_hide(request(), mine, None, "1-2", wanted(), *given, None)
    parent = viewed(page, last)["value"]["facts"]["parent"]
    assert (parent["text"], parent["of"]) == (run.capture.text, "with the picture as it was")
