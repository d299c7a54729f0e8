"""`export`: an answer as files to take away."""

from __future__ import annotations

import argparse
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from commands.answers import answered, opened, subject_of
from commands.arguments import (
    add_choice_arguments,
    add_drawing_arguments,
    add_method_arguments,
    add_model_arguments,
    add_output_argument,
    add_view_argument,
    prompt_text,
)
from commands.attention import selection_of
from commands.files import finished_folder
from commands.terminal import UsageError, bar, counter, printable, say, stop_on_interrupt
from records.look import Look
from records.store import DamagedError, Entry, Kept, Store
from report.formats import FORMATS, export
from report.view import Subject
from utils import Stopped, Watch, one_line

if TYPE_CHECKING:  # torch takes seconds to import: --help and mistyped arguments do not wait for it
    from records.capture import Capture

EXPORT = """Take an answer away as files: pictures, an animation, a document, a page, numbers.

examples:
  python cli.py export photo.jpg --prompt "Describe this image." --format pdf,mp4 --output outputs/photo
  python cli.py export --recent
  python cli.py export last --format all
  python cli.py export 3f9a2c1b --format png --tokens 3-5 --layers 0-3

A question that was asked before answers at once. With an id of --recent, or "last", no model is needed.

formats:
{formats}

Each file says which model, prompt, layers, heads and scale it shows, and what attention does not prove.
"""

LISTED_ID = 8  # digits of an id in the list


def format_choice(text: str) -> tuple[str, ...]:
    """Return the formats in "png,gif"; "all" is every one."""
    chosen = tuple(FORMATS) if text == "all" else tuple(dict.fromkeys(text.split(",")))
    for name in chosen:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(FORMATS)} or all")
    return chosen


def format_lines() -> str:
    """Return what the formats are, a line for each."""
    return "\n".join(f"  {name:<6}{form.description}" for name, form in FORMATS.items())


def add_export_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `export`."""
    add = command.add_argument
    add("source", nargs="?", metavar="IMAGE|ID|last", help="a picture file, or what --recent lists")
    add("--prompt", type=prompt_text, metavar="TEXT", help="what to ask about the picture")
    add("--recent", action="store_true", help="list the answers that are kept, and do nothing else")
    add(
        "--format",
        type=format_choice,
        default=("png",),
        metavar="FORMATS",
        help="some of the formats, such as png,gif, or all (default: png)",
    )
    add_output_argument(command)
    add_model_arguments(command)
    add_choice_arguments(command, tokens="words")
    add_method_arguments(command)
    add_drawing_arguments(command)
    add_view_argument(command)


def run_export(args: argparse.Namespace) -> None:
    """List what is kept, or write an answer as files."""
    if args.recent:
        list_recent(args)
        return
    look = Look(args.colormap, args.alpha, args.view, args.smooth)
    with finished_folder(Path(args.output)) as folder:
        capture, image = chosen_answer(args)
        print(printable(capture.text), flush=True)
        subject = subject_of(args, image, capture, selection_of(args, capture, look))
        for kind in args.format:
            write_format(kind, subject, image, folder)
            if args.prompt_words and kind not in ("html", "npz"):  # which have both
                asked = subject.choosing(tokens=None, by="word", of_prompt=True)
                write_format(kind, asked, image, folder)
        names = sorted(file.name for file in folder.iterdir())
    say(f"Wrote {', '.join(names)} to {args.output}")


def list_recent(args: argparse.Namespace) -> None:
    """Print a line for each answer that is kept, newest first."""
    if args.source is not None or args.prompt is not None:
        raise UsageError("--recent lists what is kept; it takes no picture, prompt or id")
    for entry in Store().recent():
        print(printable(recent_line(entry)))


def recent_line(entry: Entry) -> str:
    """Return what a list says of an answer that is kept."""
    saved = datetime.fromtimestamp(entry.saved).strftime("%Y-%m-%d %H:%M")
    stopped = " (stopped)" if entry.stopped else ""
    said = f"{one_line(entry.prompt, 60)} → {one_line(entry.answer, 60)}{stopped}"
    return f"{entry.id[:LISTED_ID]}  {saved}  {entry.model}  {entry.bytes / 1e6:.1f} MB  {said}"


def chosen_answer(args: argparse.Namespace) -> tuple[Capture, Image.Image]:
    """Return the answer that is meant, with its picture: asked for now, or kept."""
    if args.source is None:
        raise UsageError("name a picture file with --prompt, or an id of --recent, or last")
    if args.prompt is not None:
        image = opened(args.source)
        return answered(args, image), image
    if args.model is not None:
        raise UsageError("--model belongs to a picture file with --prompt")
    kept = reopened(args.source)
    return kept.capture, kept.image


def reopened(name: str) -> Kept:
    """Return an answer that is kept, by its id or the first digits of it; "last" is the newest.

    Raises:
        UsageError: if there is none of that id, or several, or it is damaged.
    """
    found = [entry.id for entry in Store().recent()]
    if name == "last":
        found = found[:1]
    elif re.fullmatch(r"[0-9a-f]{4,32}", name):
        found = [one for one in found if one.startswith(name)]
    else:
        hint = "; for a picture file, add --prompt" if Path(name).is_file() else ""
        raise UsageError(f"{name!r} is neither an id of --recent nor last{hint}")
    if len(found) != 1:
        raise UsageError(f"{len(found) or 'no'} kept answers are named {name}: see --recent")
    try:
        return Store().open(found[0])
    except KeyError:
        raise UsageError(f"the answer {name} is no longer kept") from None
    except DamagedError as error:
        raise UsageError(str(error)) from error


def write_format(kind: str, subject: Subject, image: Image.Image, folder: Path) -> None:
    """Write one format, with a progress bar.

    Raises:
        KeyboardInterrupt: once Ctrl-C has ended the work.
    """
    with stop_on_interrupt() as stop, bar(FORMATS[kind].name, "step", 1) as progress:
        try:
            made = export(kind, subject, image, folder, Watch(counter(progress), stop))
        except Stopped:
            raise KeyboardInterrupt from None
        progress.update(int(progress.total or 0) - progress.n)
    for note in made.notes:
        say(f"note: {note}")
