"""The interactive page: the viewer with all maps in it, in one file."""

from __future__ import annotations

from pathlib import Path

import viewer
from records.selection import key_of
from report.parts import Pictures
from report.view import Subject
from utils import Watch


def html(subject: Subject, pictures: Pictures, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write one HTML file with the viewer and all maps in it; it opens from disk and asks for nothing.

    It opens on the chosen tokens; where none are chosen, on the most telling word.
    """
    selection, maps = subject.selection, subject.maps
    if selection.of_prompt and maps.prompt is None:
        raise ValueError("there are no maps of the prompt")
    shown = viewer.payload(
        subject.capture,
        pictures,
        maps.answer,
        maps.prompt,
        look=selection.look,
        scale=selection.scale,
        pick=None if selection.tokens is None else key_of(selection.tokens, selection.of_prompt),
        without=subject.without,
        checks=subject.checks,
        leaned=viewer.leaned_on(subject.capture, selection.layers),
    )
    path.write_text(viewer.report(shown), encoding="utf-8")
    return ()
