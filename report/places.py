"""What the pictures of a question are called: in a title, below a small picture, in the name of a folder.

Goes in: the `Visual`s of an answer. Comes out: short texts. Knows nothing of maps and files.
"""

from __future__ import annotations

from collections.abc import Sequence

from records.visuals import Visual, is_picture

WORDS = {"image": "picture", "video": "clip"}


def seconds(time: float) -> str:
    """Return a time in a clip as it is written: "1.25 s"."""
    return f"{time:.2f} s"


def place_of(visuals: Sequence[Visual], visual: int, frame: int) -> str:
    """Return what a picture or a step of a clip is called in a sentence.

    "the image" where there is one, "picture 2 of 3", "the clip at 1.25 s", "clip 2 of 3 at 1.25 s".
    """
    one = visuals[visual]
    return whole_place_of(visuals, visual) + (f" at {seconds(one.times[frame])}" if one.times else "")


def whole_place_of(visuals: Sequence[Visual], visual: int) -> str:
    """Return the same of a clip as a whole: "the clip", "clip 2 of 3"."""
    if len(visuals) == 1:
        return all_of(visuals)
    return f"{WORDS[visuals[visual].kind]} {visual + 1} of {len(visuals)}"


def label_of(visuals: Sequence[Visual], visual: int, frame: int) -> str:
    """Return what stands above a small one: "picture 2", "clip 2, 1.25 s", of a clip alone "1.25 s"."""
    one = visuals[visual]
    name = f"{WORDS[one.kind]} {visual + 1}" if len(visuals) > 1 or one.kind == "image" else ""
    return ", ".join(part for part in (name, seconds(one.times[frame]) if one.times else "") if part)


def folder_of(visuals: Sequence[Visual], visual: int) -> str:
    """Return the name of a folder for what is about one of several: "picture_2", "clip_3"; "" for one."""
    return "" if len(visuals) == 1 else f"{WORDS[visuals[visual].kind]}_{visual + 1}"


def all_of(visuals: Sequence[Visual]) -> str:
    """Return what all are called together: "the image", "the clip", "all pictures and clips"."""
    if len(visuals) == 1:
        return "the image" if is_picture(visuals) else "the clip"
    kinds = dict.fromkeys(one.kind for one in sorted(visuals, key=lambda one: one.kind))
    return "all " + " and ".join(f"{WORDS[kind]}s" for kind in kinds)


def visuals_facts(visuals: Sequence[Visual]) -> dict[str, str]:
    """Return what every file says of the pictures, as (name: text)."""
    if is_picture(visuals):
        return {"Picture": _sizes(visuals[0])}
    if len(visuals) == 1:
        return {"Clip": _sizes(visuals[0])}
    lines = [f"{WORDS[one.kind]} {number}: {_sizes(one)}" for number, one in enumerate(visuals, start=1)]
    return {"Pictures": "; ".join(lines)}


def _sizes(one: Visual) -> str:
    (t, h, w), (height, width) = one.grid, one.size
    size, tokens = f"{width} × {height} pixels", f"{w} × {h} visual tokens"
    if one.kind == "image":
        return f"{size}, {tokens}"
    steps = f"{t} steps from {seconds(one.times[0])} to {seconds(one.times[-1])}" if t > 1 else "one step"
    return f"{one.name}, {size}, {steps}, {tokens} each"
