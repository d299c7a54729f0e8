"""Questions after the answer, as an argument of commands that show one; and where each turn's files go."""

from __future__ import annotations

import argparse

from commands.arguments import prompt_text
from commands.terminal import UsageError
from records.videos import Video
from records.visuals import Kind, placeholders
from utils import as_list


def add_then_argument(command: argparse.ArgumentParser) -> None:
    """Add the questions that are asked after the answer."""
    command.add_argument(
        "--then",
        action="append",
        type=prompt_text,
        metavar="TEXT",
        help="ask this after the answer, about the same pictures: it brings no new ones; repeat it, and each "
        "is asked after the answer before",
    )


def check_then(args: argparse.Namespace) -> None:
    """Raise UsageError for what cannot be asked after the answer; the pictures are open."""
    if args.then and args.answer is not None:
        raise UsageError("--then does not belong to --answer, which asks the model nothing")
    if args.then and (vars(args).get("closer"), vars(args).get("crop")) != (None, None):
        raise UsageError("--closer and --crop look closer at one answer: leave out --then")
    kinds: list[Kind] = ["video" if isinstance(one, Video) else "image" for one in as_list(args.picture)]
    for prompt in args.then or ():
        if place := placeholders(kinds).search(prompt):
            raise UsageError(
                f"--then says {place[0]} and brings none: say in words which of those shown is meant"
            )


def turn_folder(number: int) -> str:
    """Return the name of the folder for a turn's files, from 1 on: "turn_2"; "" for the first."""
    return "" if number == 1 else f"turn_{number}"
