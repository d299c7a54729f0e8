"""What is looked at before anything slow begins: pictures and clips, and the folder to write into."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image

import config
from commands.terminal import UsageError, say
from records.look import Look
from records.pictures import NO_PICTURE, ImageError, hashes_of, open_image
from records.videos import Video, open_video
from utils import one_line

# Of files that are told of as clips where they can be read as neither.
CLIP_ENDING = re.compile(r"\.(mp4|m4v|mov|webm|mkv|avi|mpg|mpeg|ts|wmv|flv|ogv)", re.IGNORECASE)


def opened(path: str | Path, fps: float | None = None, max_frames: int | None = None) -> Image.Image | Video:
    """Return the picture, or frames of the clip, as `open_image` and `open_video` do.

    What is no picture by its content is read as a clip. Where it is neither, its ending says which of the two
    is told of.

    Raises:
        ImageError: one line, without a path.
    """
    is_clip = CLIP_ENDING.fullmatch(Path(path).suffix) is not None
    try:
        return open_image(path)
    except ImageError as error:
        if not (is_clip or str(error).startswith(NO_PICTURE)):
            raise
        try:
            return open_video(path, fps, max_frames)
        except ImageError as of_clip:
            raise (of_clip if is_clip else error) from None


def take_pictures(args: argparse.Namespace, paths: Sequence[str]) -> None:
    """Open the picture or clip, or several, and hash them once: who works with them takes both from here.

    `picture` and `image_hash` of the arguments are then those of one, or lists. What was left out of one is
    said on stderr.
    """
    how = (vars(args).get("fps"), vars(args).get("max_frames"))
    shown = []
    for number, path in enumerate(paths, start=1):
        place = f"picture {number} ({one_line(path)}): " if len(paths) > 1 else ""
        try:
            shown.append(opened(path, *how))
        except ImageError as error:
            raise UsageError(f"{place or f'{one_line(path)}: '}{error}") from error
        if note := note_of(shown[-1]):
            say(f"note: {place}{note}")
    if any(given is not None for given in how) and not has_clip(shown):
        raise UsageError("--fps and --max-frames belong to a clip, and no file is one")
    hashes = hashes_of(shown)
    args.picture, args.image_hash = (shown[0], hashes[0]) if len(paths) == 1 else (shown, hashes)


def note_of(shown: Image.Image | Video) -> str:
    """Return what a person should know of a picture or clip; "" for nothing."""
    return shown.note if isinstance(shown, Video) else str(shown.info.get("note", ""))


def has_clip(shown: object) -> bool:
    """Return whether this is a clip, or has one among several."""
    return any(isinstance(one, Video) for one in (shown if isinstance(shown, list) else [shown]))


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
