"""What is looked at before anything slow begins: pictures and clips, and the folder to write into."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from PIL.Image import Image

import config
from commands.terminal import UsageError, say
from records.look import Look
from records.opening import has_clip, note_of, open_visual
from records.pictures import ImageError, hashes_of
from records.videos import Video, open_video
from utils import alone_or_list, one_line


def take_pictures(args: argparse.Namespace, paths: Sequence[str]) -> None:
    """Open the picture or clip, or several, and hash them once: who works with them takes both from here.

    `picture` and `image_hash` of the arguments are then those of one, or lists. The question follows no
    answer: `history` is empty. What was left out of a picture is said on stderr.
    """
    fps, most = (vars(args).get(name) for name in ("fps", "max_frames"))
    try:
        shown, notes = open_visuals([Path(path) for path in paths], paths, fps, most)
    except ImageError as error:
        place = f"{one_line(paths[0])}: " if len(paths) == 1 else ""
        raise UsageError(f"{place}{error}") from error
    for note in notes:
        say(f"note: {note}")
    if (fps, most) != (None, None) and not has_clip(shown):
        raise UsageError("--fps and --max-frames belong to a clip, and no file is one")
    args.picture, args.image_hash = alone_or_list(shown), alone_or_list(hashes_of(shown))
    args.history, args.parent = (), None


def open_visuals(
    files: Sequence[Path], names: Sequence[str], fps: float | None, most: int | None
) -> tuple[list[Image | Video], list[str]]:
    """Return pictures and clips, and what a person should know of them; of several, each line names its own.

    Of a clip `fps` frames a second are taken, at most `most`; None is config's.

    Raises:
        ImageError: one line, for one that cannot be used.
    """
    shown: list[Image | Video] = []
    notes = []
    for number, (file, name) in enumerate(zip(files, names, strict=True), start=1):
        place = f"picture {number} ({one_line(name)}): " if len(files) > 1 else ""
        try:
            shown.append(open_visual(file, partial(open_video, fps=fps, max_frames=most)))
        except ImageError as error:
            raise ImageError(f"{place}{error}") from error
        if note := note_of(shown[-1]):
            notes.append(f"{place}{note}")
    return shown, notes


def look_of(args: argparse.Namespace, view: str | None = None) -> Look:
    """Return how maps are drawn; what was not said is config's."""
    return Look(args.colormap, args.alpha, view or config.HEATMAP_VIEW, args.smooth)


def check_folder(output: str | Path) -> Path:
    """Return the folder to write into, or the nearest above it that is there.

    Raises:
        UsageError: if that is a file, or nothing can have this name.
    """
    folders = (Path(output), *Path(output).absolute().parents)
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            Path(output).stat()
        base = next(folder for folder in folders if folder.exists())
    except (OSError, ValueError) as error:  # too long a name, or one with a zero in it
        reason = getattr(error, "strerror", None) or "nothing can have this name"
        raise UsageError(f"cannot write into {one_line(output)}: {reason}") from None
    if not base.is_dir():
        raise UsageError(f"cannot write into {output}: {base} is a file")
    return base
