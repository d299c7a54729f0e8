"""The page's callbacks: files to share."""

import re
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import page.share as share_room
import visualization
from attention_processor import AttentionProcessor
from model import ModelError
from page.jobs import Job
from page.model_room import ModelRoom
from page.sessions import Run
from page.share import STOPPED, sized
from page.shown import subject_of
from page.site import Page
from records.capture import Capture
from records.token_maps import TokenMaps
from report.formats import FORMATS
from report.png import figure
from report.view import short_id, whole_drawing
from tests.choosing import selection_of, wanted
from tests.page.callbacks.kit import LOOK, file_of, form, shared
from tests.page.kit import ALL, NEW, attention_maps
from tests.page.telling import changes, notice, refused, request, viewed
from tests.serving import noise

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("kind", list(FORMATS))
def test_each_file_is_of_this_answer_and_its_name_is_ours(
    page: Page, mine: str, capture: Capture, kind: str, files_of_the_page: Path
) -> None:
    you = page.sessions.keep("you", Run(replace(capture, text="X" * len(capture.text)), (noise(0),)))
    shown = shared(page, mine, kind)
    assert shown[0][page.share.line] == "Drawing …"
    assert changes(shown[0][page.share.make])["interactive"] is False
    assert changes(shown[0][page.share.stop])["visible"] is True
    file = file_of(page, shown)
    assert files_of_the_page in file.parents
    assert len(file.parent.name) >= 40
    chosen = "-word-001" if kind in ("png", "html") else ""  # the others begin with the whole answer
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


def test_the_numbers_of_a_file_are_those_of_the_layers_and_heads_that_are_shown(
    page: Page, mine: str, capture: Capture
) -> None:
    file = file_of(page, shared(page, mine, "npz", wanted=wanted([1], [2, 3], "max")))
    with np.load(file) as numbers:
        maps = [numbers[name] for name in numbers.files if numbers[name].shape[1:] == capture.grid]
    truth = attention_maps(capture, (1,), (2, 3), "max")
    assert any(one.shape == truth.shape and np.allclose(one, truth, atol=1e-7) for one in maps)


def test_a_picture_for_each_token_or_word(page: Page, mine: str, capture: Capture) -> None:
    words = len(AttentionProcessor(capture).words())
    for by, count in (("word", words), ("token", NEW)):
        with zipfile.ZipFile(file_of(page, shared(page, mine, "zip", by=by))) as packed:
            assert sum(name.endswith(".png") for name in packed.namelist()) == count


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"run_id": None}, "There is no answer to share yet: ask something first."),
        ({"run_id": "wrong"}, "This answer is no longer kept: ask again."),
        ({"visitor": "you"}, "This answer is no longer kept: ask again."),
        ({"kind": "exe"}, "The file must be one of png, zip, gif, mp4, pdf, html, npz."),
        ({"kind": None}, "The file must be one of"),
        ({"key": "99"}, "There is no token 99: there are 6, 0 to 5."),
        ({"by": "letter"}, "A map is for each word or token."),
        ({"look": {"scale": "own"}}, "must be a number"),
        ({"wanted": wanted(heads=[0.5])}, "The heads must be numbers, such as 0-3,5."),
        ({"wanted": wanted(heads="2-1")}, "The range of heads 2-1 runs backwards."),
        ({"wanted": wanted(method="tam")}, "Token activation map is not computed for this answer yet"),
    ],
)
def test_what_cannot_be_made_is_one_line(
    page: Page, mine: str, change: dict[str, Any], line: str, files_of_the_page: Path
) -> None:
    before = set(files_of_the_page.iterdir())
    form = {"run_id": mine, "kind": "png", "by": "word", "key": "1", "look": LOOK, "wanted": ALL} | change
    told = page.share.on_make(request(form.pop("visitor", "me")), **form)
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
    told = page.share.on_make(request(), mine, "zip", "token", "all", LOOK, ALL)
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
    assert not folders[0].exists()
    assert len(page.jobs) == 0


def test_sizes_are_for_people() -> None:
    assert [sized(size) for size in (3, 1499, 999_499, 2_340_000)] == ["1 kB", "1 kB", "999 kB", "2.3 MB"]


def test_the_picture_in_a_file_is_the_one_of_the_shell(page: Page, mine: str, run: Run) -> None:
    """The same view, drawn by the drawing room alone: the map's part of the picture is the same."""
    file = file_of(page, shared(page, mine, "png", key="2", wanted=wanted([0, 1])))
    subject = subject_of(run, selection_of(run, wanted([0, 1]), "2", "word", LOOK))
    low, high = visualization.shared_range(
        [*attention_maps(run.capture, (0, 1)), *attention_maps(run.capture, (0, 1), of_prompt=True)]
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
    (only,), line = refused(empty.on_generate(request(), *form(pictures[0]), None))
    assert line == "No model is loaded: press Load first."
    assert viewed(empty, only)["notice"] == notice(line)
    with pytest.raises(ModelError, match="press Load first"):
        empty.room.work(lambda _: None, Job("me", "answer"))


def test_a_file_of_maps_that_are_not_all_there_is_refused(page: Page, mine: str, run: Run) -> None:
    values = np.random.default_rng(3).random((2, 5, 8), np.float32)
    run.learn(maps=TokenMaps("tam", (1, 4), values))
    told = page.share.on_make(request(), mine, "zip", "word", "all", LOOK, wanted(method="tam"))
    (only,), line = refused(told)
    assert line == "Token activation map has no map of this yet: choose it again, and let it finish."
    assert only == {page.share.line: line}
    assert file_of(page, shared(page, mine, "png", "4", wanted=wanted(method="tam"))).is_file()
