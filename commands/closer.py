"""A closer look: the question asked again with a part of its picture, cut out, beside the whole."""

from __future__ import annotations

import argparse
import math
from contextlib import suppress

from commands.arguments import SOME, held
from commands.terminal import UsageError, say
from records.crops import box_within
from records.videos import Video
from utils import as_list, one_line, shown

BOX = "left, top, right and bottom in pixels of the picture, such as 120,40,344,264"


def crop_box(text: str) -> tuple[float, ...]:
    """Return "120,40,344,264" as four numbers."""
    with suppress(ValueError):
        found = tuple(map(float, text.split(",")))
        if len(found) == 4 and all(map(math.isfinite, found)):
            return found
    raise argparse.ArgumentTypeError(f"{shown(text)} is no box: {BOX}")


def add_closer_arguments(command: argparse.ArgumentParser) -> None:
    """Add which part of the picture is asked about again."""
    add = command.add_argument_group(
        "a closer look, in a folder closer/ beside the first answer"
    ).add_argument
    add(
        "--closer",
        nargs="?",
        const="",
        metavar="WORD",
        help="ask again with the part of the picture that stands out most in the map of a word (as the "
        "answer has it, word:2 for the third, or tokens such as 3 or 2-5); alone, of the whole answer",
    )
    add("--crop", type=crop_box, metavar="BOX", help=f"ask again with this part: {BOX}")
    add(
        "--which",
        type=held(SOME, int),
        metavar="K",
        help="of several pictures the one that is cut (default with --closer: that with most of the map)",
    )


def is_closer(args: argparse.Namespace) -> bool:
    """Return whether a closer look was asked for."""
    return args.closer is not None or args.crop is not None


def check_closer(args: argparse.Namespace) -> None:
    """Raise UsageError for a closer look that cannot be, once the pictures are open; cut the box to one."""
    if not is_closer(args):
        if args.which is not None:
            raise UsageError("--which belongs to --closer and --crop")
        return
    if args.closer is not None and args.crop is not None:
        raise UsageError("choose the part by --closer or by --crop, not both")
    if args.answer is not None:
        raise UsageError("--closer and --crop ask again, and --answer generates nothing")
    given = as_list(args.picture)
    if args.which is not None and args.which > len(given):
        raise UsageError(f"there is no picture {args.which}: {len(given)} were named")
    numbers = range(len(given)) if args.which is None else [args.which - 1]
    pictures = [number for number in numbers if not isinstance(given[number], Video)]
    if not pictures:
        raise UsageError("a closer look is at a picture, and this is a clip")
    if args.crop is not None:
        if len(pictures) > 1:
            raise UsageError("say by --which of the pictures --crop is a part")
        args.which = pictures[0] + 1
        args.crop = _cut(args.crop, given[pictures[0]].size)


def _cut(box: tuple[float, ...], size_wh: tuple[int, int]) -> tuple[int, ...]:
    """Return a box within a picture, and say where it is not the one that was given."""
    try:
        found = box_within(box, size_wh[::-1])
    except ValueError as error:
        raise UsageError(one_line(error)) from None
    if found != box:
        say(f"note: the part is {','.join(map(str, found))}, in whole pixels within the picture")
    return found
