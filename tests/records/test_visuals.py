"""What a prompt shows a model, as plain data."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from records.visuals import (
    Visual,
    check_in_order,
    only_picture,
    patch_count,
    picture_visual,
    visual_of_json,
)

ONE = picture_visual((3, 5), (84, 141), "a" * 64)
CLIP = Visual("clip.mp4", "video", (2, 4, 7), 15, (110, 200), "b" * 64, (0.0, 1.5))


def test_patches_follow_one_another() -> None:
    assert (ONE.count, CLIP.count, patch_count([ONE, CLIP])) == (15, 56, 71)
    assert (ONE.patches, CLIP.patches) == (slice(0, 15), slice(15, 71))
    check_in_order([ONE, CLIP])
    for wrong in ([], [CLIP], [CLIP, ONE], [ONE, ONE]):
        with pytest.raises(ValueError, match=r"expected (at least one picture|the patches of)"):
            check_in_order(wrong)


@pytest.mark.parametrize("visual", [ONE, CLIP])
def test_json_gives_it_back(visual: Visual) -> None:
    assert visual_of_json(json.loads(json.dumps(asdict(visual)))) == visual


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"grid": (1, 0, 5)}, "at least 1 x 1 x 1"),
        ({"grid": (3, 5)}, "at least 1 x 1 x 1"),
        ({"grid": (2, 3, 5)}, "one step in time; got 2"),
        ({"kind": "video"}, "the time of each of 1 steps; got 0"),
    ],
)
def test_parts_that_disagree_are_refused(changed: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Visual(**{**asdict(ONE), **changed})


def test_one_alone_where_one_is_needed() -> None:
    assert only_picture([ONE]) is ONE
    with pytest.raises(ValueError, match="about 2 pictures"):
        only_picture([ONE, CLIP])
    with pytest.raises(ValueError, match="about a clip"):
        only_picture([CLIP])
