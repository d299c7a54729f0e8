"""What is worked out about an answer: learnt once, kept beside it, and there again when it is reopened."""

import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio.utils import get_upload_folder

import page.answering as answering_room
from evaluation.removal import check_map
from evaluation.without_picture import logprobs_without
from methods import TokenMaps, selected_maps, token_maps
from model import ModelError
from page.answering import Inquiry
from page.jobs import Job
from page.model_room import ModelRoom
from page.recent import Recent
from page.sessions import Run
from page.site import Page
from records.capture import Capture
from records.map_check import MapCheck
from records.selection import parsed_selection
from records.store import Store
from tests.page.kit import NEW, loaded_of
from tests.serving import PROMPT, noise
from utils import Stopped

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def run(page: Page, capture: Capture) -> Run:
    """An answer that is kept in the store."""
    return Run(capture, (noise(0),), kept=page.store.save(capture, noise(0)))


def job() -> Job:
    return Job("me", "answer")


def maps_of(room: ModelRoom, capture: Capture, *tokens: int) -> TokenMaps:
    given: dict[str, Any] = {"image": noise(0), **loaded_of(room)}
    return token_maps("gradient-attention", capture, tokens=tokens or None, **given)


def check_of(room: ModelRoom, capture: Capture, maps: TokenMaps, *tokens: int) -> MapCheck:
    given: dict[str, Any] = {"capture": capture, "image": noise(0), **loaded_of(room)}
    return replace(check_map(tokens=tokens, heat=maps.token_map(tokens), **given), map_key=maps.key)


# --- How much the picture was needed ---


def test_the_pass_without_the_picture_is_made_once_and_kept(
    page: Page, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = logprobs_without(capture=run.capture, **loaded_of(page.room))
    found = page.answering.need(run, job())
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert run.without is found
    assert run.kept is not None
    np.testing.assert_array_equal(page.store.open(run.kept).without, found)
    monkeypatch.setattr(answering_room, "logprobs_without", None)
    assert page.answering.need(run, job()) is found
    reopened = Run.of(page.store.open(run.kept))
    np.testing.assert_array_equal(page.answering.need(reopened, job()), found)


def test_what_is_there_needs_no_model(page: Page, capture: Capture, tmp_path: Path) -> None:
    empty = Page(ModelRoom(), "demo", store=Store(tmp_path / "other"))
    known = np.zeros(NEW, np.float32)
    assert empty.answering.need(Run(capture, (noise(0),), without=known), job()) is known
    run = Run(capture, (noise(0),))
    with pytest.raises(ModelError, match="and no model is loaded now: ask again") as told:
        empty.answering.need(run, job())
    assert len(str(told.value).splitlines()) == 1
    assert run.without is None


def test_another_models_answer_is_refused(page: Page, run: Run) -> None:
    other = Run(replace(run.capture, model_name="another"), run.originals)
    with pytest.raises(ModelError, match=r"^This answer was given by another, and .* is loaded now"):
        page.answering.need(other, job())
    assert not page.room.busy


def test_who_wants_it_no_more_stops_it(page: Page, run: Run) -> None:
    mine = job()
    mine.stop.set()
    with pytest.raises(Stopped):
        page.answering.need(run, mine)
    assert run.without is None
    assert not page.room.busy


def test_two_who_want_it_at_once_cost_one_pass(page: Page, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []

    def counted(*given: Any) -> np.ndarray:
        passes.append(1)
        return logprobs_without(*given)

    monkeypatch.setattr(answering_room, "logprobs_without", counted)
    threads = [threading.Thread(target=page.answering.need, args=(run, job())) for _ in range(2)]
    with page.room.queue.turn():
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(60)
    assert run.without is not None
    assert passes == [1]


# --- Maps and tests ---


def test_the_picked_words_maps_come_first_and_the_rest_joins_them(page: Page, run: Run) -> None:
    every = maps_of(page.room, run.capture)
    assert run.missing("gradient-attention") == tuple(range(NEW))
    page.answering.remember(run, maps=maps_of(page.room, run.capture, 2, 3))
    assert run.missing("gradient-attention") == (0, 1, 4, 5)
    assert run.maps["gradient-attention"].tokens == (2, 3)
    page.answering.remember(run, maps=maps_of(page.room, run.capture, *run.missing("gradient-attention")))
    assert run.missing("gradient-attention") == ()
    np.testing.assert_allclose(run.maps["gradient-attention"].maps, every.maps, rtol=1e-4, atol=1e-7)
    assert run.kept is not None
    kept = page.store.open(run.kept).maps["gradient-attention"]
    np.testing.assert_array_equal(kept.maps, run.maps["gradient-attention"].maps)
    other = replace(every, settings={**every.settings, "layers": [0]})
    run.learn(maps=other)
    assert run.maps["gradient-attention"] is other


def test_all_that_was_worked_out_is_there_when_it_is_reopened(page: Page, run: Run) -> None:
    maps = maps_of(page.room, run.capture)
    check = check_of(page.room, run.capture, maps, 2, 3)
    page.answering.need(run, job())
    page.answering.remember(run, maps=maps, check=check)
    assert run.checks == {(maps.key, "2-3"): check}
    recent = Recent.__new__(Recent)
    recent.store = page.store
    again = recent.opened([run.kept], run.kept)
    assert (again.kept, again.reused) == (run.kept, True)
    np.testing.assert_array_equal(again.without, run.without)
    np.testing.assert_array_equal(again.maps["gradient-attention"].maps, maps.maps)
    (key,) = again.checks
    assert key == (maps.key, "2-3")
    assert again.checks[key].as_dict() == check.as_dict()
    selection = parsed_selection(again.capture, method="gradient-attention")
    shown = selected_maps(again.capture, selection, again.maps).answer
    assert shown is not None
    assert shown.key == check.map_key


def test_the_same_question_again_comes_with_all_of_it(page: Page) -> None:
    file = Path(get_upload_folder()) / "worked-out.png"
    noise(0).save(file)
    question = Inquiry.of({"path": str(file)}, PROMPT, NEW, 0, 1, 0)
    first = page.answering.answer(question, job())
    page.answering.need(first, job())
    again = page.answering.answer(question, job(), reuse=True)
    assert again.reused
    assert again.originals is question.images
    np.testing.assert_array_equal(again.without, first.without)


def test_what_cannot_be_kept_is_known_all_the_same(
    page: Page, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "add", full)
    with caplog.at_level(logging.WARNING):
        page.answering.need(run, job())
    assert run.without is not None
    assert "what was found could not be kept in" in caplog.text
    run.kept = None
    page.answering.remember(run, maps=maps_of(page.room, run.capture, 1))
    assert run.maps["gradient-attention"].tokens == (1,)


def test_the_maps_that_are_shown_have_the_key_of_those_that_were_tested(capture: Capture) -> None:
    plain = token_maps("attention", capture)
    shown = selected_maps(capture, parsed_selection(capture)).answer
    assert shown is not None
    assert shown.key == plain.key
    without = selected_maps(capture, replace(parsed_selection(capture), no_sinks=True)).answer
    fewer = selected_maps(capture, parsed_selection(capture, layers="1")).answer
    assert without is not None
    assert fewer is not None
    assert len({shown.key, without.key, fewer.key}) == 3
