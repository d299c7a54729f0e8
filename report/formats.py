"""The formats in which an answer is taken away: one row each, and `export`, which writes one of them.

Goes in: a `Subject`, its pictures, and the name of a format. Comes out: one file, whole or not at all, that
says what it was made from and what it does not prove. Knows nothing of models.

Every file's name is ours. What a model or a person wrote goes into a file, never into its name; of the names
inside an archive the letters of a word are the end.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from report.animation import gif, mp4
from report.html import html
from report.npz import npz
from report.parts import Given, Pictures, pictures_of
from report.pdf import pdf
from report.png import archive, png
from report.view import Subject, short_id, whole_drawing
from utils import Watch, atomic_write, shown

if TYPE_CHECKING:
    from records.capture import Capture


class Format(NamedTuple):
    """A kind of file: its name and what is in it, for people; its ending; what writes it."""

    name: str
    ending: str
    description: str
    write: Callable[[Subject, Pictures, Path, Watch], tuple[str, ...]]


FORMATS = {
    "png": Format("Picture", ".png", "the chosen tokens together, in one picture", png),
    "zip": Format("Pictures", ".zip", "a picture of each word or token, in an archive", archive),
    "gif": Format("Animation", ".gif", "word after word, two a second; a clip under one map", gif),
    "mp4": Format("Video", ".mp4", "the same, as a video", mp4),
    "pdf": Format("Document", ".pdf", "picture, question, answer, settings and the words' maps", pdf),
    "html": Format("Interactive page", ".html", "one file to explore in a browser, offline", html),
    "npz": Format("Numbers", ".npz", "the raw maps, with their axes named; numpy.load opens it", npz),
    # One more: docs/add-a-format.md
}


def shows_one_map(kind: str, capture: Capture) -> bool:
    """Return whether a format shows, or opens on, the chosen tokens together; others show each."""
    moves = kind in ("gif", "mp4") and any(one.kind == "video" for one in capture.visuals)
    return kind in ("png", "html") or moves


class Exported(NamedTuple):
    """A file that was written, and what a person should know of it."""

    path: Path
    notes: tuple[str, ...]


def export(
    kind: str, subject: Subject, given: Given | None, folder: Path, watch: Watch | None = None
) -> Exported:
    """Write one of FORMATS into a folder, whole or not at all, and return it; a file of its name is replaced.

    `given` are the picture or clip, or all of them in the order of the prompt, where the capture has none
    with it.

    Raises:
        ValueError: for an unknown format, nothing to draw, a token that is not there, other pictures than the
            answer's.
        Stopped: if the watch's event was set; nothing is left behind.
    """
    if not isinstance(kind, str) or kind not in FORMATS:
        raise ValueError(f"a format is one of {', '.join(FORMATS)}; got {shown(kind)}")
    if not subject.shown:
        raise ValueError("the answer is empty: there is nothing to draw")
    pictures = pictures_of(subject.capture, given)
    form, chosen = FORMATS[kind], "-prompt" if subject.selection.of_prompt else ""
    if subject.selection.tokens is not None:
        chosen = f"-{whole_drawing(subject).name.replace('_', '-')}"
    path = Path(folder) / f"attention-{short_id(subject.capture)}{chosen}{form.ending}"
    with atomic_write(path) as unfinished:
        notes = form.write(subject, pictures, unfinished, watch or Watch())
    return Exported(path, notes)
