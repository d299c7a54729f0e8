"""The Grad-CAM tab: stop."""

import re
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

import config
from model import ModelError
from page.cams import Asked
from page.gradcam_tab import STOPPED, GradCamTab
from page.jobs import Job
from page.model_room import ModelRoom
from page.sessions import Run
from records.grad_cam import GradCam
from tests.page.gradcam.kit import NOISE, asked, at_work, begun, computed
from tests.page.telling import request
from utils import Stopped

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


@pytest.mark.parametrize("end", ["stop", "leave", "generate"])
def test_it_ends_when_it_is_stopped(
    tab: GradCamTab, run: Run, kept: str, at_the_first_pass: threading.Event, end: str
) -> None:
    jobs = tab.around.jobs
    told = begun(tab, kept, asked())
    assert next(one for one in told if one[tab.shown]["count"])[tab.shown]["done"] == 0
    assert at_the_first_pass.wait(60)
    assert at_work(tab)
    newer = jobs.started("me", "answer") if end == "generate" else nullcontext()
    if end == "stop":
        tab.on_stop(request("me"))
    elif end == "leave":
        jobs.end("me", by="nobody")
    with newer as job:
        last = [outputs for outputs in told if outputs != gr.skip()]
        assert [outputs[tab.problem] for outputs in last] == ([STOPPED] if end == "stop" else [])
        assert run.cam is None
        assert not at_work(tab)
        assert jobs.stop("me") == (end == "generate")  # the new question was still there
        assert job is None or not job.left_to
    assert len(jobs) == 0


@pytest.mark.parametrize("newer", ["method", "check"])
def test_something_else_that_begins_leaves_no_half_computed_tab(
    tab: GradCamTab, run: Run, kept: str, at_the_first_pass: threading.Event, newer: Any
) -> None:
    told = begun(tab, kept, asked())
    next(told)
    assert at_the_first_pass.wait(60)
    with tab.around.jobs.started("me", newer):
        last = list(told)[-1]
    assert last[tab.shown].constructor_args["value"] == {"state": "empty"}
    assert last[tab.stop].constructor_args["interactive"] is False
    assert last[tab.problem] == ""
    assert run.cam is None


def test_one_that_waited_while_something_else_was_asked_does_nothing(
    tab: GradCamTab, run: Run, kept: str
) -> None:
    with tab.around.room.queue.turn():
        told = begun(tab, kept, asked())
        with tab.around.jobs.started("me", "answer") as newer:
            assert list(told)[-1] == gr.skip()
            assert not newer.stop.is_set()
        assert run.cam is None
        told = begun(tab, kept, asked())
        tab.on_stop(request("me"))
        assert list(told)[-1][tab.problem] == STOPPED


def test_who_waits_is_told_the_place_and_who_finds_the_line_full_is_refused(
    tab: GradCamTab, run: Run, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = asked(samples=1)
    with tab.around.room.queue.turn():
        told = begun(tab, kept, form)
        assert next(one for one in told if "ahead" in one[tab.shown])[tab.shown]["ahead"] == 1
        monkeypatch.setattr(config, "QUEUE_SIZE", 0)
        other = tab.around.sessions.keep("you", Run(run.capture, run.originals))
        refused = begun(tab, other, form, "you")
        full = "Too many people wait for the model. Try again in a minute."
        lines: list[dict[Any, Any]] = []
        with pytest.raises(gr.Error, match=re.escape(full)):
            lines.extend(refused)
        assert lines[-1][tab.problem] == full
        assert not tab.around.jobs.stop("you")
    assert [one[tab.shown]["state"] for one in told][-1] == "done"
    assert run.cam is not None
    tab.around.sessions.forget("you")


def test_another_model_than_the_answers_is_one_line(folders: tuple[Path, Path], run: Run) -> None:
    room = ModelRoom()

    def computed(job: Job) -> GradCam:
        return Asked("auto", None, NOISE).computed(room, run, job)

    with pytest.raises(ModelError, match="and no model is loaded now: ask again"):
        computed(Job("me", "grad-cam"))
    room.load(str(folders[1]))
    line = f"This answer was given by {folders[0]}, and {folders[1]} is loaded now: ask again."
    with pytest.raises(ModelError, match=re.escape(line)):
        computed(Job("me", "grad-cam"))
    stopped = Job("me", "grad-cam")
    stopped.stop.set()
    with pytest.raises(Stopped):
        computed(stopped)


def test_without_noise_one_pass_is_enough(tab: GradCamTab, kept: str) -> None:
    last = computed(tab, kept, asked(noise_std=0))[-1][tab.shown]
    assert (last["state"], last["count"]) == ("done", 1)
