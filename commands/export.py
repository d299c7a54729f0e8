"""`export`: an answer as files to take away."""

from __future__ import annotations

import argparse

from commands.arguments import (
    ASKED,
    add_clip_arguments,
    add_map_arguments,
    add_model_arguments,
    add_output_argument,
    check_choice,
    check_generation,
    check_no_question,
    prompt_text,
)
from commands.pictures import check_folder, look_of, take_pictures
from commands.terminal import UsageError
from commands.then import add_then_argument, check_then
from report.formats import FORMATS
from utils import shown


def format_lines() -> str:
    """Return what the formats are, a line for each."""
    return "\n".join(f"  {name:<6}{form.description}" for name, form in FORMATS.items())


HELP = f"""Take an answer away as files: pictures, an animation, a document, a page, numbers.

examples:
  python cli.py export photo.jpg --prompt "Describe this image." --format pdf,mp4 --output outputs/photo
  python cli.py export a.jpg b.jpg --prompt "Which is redder?" --format png,npz --output outputs/two
  python cli.py export clip.mp4 --prompt "What moves?" --format mp4 --tokens 3 --output outputs/clip
  python cli.py export photo.jpg --prompt "What is this?" --then "What colour is it?" --format html
  python cli.py export --recent
  python cli.py export last --format all
  python cli.py export 3f9a2c1b --format png --tokens 3-5 --layers 0-3

A question that was asked before answers at once. With an id of --recent, or "last", no model is needed.

formats:
{format_lines()}

With --then, the files of each later answer of the conversation stand in turn_2, turn_3 ….

Of several pictures, and of a clip's steps, each file has all under one map, drawn by one measure.

Each file says which model, prompt, layers, heads and scale it shows, and what attention does not prove.
"""


def format_choice(text: str) -> tuple[str, ...]:
    """Return the formats in "png,gif"; "all" is every one."""
    chosen = tuple(FORMATS) if text == "all" else tuple(dict.fromkeys(text.split(",")))
    for name in chosen:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"{shown(name)} is not one of {', '.join(FORMATS)} or all")
    return chosen


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `export`."""
    add = command.add_argument
    add("source", nargs="*", metavar="IMAGE|ID|last", help="pictures and clips, or what --recent lists")
    add("--prompt", type=prompt_text, metavar="TEXT", help=ASKED)
    add(
        "--recent",
        action="store_const",
        dest="work",
        const="recent",
        default="export",
        help="list the answers that are kept, and do nothing else",
    )
    add(
        "--format",
        type=format_choice,
        default=("png",),
        metavar="FORMATS",
        help="some of the formats, such as png,gif, or all (default: png)",
    )
    add_then_argument(command)
    add_output_argument(command)
    add_clip_arguments(command)
    add_model_arguments(command)
    add_map_arguments(command, tokens="words")


def check(args: argparse.Namespace) -> None:
    """Raise UsageError for what is wrong whatever the model answers; open the picture, if there is one."""
    if args.work == "recent":
        if args.source or args.prompt is not None:
            raise UsageError("--recent lists what is kept; it takes no picture, prompt or id")
        return
    if not args.source:
        raise UsageError("name a picture file with --prompt, or an id of --recent, or last")
    if args.prompt is None:
        check_no_question(args)
        if len(args.source) > 1:
            raise UsageError("several files belong to --prompt; without it, name one id of --recent")
    check_choice(args)
    args.look = look_of(args, args.view)
    args.picture = None
    if args.prompt is not None:
        check_generation(args)
        take_pictures(args, args.source)
        check_then(args)
    check_folder(args.output)
