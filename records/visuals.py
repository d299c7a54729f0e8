"""What a prompt shows a model, as a record knows it: pictures, and where their patches stand among all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from records.choices import chosen_indices

Kind = Literal["image", "video"]
PLACEHOLDERS: Mapping[Kind, str] = {"image": "<image>", "video": "<video>"}  # in a prompt: here it stands


@dataclass(frozen=True)
class Visual:
    """One picture of a prompt, or one clip. Sizes are (h, w)."""

    name: str  # what it is called: its file's name, or "picture 2"
    kind: Kind
    grid: tuple[int, int, int]  # (t, h, w) in merged patches, t = 1 for a picture
    first: int  # the index of its first patch among those of all visuals, in prompt order
    size: tuple[int, int]  # (h, w) as it was given, in its own pixels
    hash: str
    times: tuple[float, ...] = ()  # of a clip's t steps, in seconds: each the mean of its frames'

    def __post_init__(self) -> None:
        """Refuse parts that disagree."""
        if len(self.grid) != 3 or min(self.grid) < 1:
            raise ValueError(f"expected a grid (t, h, w) of at least 1 x 1 x 1; got {self.grid}")
        if self.kind == "image" and self.grid[0] != 1:
            raise ValueError(f"a picture has one step in time; got {self.grid[0]}")
        if self.kind == "video" and len(self.times) != self.grid[0]:
            raise ValueError(f"expected the time of each of {self.grid[0]} steps; got {len(self.times)}")

    @property
    def count(self) -> int:
        """Its patches: t * h * w."""
        t, h, w = self.grid
        return t * h * w

    @property
    def patches(self) -> slice:
        """Where its patches stand among those of all visuals: first + (step * h + row) * w + col."""
        return slice(self.first, self.first + self.count)


def visual_of_json(facts: Mapping[str, Any]) -> Visual:
    """Return the visual that `asdict` wrote, read back from JSON."""
    sequences: dict[str, Any] = {name: tuple(facts[name]) for name in ("grid", "size", "times")}
    return Visual(**{**facts, **sequences})


def picture_visual(
    grid: tuple[int, int], size: tuple[int, int], image_hash: str, name: str = "picture 1", first: int = 0
) -> Visual:
    """Return a picture's record from its grid (h, w) and its size (h, w)."""
    h, w = grid
    return Visual(name, "image", (1, h, w), first, size, image_hash)


def check_in_order(visuals: Sequence[Visual]) -> None:
    """Raise ValueError unless the visuals' patches follow one another from 0 on."""
    at = 0
    for visual in visuals:
        if visual.first != at:
            raise ValueError(f"expected the patches of {visual.name} from {at} on; got {visual.first}")
        at += visual.count
    if not visuals:
        raise ValueError("expected at least one picture; got none")


def patch_count(visuals: Iterable[Visual]) -> int:
    """Return the patches of all visuals together."""
    return sum(visual.count for visual in visuals)


def shape_of_map(visuals: Sequence[Visual]) -> tuple[int, ...]:
    """Return the shape of a map of all visuals: (h, w) of one picture, else (patch,)."""
    return visuals[0].grid[1:] if is_picture(visuals) else (patch_count(visuals),)


def is_picture(visuals: Sequence[Visual]) -> bool:
    """Return whether these are one picture alone."""
    return len(visuals) == 1 and visuals[0].kind == "image"


def part_of_map(
    heat: NDArray[Any], visuals: Sequence[Visual], visual: int, frame: int | None = None
) -> NDArray[Any]:
    """Return the part (…, h, w) of maps of all visuals (…, patch) that is one picture's.

    Of a clip it is that of its step `frame`, or without one (…, t, h, w) of all its steps.

    Raises:
        ValueError: for a picture or a step that is not there.
    """
    (number,) = chosen_indices(visual, len(visuals), "picture")
    chosen = visuals[number]
    found = heat[..., chosen.patches].reshape(*heat.shape[:-1], *chosen.grid)
    if frame is None and chosen.kind == "video":
        return found
    (step,) = chosen_indices(0 if frame is None else frame, chosen.grid[0], "frame")
    return found[..., step, :, :]


class Plane(NamedTuple):
    """One picture, or one step of a clip."""

    patches: slice  # among those of all visuals
    grid: tuple[int, int]  # (h, w)


def planes_of(visuals: Iterable[Visual]) -> list[Plane]:
    """Return every picture and every step of a clip, in the order of the prompt."""
    found = []
    for visual in visuals:
        _, h, w = visual.grid
        starts = range(visual.first, visual.first + visual.count, h * w)
        found += [Plane(slice(start, start + h * w), (h, w)) for start in starts]
    return found


def plane_number(visuals: Sequence[Visual], visual: int, frame: int = 0) -> int:
    """Return where a picture, or step `frame` of a clip, is among `planes_of`.

    Raises:
        ValueError: for a picture or a step that is not there.
    """
    (number,) = chosen_indices(visual, len(visuals), "picture")
    (step,) = chosen_indices(frame, visuals[number].grid[0], "frame")
    return sum(one.grid[0] for one in visuals[:number]) + step


def plane_at(visuals: Sequence[Visual], plane: int) -> tuple[int, int]:
    """Return which picture, and which step of a clip, is number `plane` among `planes_of`.

    Raises:
        ValueError: for a plane that is not there.
    """
    every = [(number, step) for number, visual in enumerate(visuals) for step in range(visual.grid[0])]
    (at,) = chosen_indices(plane, len(every), "picture or moment")
    return every[at]


def by_visual(shares: NDArray[Any], visuals: Sequence[Visual]) -> list[NDArray[Any]]:
    """Return values of planes (…, plane) apart for each picture and clip (…, step)."""
    ends = list(accumulate(visual.grid[0] for visual in visuals))
    return np.split(shares, ends[:-1], axis=-1)


def placeholders(kinds: Iterable[Kind]) -> re.Pattern[str]:
    """Return what finds the places of such visuals in a prompt: `<video>` is plain text where no clip is."""
    return re.compile("|".join(PLACEHOLDERS[kind] for kind in dict.fromkeys(kinds)))


def only_picture(visuals: Sequence[Visual]) -> Visual:
    """Return the one picture that there is.

    Raises:
        ValueError: one line, where there are several, or a clip: one of them has to be named.
    """
    if len(visuals) != 1:
        raise ValueError(f"this answer is about {len(visuals)} pictures, and what is asked needs one alone")
    if visuals[0].kind != "image":
        raise ValueError("this answer is about a clip, and what is asked needs one picture")
    return visuals[0]


class OfVisuals:
    """What is told of the one picture of a record; ValueError where there are several, or a clip."""

    visuals: tuple[Visual, ...]

    @property
    def grid(self) -> tuple[int, int]:
        """Its patches (h, w), merged; patch = row * w + col."""
        _, h, w = only_picture(self.visuals).grid
        return h, w

    @property
    def image_size(self) -> tuple[int, int]:
        """Its size (h, w) as it was given, in its own pixels."""
        return only_picture(self.visuals).size

    @property
    def image_hash(self) -> str:
        """Its `image_hash`."""
        return only_picture(self.visuals).hash
