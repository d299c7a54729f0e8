"""The interactive page: the viewer with all maps in it, in one file."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

import viewer
from report.view import Subject
from utils import Watch


def html(subject: Subject, image: Image.Image, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write one HTML file with the viewer and all maps in it; it opens from disk and asks for nothing."""
    selection, maps = subject.selection, subject.maps
    if selection.of_prompt and maps.prompt is None:
        raise ValueError("there are no maps of the prompt")
    shown = viewer.payload(
        subject.capture,
        image,
        maps.answer,
        maps.prompt,
        look=selection.look,
        scale=selection.scale,
        leaned=viewer.leaned_on(subject.capture, selection.layers),
    )
    path.write_text(viewer.report(shown), encoding="utf-8")
    return ()
