"""What is looked at before anything slow begins: pictures and clips, and the folder to write into."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import config
from commands.terminal import UsageError, say
from records.look import Look
from records.opening import has_clip, note_of, open_visual
from records.pictures import ImageError, hashes_of
from records.videos import open_video
from utils import alone_or_list, one_line


def take_pictures(args: argparse.Namespace, paths: Sequence[str]) -> None:
    """Open the picture or clip, or several, and hash them once: who works with them takes both from here.

    `picture` and `image_hash` of the arguments are then those of one, or lists. The question follows no
    answer: `history` is empty. What was left out of a picture is said on stderr.
    """
    fps, most = (vars(args).get(name) for name in ("fps", "max_frames"))
    open_clip = partial(open_video, fps=fps, max_frames=most)
    shown = []
    for number, path in enumerate(paths, start=1):
        place = f"picture {number} ({one_line(path)}): " if len(paths) > 1 else ""
        try:
            shown.append(open_visual(Path(path), open_clip))
        except ImageError as error:
            raise UsageError(f"{place or f'{one_line(path)}: '}{error}") from error
        if note := note_of(shown[-1]):
            say(f"note: {place}{note}")
    if (fps, most) != (None, None) and not has_clip(shown):
        raise UsageError("--fps and --max-frames belong to a clip, and no file is one")
    args.picture, args.image_hash = alone_or_list(shown), alone_or_list(hashes_of(shown))
    args.history, args.parent = (), None


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
