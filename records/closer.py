"""A closer look: the question of an answer, asked again with a part of its picture beside the whole.

Goes in: a `Capture` and a box on one of its pictures. Comes out: what is asked: pictures, prompt, the
conversation before it, and the `Crop`, which the new answer keeps. Knows nothing of models and pages.

A model sees a large picture shrunk, so that small things in it are a few pixels. Asked again with the part
that it looked at, cut out of the picture as it was given, beside the whole, it can read them (ViCrop: Zhang
et al. 2025, arXiv 2502.17422). window.py finds the part in a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from records.capture import Capture
from records.choices import chosen_indices
from records.conversation import Conversation, conversation_before
from records.crops import Crop, box_within, cropped, moved
from records.pictures import image_hash
from records.visuals import PLACEHOLDERS, Kind, placeholders

if TYPE_CHECKING:
    from PIL.Image import Image

    from records.videos import Video


@dataclass(frozen=True, eq=False)
class CloserQuestion:
    """What is asked for a closer look, as `AttentionExtractor.generate` takes it."""

    visuals: tuple[Image | Video, ...]  # those of the answer's own question, then the crop
    hashes: tuple[str, ...]  # of each
    prompt: str
    history: Conversation  # before the question
    crop: Crop


def closer_question(
    capture: Capture, box: Sequence[float], visual: int = 0, prompt: str | None = None
) -> CloserQuestion:
    """Return what to ask for a closer look at a box of one of the answer's pictures.

    `box` is in pixels of that picture as it was given (see `box_within`), `visual` its number among all of
    the answer's, those of earlier turns too. The crop stands directly after the pictures of the question;
    without `prompt` that is asked as it was. Where a prompt says `<image>` for its pictures, one more follows
    the last of them, unless it is there. An answer that had a crop already is asked with the new one in its
    place; a box on that crop is one on the picture that it was cut from.

    Raises:
        ValueError: one line, for a clip, for pictures that are not at hand, and for no box of the picture.
    """
    (number,) = chosen_indices(visual, len(capture.visuals), "picture")
    if capture.visuals[number].kind != "image":
        raise ValueError("a closer look is at a picture, and this is a clip")
    if not capture.pictures:
        raise ValueError("the pictures of this answer are not at hand; open it from the cache")
    first, last, asked = capture.earlier, len(capture.visuals), capture.prompt if prompt is None else prompt
    place: Sequence[float] = box_within(box, capture.visuals[number].size)
    if (before := capture.crop) is not None:
        if number == before.visual:
            number, place = before.of, moved(place, before)
        if prompt is None:
            asked = without_place(asked, [one.kind for one in capture.visuals[first:]])
        last -= 1  # the crop is the last
    whole = cast("Image", capture.pictures[number])
    part, own = cropped(whole, place), capture.visuals[first:last]
    return CloserQuestion(
        visuals=(*capture.pictures[first:last], part),
        hashes=(*(one.hash for one in own), image_hash(part)),
        prompt=with_place(asked, [one.kind for one in own]),
        history=conversation_before(capture),
        crop=Crop(last, number, box_within(place, (whole.height, whole.width))),
    )


def with_crop(capture: Capture, crop: Crop) -> Capture:
    """Return the answer with which of its pictures is a crop, and of what."""
    return replace(capture, settings={**capture.settings, "crop": crop.as_json})


def with_place(prompt: str, kinds: Sequence[Kind]) -> str:
    """Return a prompt about visuals of these kinds with a place for one picture more, the crop.

    Where the prompt says where its pictures stand, the crop's `<image>` follows the last of them directly;
    else it is as it was: then all stand before it. One that has the place already stays.
    """
    places = list(placeholders([*kinds, "image"]).finditer(prompt))
    if len(places) != len(kinds) or not kinds:
        return prompt
    end = places[-1].end()
    return prompt[:end] + PLACEHOLDERS["image"] + prompt[end:]


def without_place(prompt: str, kinds: Sequence[Kind]) -> str:
    """Return a prompt about visuals of these kinds, of which the last is a crop, without the crop's place."""
    places = list(placeholders(kinds).finditer(prompt))
    if len(places) != len(kinds):
        return prompt
    return prompt[: places[-1].start()] + prompt[places[-1].end() :]
