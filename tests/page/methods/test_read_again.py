"""A method of the page has the model read an answer again: once, the picked word first, stopped cleanly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import page.explorer as explorer_room
import page.reading_again as reading_room
from model import ModelError
from page.jobs import Job
from page.model_room import ModelRoom
from page.reading_again import in_turn, read_again
from page.sessions import Run
from page.site import Page
from records.store import Store
from tests.page.kit import NEW
from tests.page.methods.kit import answering, computed, wanted
from tests.page.telling import request
from utils import Stopped

pytestmark = pytest.mark.timeout(240)


def test_maps_are_computed_once_and_kept(page: Page, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = answering(page, run, "rollout")
    monkeypatch.setattr(reading_room, "token_maps", None)  # from here on nothing is computed
    assert answering(page, run, "rollout") is first
    assert list(run.maps) == ["rollout"]


@pytest.mark.parametrize("only", [False, True])
def test_the_picked_words_maps_are_computed_first(
    page: Page, run: Run, monkeypatch: pytest.MonkeyPatch, only: bool
) -> None:
    asked: list[list[int]] = []
    token_maps = reading_room.token_maps

    def heard(*given: Any, tokens: list[int], **rest: Any) -> Any:
        asked.append(tokens)
        return token_maps(*given, tokens=tokens, **rest)

    monkeypatch.setattr(reading_room, "token_maps", heard)
    found = answering(page, run, "tam", 3, 2, only=only)
    others = [token for token in range(NEW) if token not in (2, 3)]
    assert asked == ([[2, 3]] if only else [[2, 3], others])
    truth = computed(page.room, run, "tam")
    assert found.tokens == ((2, 3) if only else tuple(range(NEW)))
    largest = float(np.abs(truth.maps).max())
    np.testing.assert_allclose(found.maps, truth.maps[list(found.tokens)], rtol=1e-3, atol=1e-5 * largest)
    answering(page, run, "tam", 2)
    assert asked[1:] == [others]  # only what was missing


def test_an_answer_of_another_model_is_refused(
    folders: tuple[Path, Path], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ModelRoom()
    elsewhere = Page(other, "demo", store=Store(tmp_path / "other"))
    for load in (False, True):
        if load:
            other.load(str(folders[1]))
        now = f"{folders[1]} is loaded now" if load else "no model is loaded now"
        calls: list[Callable[[], Any]] = [
            lambda: answering(elsewhere, run, "tam"),
            lambda: other.work(lambda _: pytest.fail("it was called"), Job("me", "check"), run.capture),
        ]
        for call in calls:
            with pytest.raises(ModelError) as caught:
                call()
            expected = f"This answer was given by {run.capture.model_name}, and {now}: ask again."
            assert str(caught.value) == expected
    assert run.maps == {}
    assert not other.busy


def test_the_nearest_words_come_next_and_long_answers_are_not_read_to_the_end() -> None:
    assert in_turn(range(5), 5) == [[0, 1, 2, 3, 4]]
    assert in_turn(range(5), 5, [3]) == [[3], [0, 1, 2, 4]]
    assert in_turn([0, 1, 4], 5, [2]) == [[0, 1, 4]]  # the picked one's map is there
    assert in_turn([], 5, [2]) == []
    assert in_turn(range(5), 5, [3], unasked=0) == [[3]]
    assert in_turn(range(5), 5, [0, 1], unasked=3) == [[0, 1], [2]]
    asked, near, rest = in_turn(range(1000), 1000, [500], unasked=64)
    assert asked == [500]
    assert near == [*range(492, 500), *range(501, 509)]
    assert len(rest) == 64 - 17
    assert {499, 500, 501}.isdisjoint(rest)
    assert max(abs(token - 500) for token in rest) <= 32
    later = [token for token in range(1000) if token not in {*asked, *near, *rest}]
    assert in_turn(later, 1000, [900], unasked=64) == [[900]]  # asked for; enough others are there


def test_a_picked_word_of_a_long_answer_is_read_with_its_neighbours_only(
    page: Page, run: Run, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer_room, "UNASKED", 3)
    there = {}
    for key in ("5", "0", "all"):
        list(page.explorer.on_maps(request(), mine, None, key, wanted(method="tam")))
        there[key] = run.maps["tam"].tokens
    assert there == {"5": (3, 4, 5), "0": (0, 3, 4, 5), "all": tuple(range(NEW))}


def test_a_stop_leaves_nothing_half(page: Page, run: Run) -> None:
    steps: list[tuple[int, int]] = []

    class Impatient(Job):
        def steps(self, done: int, count: int) -> None:
            steps.append((done, count))
            if done:
                self.stop.set()

    job = Impatient("me", "method")
    with pytest.raises(Stopped):
        read_again(page.around, run, "occlusion", job)
    assert 0 < steps[-1][0] < steps[-1][1]
    assert run.maps == {}
    assert not page.room.busy
    with pytest.raises(Stopped):  # also before it began
        read_again(page.around, run, "occlusion", job)
    whole = answering(page, run, "occlusion")
    np.testing.assert_array_equal(whole.maps, computed(page.room, run, "occlusion").maps)
