"""The page's callbacks: what an answer would record, said before it is asked."""

import re
from typing import Any

import pytest
from PIL import Image

from internals import memory
from page.site import Page
from records.capture import Capture
from tests.page.callbacks.kit import asked, form
from tests.page.telling import request
from tests.serving import HEADS, LAYERS, uploads

pytestmark = pytest.mark.timeout(120)


def planned(page: Page, question: list[Any]) -> Any:
    """What is said of a question, which nothing else on the page changes with."""
    shown = page.on_plan(request(), *question[:-1])
    assert shown.keys() == {page.plan}
    return shown[page.plan]


def test_the_plan_is_of_the_picture_and_the_length_that_are_chosen(
    page: Page, pictures: list[dict[str, str]], capture: Capture
) -> None:
    of_picture = rf"{capture.grid[0] * capture.grid[1]} visual tokens"
    of_model = rf"{LAYERS} layers × {HEADS} heads"
    for tokens in (2, 700):
        said = planned(page, form(pictures[0], tokens=tokens))
        line = rf"Up to \d MB recorded: {of_picture}, at most {tokens} new ones, {of_model}"
        assert re.fullmatch(line, said)


def test_a_given_answer_is_planned_by_its_own_length(page: Page, pictures: list[dict[str, str]]) -> None:
    question = form(pictures[0], tokens=700, given="Two red birds.")
    run = page.sessions.run("me", asked(page, question)[-1][page.run_id])
    assert f"at most {len(run.capture.token_ids)} new ones" in planned(page, question)


def test_what_does_not_fit_is_said_with_what_helps(
    page: Page, pictures: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 1_000)
    said = planned(page, form(pictures[0], tokens=100))
    assert said.startswith(
        "An answer of 100 tokens would record 1 MB and 1 MB are free: lower MAX_NEW_TOKENS"
    )
    assert 'KEEP = "head-mean"' in said


def test_nothing_is_said_where_something_is_missing(
    page: Page, pictures: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = uploads() / "narrow.png"
    Image.new("RGB", (2000, 4)).save(narrow)
    for picture in (None, {"path": "/etc/hostname"}, {"path": str(narrow)}):
        assert planned(page, form(picture)) == ""
    question = form(pictures[0])
    question[1] = "  "
    assert planned(page, question) == ""
    monkeypatch.setattr(page.room, "_loaded", None)
    assert planned(page, form(pictures[0])) == ""
