"""What is looked at before anything slow begins: the picture, and the folder to write into."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image

import config
from commands.terminal import UsageError, say
from records.look import Look
from records.pictures import ImageError, image_hash, open_image
from utils import one_line


def opened(path: str) -> Image.Image:
    """Return the picture; what was left out of it is said on stderr."""
    try:
        image = open_image(path)
    except ImageError as error:
        raise UsageError(f"{one_line(path)}: {error}") from error
    if "note" in image.info:
        say(f"note: {image.info['note']}")
    return image


def take_picture(args: argparse.Namespace, path: str) -> None:
    """Open the picture and hash it, once: whoever works with it later takes both from the arguments."""
    args.picture = opened(path)
    args.image_hash = image_hash(args.picture)


def take_pictures(args: argparse.Namespace, paths: Sequence[str]) -> None:
    """Open the picture, or several, which are then lists in the arguments."""
    if len(paths) == 1:
        take_picture(args, paths[0])
        return
    args.picture = [opened(path) for path in paths]
    args.image_hash = [image_hash(picture) for picture in args.picture]


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
