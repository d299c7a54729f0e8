"""The boxes of an answer in the payload: where they are, what is copied, what is told."""

import json
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

import viewer
from records.boxes import THRESHOLD, boxes_in
from tests.attention_processor.kit import made_capture
from tests.records.test_boxes import PIXELS, SIZE, answer_of, pieces_of
from tests.viewer.payload.kit import EVIL, Parts, attention_of

TEXT = '[{"bbox_2d": [14, 28, 98, 70], "label": "cat\\u202e"}, {"point_2d": [49, 70]}, {"bbox_2d": [1]}]'


def made(text: str, settings: dict[str, Any]) -> dict[str, Any]:
    capture = answer_of(pieces_of(text), settings)
    picture = Image.fromarray(np.full((*SIZE, 3), 90, np.uint8))
    return json.loads(json.dumps(viewer.payload(capture, picture, *attention_of(capture)), allow_nan=False))


def test_boxes_are_parts_of_the_picture_and_pixels_of_it() -> None:
    boxes = made(TEXT, PIXELS)["boxes"][0]
    cat, point = boxes["list"]
    assert cat["at"] == pytest.approx([14 / 196, 28 / 140, 98 / 196, 70 / 140], abs=1e-6)
    assert (cat["pixels"], cat["is_point"]) == ([50, 60, 350, 150], False)
    assert cat["tokens"] == list(boxes_in(answer_of(pieces_of(TEXT), PIXELS))[0].tokens)
    assert "\u202e" not in cat["label"]
    assert (point["at"], point["pixels"]) == ([0.25, 0.5, 0.25, 0.5], [175, 150])
    assert (point["label"], point["is_point"]) == ("", True)
    assert json.loads(boxes["json"]) == [
        {"bbox_2d": [50, 60, 350, 150], "label": "cat\u202e"},
        {"point_2d": [175, 150]},
    ]
    assert boxes["notes"] == "1 box could not be read."
    assert boxes["threshold"] == THRESHOLD


def test_an_answer_from_before_says_why_its_boxes_are_not_drawn() -> None:
    boxes = made(TEXT, {})["boxes"][0]
    assert boxes["list"] == []
    assert re.fullmatch(
        r"This answer has boxes, but was kept before .*; ask the model again, .*\.", boxes["notes"]
    )


def test_an_answer_without_boxes_says_nothing() -> None:
    capture = made_capture()
    boxes = viewer.payload(capture, None, *attention_of(capture))["boxes"][0]
    assert (boxes["list"], boxes["notes"], boxes["json"]) == ([], "", "[]")


def test_a_label_that_tries_to_break_out_stays_text() -> None:
    data = made(json.dumps({"bbox_2d": [14, 28, 98, 70], "label": EVIL}), PIXELS)
    assert len(data["boxes"][0]["list"]) == 1
    parts = Parts(viewer.report(data))
    assert parts.comments == []
    assert not [one for one in parts.elements if one[0] == "img"]
