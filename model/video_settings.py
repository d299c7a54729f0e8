"""How a checkpoint's processor sees clips: its settings as they were found, mended.

Goes in: what its file says of videos, and the picture's tower that must be able to read the result. Comes
out: settings, for `model.videos` and for transformers' own processor where torchvision lets it work, and a
line for each thing that was mended. Knows nothing of files and frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from model.image_settings import image_settings
from model.standard import Standard

SETTINGS = "video_settings"  # the attribute of a loaded processor that holds them
OWN = ("cap_pixels_per_frame", "max_video_tokens", "video_processor_type")  # beside those that pictures have

BOUNDS = {"size", "min_pixels", "max_pixels"}  # names for them


def video_settings(
    found: Mapping[str, Any] | None, tower: Any, standard: Standard
) -> tuple[dict[str, Any], list[str]]:
    """Return what is done to the frames of a clip, by the names in the file, and what was mended.

    `found` is what the checkpoint says, None if it says nothing; published ones of the first families do not.
    What it leaves out is as the family has it. `tower` is its config's part on vision.
    """
    bounds = replace(standard, min_pixels=standard.video_min_pixels, max_pixels=standard.video_max_pixels)
    found = found or {}
    if not BOUNDS & found.keys():
        found = {**found, "min_pixels": bounds.min_pixels, "max_pixels": bounds.max_pixels}
    of_pictures = {name: value for name, value in found.items() if name != "image_processor_type"}
    settings, notes = image_settings(of_pictures, tower, bounds)
    del settings["image_processor_type"]
    settings |= {name: found[name] for name in OWN if found.get(name) is not None}
    return settings, [f"of videos, {note}" for note in notes]
