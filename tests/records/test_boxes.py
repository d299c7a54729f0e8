"""Boxes and points of an answer: how they are read, where they lie in the picture, how a map lies on them."""

import json
import random
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from records.box_text import Written, written_boxes
from records.boxes import Box, BoxFigures, as_json, box_figures, box_reading, boxes_in
from records.capture import Capture
from records.tokens import spelled
from tests.attention_processor.kit import GRID, TOKENS, made_capture, rows

SIZE = (300, 700)  # (h, w) of the picture given: two factors, of a grid of 5 × 7 cells of 28 pixels
UNITS = (140, 196)  # the same as the model saw it
PIXELS: dict[str, Any] = {"boxes": "pixels", "cell": 28}
FENCED = """```json
[
  {"bbox_2d": [14, 28, 98, 70], "label": "a {big} cat"},
  {"bbox_2d": [0, 0, 196, 140], "label": "the \\"scene\\""}
]
```"""


def answer_of(pieces: Sequence[str], settings: dict[str, Any], size: tuple[int, int] = SIZE) -> Capture:
    """Return an answer of these tokens; one in angle brackets is special, and no part of the text."""
    count = len(pieces)
    attention, shares = rows(count, 0)
    text, spans = spelled([b"" if piece.startswith("<|") else piece.encode() for piece in pieces])
    return made_capture(
        token_ids=tuple(range(count)),
        tokens=tuple(pieces),
        text=text,
        token_spans=spans,
        attention=attention,
        shares=shares,
        logprobs=-torch.ones(count),
        image_size=size,
        settings=settings,
    )


def pieces_of(text: str) -> list[str]:
    """Return a text in tokens: special ones, words with the space before them, digits one by one."""
    return re.findall(r"<\|\w+\|>| ?[^\W\d]+|\d|\s|[^\w\s]", text)


def read(text: str, settings: dict[str, Any] | None = None) -> tuple[Box, ...]:
    return boxes_in(answer_of(pieces_of(text), PIXELS if settings is None else settings))


# --- Reading ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FENCED, [("a {big} cat", (14, 28, 98, 70)), ('the "scene"', (0, 0, 196, 140))]),
        ('It is at {"bbox_2d": [1, 2, 3, 4]}.', [("", (1, 2, 3, 4))]),
        ('{"label": "cat", "bbox_2d": [1,2,3,4], "score": 0.5}', [("cat", (1, 2, 3, 4))]),
        ('{"bbox_2d":[1.5,2,3.25,4],"text_content":"STOP"}', [("STOP", (1.5, 2, 3.25, 4))]),
        ('[{"point_2d": [5, 6], "label": "nose"}]', [("nose", (5, 6))]),
        ("{'bbox_2d': [1, 2, 3, 4], 'label': \"a cat's ear\"}", [("a cat's ear", (1, 2, 3, 4))]),
        (r"{\"bbox_2d\": [1, 2, 3, 4], \"label\": \"a \\\"b\\\"\"}", [('a "b"', (1, 2, 3, 4))]),
        ('{"objects": [{"bbox_2d": [1, 2, 3, 4], "label": "é\\u00e9\\n x"}]}', [("éé x", (1, 2, 3, 4))]),
        ('{"bbox_2d": [1, 2, 3, 4], "part": {"a": 1}, "label": "x"}', [("x", (1, 2, 3, 4))]),
        # cut off
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "x"}, {"bbox_2d": [5, 6, 7', [("x", (1, 2, 3, 4))]),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "x"}, {"bbox_2d": [5, 6, 7, 8', [("x", (1, 2, 3, 4))]),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "x', [("", (1, 2, 3, 4))]),
        # marks
        (
            "<|object_ref_start|>a cat<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>",
            [("a cat", (1, 2, 3, 4))],
        ),
        (
            "<|object_ref_start|>two<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>, "
            "<|box_start|>(5,6),(7,8)<|box_end|> and <|box_start|>(9,9),(10,10)<|box_end|>",
            [("two", (1, 2, 3, 4)), ("two", (5, 6, 7, 8)), ("", (9, 9, 10, 10))],
        ),
        ("Click <|box_start|>(5,6)<|box_end|>.", [("", (5, 6))]),
        ("<|box_start|>(1,2),(3,4)", [("", (1, 2, 3, 4))]),
        # prose with quotes and braces of its own
        ('He said "look: {"bbox_2d": [1, 2, 3, 4]} and that\'s it', [("", (1, 2, 3, 4))]),
        ("no boxes [1, 2, 3, 4] (1,2),(3,4) bbox_2d", []),
    ],
)
def test_boxes_are_read_in_every_form(text: str, expected: list[tuple[str, tuple[float, ...]]]) -> None:
    assert [(one.label, one.numbers) for one in written_boxes(text)[0]] == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"bbox_2d": [1, 2, 3]}',
        '{"bbox_2d": [1, 2, 3, 4, 5]}',
        '{"bbox_2d": [x1, y1, x2, y2]}',
        '{"bbox_2d": "1, 2, 3, 4"}',
        '{"bbox_2d": [[1, 2, 3, 4]]}',
        '{"bbox_2d": null, "label": "cat"}',
        '{"bbox_2d": [1, 2, 1e400, 4]}',
        '{"bbox_2d": [1, 2, NaN, 4]}',
        '{"bbox_2d": [1, 2, 99999999999, 4]}',
        '{"point_2d": [1, 2, 3, 4]}',
        '{"bbox_2d": [1, 2, 3, 4',
        '{"bbox_2d": [1,2,3,',
        "<|box_start|>(1,2),(3,<|box_end|>",
        "<|box_start|>(1,2)",
        "<|box_start|>the cat<|box_end|>",
    ],
)
def test_what_is_no_box_is_none_and_is_told(text: str) -> None:
    assert written_boxes(text) == ([], 1)
    reading = box_reading(answer_of(pieces_of(text), PIXELS))
    assert reading == ((), ("1 box could not be read",))


def test_no_text_makes_a_box_that_it_does_not_write() -> None:
    """Each number of a box stands in the text, in a row, whatever was done to the text; nothing raises."""
    random.seed(3)
    seeds = [FENCED, '{"point_2d": [5, 6], "label": "no\'se"}', r"{\"bbox_2d\": [1, 2, 3, 4]}"]
    seeds += ["<|object_ref_start|>a<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>"]
    signs = [*"{}[]()\"'\\:,<>|-.0159e \n\ud800é", "bbox_2d", "label", '"label": "', "<|box_end|>", "```"]
    for _ in range(3000):
        text = random.choice(seeds)
        for _ in range(random.randint(1, 6)):
            at, size = random.randrange(len(text) + 1), random.choice((0, 0, 1, 5))
            text = text[:at] + random.choice([*signs, ""]) + text[at + size :]
        for one in written_boxes(text)[0]:
            assert len(one.numbers) in (2, 4)
            there = [text[start:end] for start, end in one.spans]
            told = [re.findall(r"[-+]?[0-9]+(?:\.[0-9]+)?", part) for part in there]
            assert list(one.numbers) in [[float(number) for number in row] for row in told]
            one.label.encode()


@pytest.mark.parametrize(
    "text",
    ["{" * 20_000, '{"' * 10_000, "{" + "\\'" * 10_000, '{"label": "' * 3_000, "<|box_start|>" * 3_000],
)
def test_a_hostile_text_is_read_to_its_end(text: str) -> None:
    assert written_boxes(text)[0] == []


def test_a_box_is_spelled_by_the_tokens_of_its_label_and_its_numbers() -> None:
    text = 'See {"bbox_2d": [14, 28, 98, 70], "label": "tabby cat"} here'
    tokens = pieces_of(text)
    (box,) = boxes_in(answer_of(tokens, PIXELS))
    assert "".join(tokens[token] for token in box.tokens) == "14, 28, 98, 70tabby cat"


def test_special_tokens_are_part_of_what_is_read_and_not_of_the_text() -> None:
    tokens = ["A", "<|object_ref_start|>", " cat", "<|object_ref_end|>", "<|box_start|>"]
    tokens += ["(", "1", "4", ",", "28", "),(", "98", ",", "70", ")", "<|box_end|>", "."]
    capture = answer_of(tokens, PIXELS)
    assert capture.text == "A cat(14,28),(98,70)."
    (box,) = boxes_in(capture)
    assert (box.label, box.tokens) == ("cat", (2, *range(5, 15)))
    assert box.xyxy == pytest.approx((50, 60, 350, 150))


def test_a_box_of_a_thought_is_left_out() -> None:
    place = '{"bbox_2d": [14, 28, 98, 70]}'
    assert len(read(f"<think>{place}</think>{place}")) == 1


# --- In pixels of the picture -------------------------------------------------------------------------------


def test_the_two_sides_have_factors_of_their_own() -> None:
    (pixels,) = read('{"bbox_2d": [14, 28, 98, 70]}')
    assert pixels.xyxy == pytest.approx((14 * 700 / 196, 28 * 300 / 140, 98 * 700 / 196, 70 * 300 / 140))
    (thousandths,) = read('{"bbox_2d": [10, 100, 500, 1000]}', {"boxes": "thousandths", "cell": 32})
    assert thousandths.xyxy == pytest.approx((7, 30, 350, 300))


@pytest.mark.parametrize("unit", ["pixels", "thousandths"])
def test_what_qwens_own_conversion_writes_comes_back_within_a_pixel(unit: str) -> None:
    """`process_bbox.ipynb` of Qwen's finetuning tools writes round(x · W′ / W), y alike."""
    (height, width), rng = (149, 190), np.random.default_rng(4)  # which is seen in 140 × 196 pixels
    rows_, columns = UNITS if unit == "pixels" else (1000, 1000)
    for _ in range(20):
        x0, y0 = rng.uniform(0, 0.5, 2) * (width, height)
        x1, y1 = (x0, y0) + rng.uniform(0.1, 0.49, 2) * (width, height)
        scales = (columns / width, rows_ / height) * 2
        written = [round(at * scale) for at, scale in zip((x0, y0, x1, y1), scales, strict=True)]
        pieces = pieces_of(json.dumps({"bbox_2d": written}))
        (box,) = boxes_in(answer_of(pieces, {"boxes": unit, "cell": 28}, size=(height, width)))
        np.testing.assert_allclose(box.xyxy, (x0, y0, x1, y1), atol=1)


def test_corners_may_come_in_any_order() -> None:
    assert read('{"bbox_2d": [98, 70, 14, 28]}') == tuple(
        Box("", box.xyxy, box.tokens) for box in read('{"bbox_2d": [14, 28, 98, 70]}')
    )


def test_what_leaves_the_picture_is_cut_or_left_out_and_told() -> None:
    text = json.dumps(
        [{"bbox_2d": box} for box in ([-10, 7, 98, 900], [200, 0, 300, 50], [5, 5, 5, 9])]
        + [{"point_2d": place} for place in ([196, 140], [197, 0], [0, 0])]
    )
    capture = answer_of(pieces_of(text), PIXELS)
    boxes, notes = box_reading(capture)
    assert [box.xyxy for box in boxes] == [(0, 15, 350, 300), (700, 300, 700, 300), (0, 0, 0, 0)]
    assert [box.is_point for box in boxes] == [False, True, True]
    assert notes == (
        "2 boxes lie outside the picture",
        "1 box has no area",
        "1 box is cut at the picture's edge",
    )
    assert boxes_in(capture) == boxes


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "was kept before the unit"),
        ({"boxes": "pixels"}, "was kept before the unit"),
        ({"boxes": "unknown", "cell": 28}, "it is not known in which unit"),
    ],
)
def test_boxes_without_a_unit_are_refused_and_never_guessed(settings: dict[str, Any], line: str) -> None:
    capture = answer_of(pieces_of('{"bbox_2d": [14, 28, 98, 70]}'), settings)
    with pytest.raises(ValueError, match=line):
        boxes_in(capture)
    boxes, (note,) = box_reading(capture)
    assert boxes == ()
    assert line in note


def test_an_answer_without_boxes_has_none_whatever_its_settings_say() -> None:
    assert boxes_in(made_capture()) == ()
    assert box_reading(made_capture()) == ((), ())
    assert len(made_capture().tokens) == TOKENS


def test_a_picture_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no picture 1"):
        boxes_in(answer_of(pieces_of('{"bbox_2d": [1, 2, 3, 4]}'), PIXELS), visual=1)


def test_as_json_they_are_whole_pixels_of_the_picture() -> None:
    text = '[{"bbox_2d": [15, 29, 98, 70], "label": "cat"}, {"point_2d": [1, 1]}]'
    assert as_json(read(text)) == [{"bbox_2d": [54, 62, 350, 150], "label": "cat"}, {"point_2d": [4, 2]}]


# --- How a map lies on them ---------------------------------------------------------------------------------


def slow_figures(box: Box, values: np.ndarray, scale: int = 20) -> BoxFigures:
    """Return the figures pixel by pixel, for a box whose corners are whole pixels of cells of `scale`."""
    left, top, right, bottom = (round(side) for side in box.xyxy)
    heat = np.kron(np.clip(values, 0, None), np.ones((scale, scale)))
    inside = np.zeros(heat.shape, bool)
    inside[top:bottom, left:right] = True
    hot = heat >= heat.max() / 2
    return BoxFigures(
        heat[inside].sum() / heat.sum(), inside.mean(), (inside & hot).sum() / (inside | hot).sum()
    )


def test_figures_are_those_of_counted_pixels() -> None:
    rng = np.random.default_rng(5)
    size = (GRID[0] * 20, GRID[1] * 20)
    for _ in range(20):
        values = rng.normal(0.3, 1, GRID)
        left, top = rng.integers(0, 60, 2)
        box = Box("", (left, top, left + rng.integers(1, 70), top + rng.integers(1, 40)), (0,))
        found, expected = box_figures(box, values, size), slow_figures(box, values)
        np.testing.assert_allclose(np.array(found), np.array(expected), rtol=1e-9)


def test_a_map_equal_to_its_box_has_all_of_it_and_overlaps_wholly() -> None:
    values = np.zeros(GRID)
    values[1:3, 2:6] = 0.02
    box = Box("", (200, 60, 600, 180), (0,))  # rows 1–2 and columns 2–5 of 60 × 100 pixels
    assert box_figures(box, values, SIZE) == pytest.approx((1, 8 / 35, 1))


def test_a_flat_map_has_the_share_of_chance() -> None:
    share, chance, iou = box_figures(Box("", (10, 20, 333, 250), (0,)), np.full(GRID, 0.1), SIZE)
    assert share == pytest.approx(chance) == pytest.approx(323 * 230 / (300 * 700))
    assert iou == pytest.approx(chance)  # all cells are as hot as the hottest


def test_a_map_that_is_nowhere_lies_on_nothing() -> None:
    for values in (np.zeros(GRID), -np.ones(GRID)):
        assert box_figures(Box("", (0, 0, 100, 60), (0,)), values, SIZE) == pytest.approx((0, 1 / 35, 0))


def test_a_point_has_its_cell() -> None:
    values = np.zeros(GRID)
    values[4, 6], values[1, 2] = 3, 1
    for xyxy, share in (((250.0, 70.0) * 2, 0.25), ((700.0, 300.0) * 2, 0.75), ((0.0, 0.0) * 2, 0)):
        found = box_figures(Box("", xyxy, (0,)), values, SIZE)
        assert found[:2] == pytest.approx((share, 1 / 35))
        assert found.iou is None


def test_written_is_what_the_text_says() -> None:
    text = '{"label": "cat", "point_2d": [7, 8]}'
    (one,), unread = written_boxes(text)
    assert (one, unread) == (Written("cat", (7, 8), ((11, 14), (30, 34))), 0)
