"""Files to take away: bounds, Stop, errors."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from records.capture import Capture
from records.selection import Selection
from report import animation, pdf, png
from report.formats import FORMATS, export
from report.view import (
    bounded,
    drawings,
)
from tests.attention_processor.kit import text_rows
from tests.report.formats.kit import ALL, LONG, WORDS, frames_of, of, texts_of
from utils import Stopped, Watch


@pytest.mark.parametrize(
    ("kind", "room", "bound"),
    [
        ("zip", png, "MAX_PICTURES"),
        ("gif", animation, "MAX_FRAMES"),
        ("mp4", animation, "MAX_FRAMES"),
        ("pdf", pdf, "MAX_MAPS"),
    ],
)
def test_what_is_left_out_is_said(
    kind: str,
    room: Any,
    bound: str,
    capture: Capture,
    image: Image.Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, bound, 4)
    seen: list[tuple[int, int]] = []
    made = export(kind, of(capture, ALL), image, tmp_path, Watch(lambda *step: seen.append(step)))
    assert len(made.notes) == 1
    assert f"shows 4 of {len(WORDS)} maps" in made.notes[0]
    assert seen[-1] == (4, 4)
    if kind in ("gif", "mp4"):
        assert len(frames_of(made.path)) == 4
    else:
        shown = texts_of(made.path)
        assert len(shown) == 5 if kind == "zip" else "shows 4 of" in shown[0]


def test_even_steps_keep_both_ends(capture: Capture) -> None:
    found, _ = bounded(drawings(of(capture, ALL)), 4, "It")
    assert [one.name for one in found] == ["word_000", "word_003", "word_006", "word_009"]


@pytest.mark.parametrize("kind", LONG)
def test_progress_and_stop(kind: str, capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = export(kind, of(capture, ALL), image, tmp_path, Watch(lambda *step: seen.append(step))).path
    assert seen == [(done, len(WORDS)) for done in range(len(WORDS) + 1)]
    before, stop = path.read_bytes(), threading.Event()

    def after_three(done: int, count: int) -> None:
        if done == 3:
            stop.set()

    with pytest.raises(Stopped):
        export(kind, of(capture, replace(ALL, scale="shared")), image, tmp_path, Watch(after_three, stop))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_what_cannot_be_exported_is_refused(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    empty = replace(
        capture,
        token_ids=(),
        tokens=(),
        text="",
        token_spans=(),
        attention=capture.attention[:0],
        shares=capture.shares[:0],
        text_attention=text_rows(capture.shares[:0], len(capture.context_tokens)),
        logprobs=capture.logprobs[:0],
    )
    cases: list[tuple[str, Capture, Selection, str]] = [
        ("bmp", capture, ALL, "a format is one of png, zip, gif, mp4, pdf, html, npz; got 'bmp'"),
        ("gif", empty, ALL, "the answer is empty"),
        ("zip", capture, replace(ALL, layers=(1,)), "layer 1 was not recorded"),
        ("pdf", capture, replace(ALL, heads=(7,)), "there is no head 7"),
    ]
    for kind, one, view, message in cases:
        with pytest.raises(ValueError, match=message):
            export(kind, of(one, view), image, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_format_is_described() -> None:
    assert list(FORMATS) == ["png", "zip", "gif", "mp4", "pdf", "html", "npz"]
    for kind, form in FORMATS.items():
        assert form.ending == f".{kind}"
        assert form.name
        assert form.description
