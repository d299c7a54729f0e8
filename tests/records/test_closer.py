"""What is asked for a closer look: pictures, prompt, conversation and crop."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from records.capture import Capture
from records.closer import closer_question, with_crop, with_place, without_place
from records.conversation import conversation_of
from records.crops import Crop
from records.pictures import image_hash
from records.turns import Turn
from tests.about import answer_about, made_clip, made_picture

GRIDS = [(1, 3, 4), (1, 5, 2)]
PICTURES = [made_picture((3, 4), 1), made_picture((5, 2), 2)]  # 112 x 84 and 56 x 140 pixels
BOX = (10, 20, 50, 90)


def hashes(pictures: Any) -> tuple[str, ...]:
    return tuple(image_hash(one) for one in pictures)


def closer_answer() -> Capture:
    """Return an answer about both pictures and a crop of the second."""
    part = PICTURES[1].crop(BOX)
    found = answer_about([*PICTURES, part], [*GRIDS, (1, 3, 2)])
    return with_crop(found, Crop(2, 1, BOX))


def test_the_crop_stands_after_the_pictures_and_is_of_the_one_named() -> None:
    capture = answer_about(PICTURES, GRIDS)
    asked = closer_question(capture, BOX, visual=1)
    assert asked.crop == Crop(2, 1, BOX)
    assert asked.visuals[:2] == capture.pictures
    part = np.asarray(PICTURES[1])[20:90, 10:50]
    np.testing.assert_array_equal(np.asarray(asked.visuals[2]), part)
    assert asked.hashes == hashes(asked.visuals)
    assert (asked.prompt, asked.history.turns) == (capture.prompt, ())


def test_prompt_conversation_and_system_turn_are_the_answers() -> None:
    turn = Turn("What is it?", ("image",), (5, 6), "ab")
    capture = answer_about(PICTURES, GRIDS, history=(turn,), settings={"system": "Be brief."})
    for visual in (0, 1):  # that of the turn before, and the question's own
        box = (0, 0, 40, 50)
        asked = closer_question(capture, box, visual, prompt="Is <image> red?")
        assert asked.crop == Crop(2, visual, box)
        assert asked.visuals[:-1] == capture.pictures[1:]
        assert asked.prompt == "Is <image><image> red?"
        before = asked.history
        assert (before.turns, before.system) == ((turn,), "Be brief.")
        assert (before.hashes, before.pictures) == (hashes(PICTURES[:1]), capture.pictures[:1])
        assert conversation_of(before) == before
        assert conversation_of(before, "Other.").system == "Other."


def test_a_follow_up_that_showed_nothing_shows_the_crop_alone() -> None:
    turn = Turn("Which?", ("image", "image"), (5, 6), "ab")
    asked = closer_question(answer_about(PICTURES, GRIDS, history=(turn,)), BOX, 1)
    assert (asked.crop, len(asked.visuals), len(asked.history.pictures)) == (Crop(2, 1, BOX), 1, 2)


def test_a_closer_look_at_a_closer_look_takes_the_place_of_the_first() -> None:
    capture = closer_answer()
    again = closer_question(capture, (0, 0, 30, 40), visual=0)
    assert again.crop == Crop(2, 0, (0, 0, 30, 40))
    assert again.visuals[:2] == capture.pictures[:2]
    within = closer_question(capture, (5, 6, 500, 60), visual=2)  # a part of the crop: of its picture
    assert within.crop == Crop(2, 1, (15, 26, 50, 80))
    assert hashes(within.visuals) == hashes([*PICTURES, PICTURES[1].crop((15, 26, 50, 80))])


def test_the_place_of_the_first_crop_in_the_prompt_is_that_of_the_second() -> None:
    capture = closer_answer()
    words = "<image> or <image><image>?"
    spans = tuple((0, 0) for _ in capture.prompt_token_ids)
    capture = replace(capture, prompt=words, prompt_token_spans=spans)
    assert closer_question(capture, BOX, visual=1).prompt == words


@pytest.mark.parametrize(
    ("visual", "box", "line"),
    [
        (0, BOX, "a closer look is at a picture, and this is a clip"),
        (2, BOX, "picture 2"),
        (1, (200, 0, 300, 60), "outside of the picture, which has 56 × 140 pixels"),
        (1, (0, 0, 20, 60), "too small, 20 × 60"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(visual: int, box: Any, line: str) -> None:
    capture = answer_about([made_clip((0.0, 0.5)), PICTURES[1]], [(1, 2, 3), GRIDS[1]])
    with pytest.raises(ValueError, match=line) as caught:
        closer_question(capture, box, visual)
    assert "\n" not in str(caught.value)


def test_pictures_have_to_be_at_hand() -> None:
    with pytest.raises(ValueError, match="not at hand; open it from the cache"):
        closer_question(replace(answer_about(PICTURES, GRIDS), pictures=()), BOX)


def test_an_answer_says_which_of_its_pictures_is_a_crop() -> None:
    capture = closer_answer()
    assert capture.crop == Crop(2, 1, BOX)
    assert capture.settings["crop"] == {"visual": 2, "of": 1, "box": list(BOX)}
    plain = answer_about(PICTURES, GRIDS)
    assert (plain.crop, plain.parent) == (None, None)
    assert replace(plain, settings={"parent": "a" * 32}).parent == "a" * 32
    with pytest.raises(ValueError, match="crop"):
        with_crop(plain, Crop(1, 0, BOX))


@pytest.mark.parametrize(
    ("prompt", "kinds", "more"),
    [
        ("What is it?", ["image"], "What is it?"),
        ("Is <image> red?", ["image"], "Is <image><image> red?"),
        ("<image> or <image>?", ["image", "image"], "<image> or <image><image>?"),
        ("<image> in <video>?", ["image", "video"], "<image> in <video><image>?"),
        ("Is <video> red?", ["image"], "Is <video> red?"),  # a word like any, where there is no clip
        ("And now?", [], "And now?"),
    ],
)
def test_the_crops_place_in_a_prompt_follows_the_last(prompt: str, kinds: Any, more: str) -> None:
    assert with_place(prompt, kinds) == more
    assert with_place(more, kinds) == more
    assert without_place(more, [*kinds, "image"]) == prompt
