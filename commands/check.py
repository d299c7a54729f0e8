"""`check`: what a map's hottest patches do to its word, and what the picture does."""

from __future__ import annotations

import argparse

from commands.arguments import (
    SOME,
    add_model_arguments,
    add_question_arguments,
    check_generation,
    held,
    method_names,
    ranges,
)
from commands.pictures import check_folder, take_pictures
from commands.terminal import UsageError
from methods import METHODS

HELP = """Check a word's map on an answer: does the word fall when the map's hottest patches are removed?

examples:
  python cli.py check photo.jpg --prompt "What color is the tree?" --target red --output outputs/red
  python cli.py check photo.jpg --prompt "Describe this image." --target word:4 --method tam --patches 8
  python cli.py check clip.mp4 --prompt "What moves?" --target boat --output outputs/boat

The answer stays as it is; patches of the picture are covered, and the word's probability is read again:
without the map's hottest patches, without as many random ones, and without the most central ones. Then every
word's probability is shown with the picture, and to the same question without one: what came from the
picture, and what from language alone. In a clip a patch is one place for two frames; those that are removed
may be in any of its steps.

writes into the output folder:
  map.png     the picture under the map that is checked; of a clip all its steps
  curve.png   the word's probability over the number of patches that are removed
  curve.csv   the same as numbers
  words.md    the words with the picture and without
  check.json  all of it
  answer.txt  the answer
"""
REPEATS = 8  # random orders beside the map's


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `check`."""
    add_question_arguments(command)
    add_model_arguments(command, seed="of the random patches, and of the answer's draw")
    add = command.add_argument_group("what is checked").add_argument
    add(
        "--target",
        required=True,
        metavar="WORD",
        help="a word as the answer has it, word:2 for the third, or tokens such as 3 or 2-5",
    )
    add("--method", choices=METHODS, default="attention", metavar="NAME", help=method_names())
    add("--layers", type=ranges, metavar="WHICH", help="decoder layers, as 0-3,-1 (default: the method's)")
    add("--heads", type=ranges, metavar="WHICH", help="heads such as 0-3,7 (default: the method's)")
    add(
        "--which",
        type=held(SOME, int),
        metavar="K",
        help="of several pictures the one whose part of the map is checked (default: that with most of it)",
    )
    add("--patches", type=ranges, metavar="HOW-MANY", help="to remove (default: 1,2,4,8,… up to half)")
    add(
        "--repeats",
        type=held(SOME, int),
        default=REPEATS,
        metavar="N",
        help="random orders of patches (default: %(default)s)",
    )
    add("--filling", choices=("blur", "mean"), default="blur", help="what covers a patch (default: blur)")


def check(args: argparse.Namespace) -> None:
    """Raise UsageError for what is wrong whatever the model answers; open the pictures."""
    check_generation(args)
    if args.which is not None and args.which > len(args.image):
        raise UsageError(f"there is no picture {args.which}: {len(args.image)} were named")
    take_pictures(args, args.image)
    check_folder(args.output)
