"""Opening what a person hands over, a picture or a clip, by what is in it.

Goes in: a file. Comes out: a Pillow picture as `open_image` gives it, or a `Video`. Knows nothing of models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

from records.pictures import NO_PICTURE, ImageError, open_image
from records.videos import Video, open_video

# Of files that are told of as clips where they can be read as neither.
CLIP_ENDING = re.compile(r"\.(mp4|m4v|mov|webm|mkv|avi|mpg|mpeg|ts|wmv|flv|ogv|3gp)", re.IGNORECASE)


def open_visual(path: Path, open_clip: Callable[[Path], Video] = open_video) -> Image.Image | Video:
    """Return the picture as `open_image` does, or frames of the clip as `open_clip` does.

    What is no picture by its content is read as a clip. Where it is neither, its ending says which of the two
    is told of.

    Raises:
        ImageError: one line, without a path.
    """
    is_clip = CLIP_ENDING.fullmatch(path.suffix) is not None
    try:
        return open_image(path)
    except ImageError as error:
        if not (is_clip or str(error).startswith(NO_PICTURE)):
            raise
        try:
            return open_clip(path)
        except ImageError as of_clip:
            raise (of_clip if is_clip else error) from None


def has_clip(shown: Iterable[Image.Image | Video]) -> bool:
    """Return whether there is a clip among these."""
    return any(isinstance(one, Video) for one in shown)


def note_of(shown: Image.Image | Video) -> str:
    """Return what a person should know of a picture or clip; "" for nothing."""
    return shown.note if isinstance(shown, Video) else str(shown.info.get("note", ""))
