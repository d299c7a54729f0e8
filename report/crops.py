"""A closer look in words: which picture of an answer is a part of which, and what that gained.

Goes in: a `Capture`. Comes out: lines of text. Knows nothing of files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from records.crops import Crop, detail_gain, gain_text
from report.places import whole_place_of

if TYPE_CHECKING:
    from records.capture import Capture


def box_text(crop: Crop) -> str:
    """Return a crop's box as it can be typed: "120,40,344,264"."""
    return ",".join(map(str, crop.box))


def crop_facts(capture: Capture) -> dict[str, str]:
    """Return what every file says of an answer's crop, as (name: text); nothing where there is none."""
    crop, cell = capture.crop, capture.settings.get("cell")
    if crop is None:
        return {}
    one, whole = (whole_place_of(capture.visuals, number) for number in (crop.visual, crop.of))
    line = f"{one} is the part {box_text(crop)} (left, top, right, bottom in pixels) of {whole}."
    return {"Closer look": f"{line} {crop_gain(capture)}" if cell else line}


def crop_gain(capture: Capture) -> str:
    """Return what the crop of an answer gained, in a sentence; ValueError for an answer without one."""
    if (crop := capture.crop) is None:
        raise ValueError("this answer is no closer look: none of its pictures is a crop")
    whole, part = capture.visuals[crop.of], capture.visuals[crop.visual]
    return gain_text(detail_gain(whole, part, capture.settings["cell"]))
