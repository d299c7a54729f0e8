"""Pictures and clips as the viewer draws them: addresses that hold them.

Goes in: pictures as they were given. Comes out: plain data that is ready for JSON.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

import visualization
from drawing.glow import warmth
from records.videos import Video, moment
from records.visuals import Visual

PICTURE_SIDE = 1280  # pixels of the longer side, at most
JPEG_QUALITY = 95
FRAME_SIDE, FRAME_QUALITY = 768, 88  # of a clip, which has many


def pictures_payload(
    pictures: Image.Image | Sequence[Image.Image | Video], visuals: Sequence[Visual] = ()
) -> list[dict[str, Any]]:
    """Return what maps are drawn on, in the order of their patches: each picture, each step of a clip.

    Where there is a clip, `visuals` are the capture's. Each is a data URL, its size and its warmth: lossless,
    unless a good JPEG is smaller; a step of a clip is its first frame, a JPEG and smaller. `warmth` is how
    far its own warm colours stand back under the glow, 0..1: `drawing.glow.warmth`.
    """
    found = []
    for number, one in enumerate([pictures] if isinstance(pictures, Image.Image) else pictures):
        if isinstance(one, Image.Image):
            found.append(_picture(one, PICTURE_SIDE, lossless=True))
        else:
            steps = visuals[number].grid[0]
            moments = (moment(one, step, steps) for step in range(steps))
            found += [_picture(image, FRAME_SIDE, lossless=False) for image in moments]
    return found


def _picture(image: Image.Image, side: int, *, lossless: bool) -> dict[str, Any]:
    picture = visualization.fitted(visualization.as_rgb(image), max_side=side)
    files = {"jpeg": io.BytesIO()}
    picture.save(files["jpeg"], "JPEG", quality=JPEG_QUALITY if lossless else FRAME_QUALITY, subsampling=0)
    if lossless:
        files["png"] = io.BytesIO()
        picture.save(files["png"], "PNG", optimize=True)
    kind, data = min(((kind, file.getvalue()) for kind, file in files.items()), key=lambda one: len(one[1]))
    url = f"data:image/{kind};base64,{base64_text(data)}"
    return {"url": url, "width": picture.width, "height": picture.height, "warmth": warmth(picture)}


def base64_text(data: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode("ascii")
