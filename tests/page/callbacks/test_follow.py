"""A question that follows an answer: what was said before counts, and each turn can be shown again."""

from typing import Any

import numpy as np
import pytest

from attention_extractor import AttentionExtractor
from page.around import NO_ANSWER
from page.model_room import ModelRoom
from page.sessions import Run
from page.site import Page
from records.capture import Capture
from tests.page.callbacks.kit import asked, form, no_model, reopened
from tests.page.kit import NEW, expect_maps, loaded_of
from tests.page.telling import Outputs, refused, request, viewed
from tests.serving import noise

pytestmark = pytest.mark.timeout(120)

MORE = "And what else?"


def shown(page: Page, outputs: Outputs) -> dict[str, Any]:
    value: dict[str, Any] = viewed(page, outputs)["value"]
    return value


def run_of(page: Page, outputs: Outputs) -> Run:
    return page.sessions.run("me", outputs[page.run_id])


def follow_up(page: Page, first: Outputs, image: Any = None, prompt: str = MORE) -> Outputs:
    question = form(image, follows=first[page.run_id], prompt=prompt)
    return asked(page, question, first[page.recent.mine])[-1]


def expect_same(capture: Capture, truth: Capture) -> None:
    """Compare an answer with one that was asked for without the page."""
    assert (capture.token_ids, capture.history) == (truth.token_ids, truth.history)
    assert np.allclose(capture.attention.numpy(), truth.attention.numpy(), atol=1e-5)


def test_it_is_read_after_what_was_said(
    page: Page, room: ModelRoom, pictures: list[dict[str, str]], capture: Capture
) -> None:
    first = asked(page, form(pictures[0]))[-1]
    second = follow_up(page, first)
    truth = AttentionExtractor(**loaded_of(room)).generate([], MORE, NEW, history=[capture])
    run, seen = run_of(page, second), shown(page, second)
    expect_same(run.capture, truth)
    expect_maps(seen, run.capture)
    assert [np.asarray(one).tolist() for one in run.originals] == [np.asarray(noise(0)).tolist()]
    assert seen["turns"] == [{"prompt": capture.prompt, "text": capture.text}]
    facts = seen["facts"]
    assert (facts["follows"], facts["source"]) == (True, None)
    assert [one["id"] for one in facts["turns"]] == [shown_id(first, page), shown_id(second, page)]
    assert [one["prompt"] for one in facts["turns"]] == [capture.prompt, MORE]


def shown_id(outputs: Outputs, page: Page) -> str:
    """The id of the answer in the store: the newest of the browser's list."""
    mine: list[str] = outputs[page.recent.mine]
    return mine[0]


def test_a_picture_is_added(
    page: Page, room: ModelRoom, pictures: list[dict[str, str]], capture: Capture
) -> None:
    first = asked(page, form(pictures[0]))[-1]
    second = follow_up(page, first, pictures[1])
    truth = AttentionExtractor(**loaded_of(room)).generate(noise(1), MORE, NEW, history=[capture])
    run = run_of(page, second)
    expect_same(run.capture, truth)
    assert len(run.originals) == len(shown(page, second)["visuals"]) == 2
    assert shown(page, second)["facts"]["source"] == pictures[1]


def test_a_turn_is_shown_again_and_followed_by_another(page: Page, pictures: list[dict[str, str]]) -> None:
    first = asked(page, form(pictures[0]))[-1]
    second = follow_up(page, first)
    third = follow_up(page, second, prompt="And then?")
    ids = [one["id"] for one in shown(page, third)["facts"]["turns"]]
    assert ids == list(reversed(third[page.recent.mine]))
    assert len(set(ids)) == 3
    again = reopened(page, third[page.recent.mine], ids[1])
    assert again[page.prompt] == MORE
    assert [one["id"] for one in shown(page, again)["facts"]["turns"]] == ids[:2]
    assert shown(page, again)["facts"]["follows"] is False
    other = follow_up(page, again | {page.recent.mine: third[page.recent.mine]}, prompt="Or else?")
    assert [one["id"] for one in shown(page, other)["facts"]["turns"]][:2] == ids[:2]
    page.store.remove(ids[0])
    assert [one["id"] for one in shown(page, reopened(page, ids, ids[2]))["facts"]["turns"]] == [
        None,
        *ids[1:],
    ]


def test_it_is_answered_at_once_where_it_was_asked_before(
    page: Page, pictures: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked(page, form(pictures[0]))[-1]
    second = follow_up(page, first)
    said = run_of(page, second).capture.token_ids
    again = reopened(page, second[page.recent.mine], shown_id(first, page))
    with no_model(page, monkeypatch):
        same = follow_up(page, again | {page.recent.mine: second[page.recent.mine]})
        assert run_of(page, same).capture.token_ids == said
        for changed in ({"prompt": "Another?"}, {"system": "Be brief."}, {"follows": None}):
            how = {"follows": same[page.run_id], "prompt": MORE} | changed
            _, line = refused(page.on_generate(request(), *form(pictures[0], **how), None))
            assert line.startswith("Something went wrong")


def test_a_system_prompt_is_told_and_shown_again(page: Page, pictures: list[dict[str, str]]) -> None:
    first = asked(page, form(pictures[0], system="Be brief."))[-1]
    run = run_of(page, first)
    assert run.capture.system == "Be brief."
    assert run_of(page, follow_up(page, first)).capture.system == "Be brief."
    again = reopened(page, first[page.recent.mine], shown_id(first, page))
    assert again[page.system] == "Be brief."
    assert run_of(page, asked(page, form(pictures[0]))[-1]).capture.system is None


@pytest.mark.parametrize(
    ("system", "line"),
    [
        (7, "The system prompt must be a text."),
        ("x" * 5000, "The system prompt has 5,000 characters; at most 4,000 are allowed."),
        ("a <|image_pad|>", "The system prompt may not contain the control token <|image_pad|>."),
    ],
)
def test_a_system_prompt_that_cannot_be_told_is_refused(
    page: Page, pictures: list[dict[str, str]], system: Any, line: str
) -> None:
    _, reason = refused(page.on_generate(request(), *form(pictures[0], system=system), None))
    assert reason == line


def test_what_it_would_record_is_of_the_whole_conversation(
    page: Page, pictures: list[dict[str, str]]
) -> None:
    first = asked(page, form(pictures[0]))[-1]
    for image, times in ((None, 1), (pictures[0], 2)):
        question = form(image, follows=first[page.run_id])
        said = page.on_plan(request(), *question[:-1])[page.plan]
        assert f"{times * run_of(page, first).capture.patch_count} visual tokens" in said


def test_without_an_answer_there_is_nothing_to_follow(
    page: Page, pictures: list[dict[str, str]], mine: str
) -> None:
    _, line = refused(page.on_generate(request(), *form(pictures[0], follows=""), None))
    assert line == "This answer is no longer kept: ask again."
    _, line = refused(page.on_generate(request("you"), *form(pictures[0], follows=mine), None))
    assert line == "This answer is no longer kept: ask again."
    question: list[Any] = form(None)
    question[3] = 7
    _, line = refused(page.on_generate(request(), *question, None))
    assert line == NO_ANSWER


def test_what_comes_by_itself_with_an_answer_can_come_late(page: Page, run: Run, mine: str) -> None:
    """Another answer is there by then: nothing is shown of the one before, and nobody is told of an error."""
    page.sessions.keep("me", run)
    assert page.around.own(request(), mine) is None
    with pytest.raises(KeyError, match="no longer kept"):
        page.around.own(request("you"), mine)
