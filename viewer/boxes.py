"""The boxes of an answer as the viewer draws them, as plain data that is ready for JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from drawing.characters import plain_text
from records.boxes import THRESHOLD, THRESHOLD_TEXT, as_json, box_reading

if TYPE_CHECKING:
    from records.capture import Capture

DECIMALS = 6  # of places, in parts of the picture's sides


def boxes_payload(capture: Capture, visual: int = 0) -> dict[str, Any]:
    """Return the boxes and points of an answer, taken to be in one picture of its prompt; none in a clip.

    Each of `list` has where it is `at`, [left, top, right, bottom] in parts of the picture's width and height
    (of a point its place twice), and in words in pixels of the picture given; `json` is what is copied,
    `notes` what a person should know. Cells of at least `threshold` times a map's highest value are compared
    with a box.
    """
    shown = capture.visuals[visual]
    boxes, notes = box_reading(capture, visual) if shown.kind == "image" else ((), ())
    height, width = shown.size
    return {
        "list": [
            {
                "label": plain_text(box.label),
                "at": [
                    round(place / side, DECIMALS)
                    for place, side in zip(box.xyxy, (width, height) * 2, strict=True)
                ],
                "is_point": box.is_point,
                "pixels": [round(place) for place in (box.xyxy[:2] if box.is_point else box.xyxy)],
                "tokens": list(box.tokens),
            }
            for box in boxes
        ],
        "notes": ". ".join(note[:1].upper() + note[1:] for note in notes) + "." * bool(notes),
        "json": json.dumps(as_json(boxes), ensure_ascii=False),
        "threshold": THRESHOLD,
        "threshold_text": THRESHOLD_TEXT,
    }
