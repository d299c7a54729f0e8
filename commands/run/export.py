"""The work of `export`: an answer as files to take away."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from commands.files import finished_folder
from commands.run.answers import conversation
from commands.run.attention import subject_in
from commands.terminal import UsageError, bar, counter, printable, say, stop_on_interrupt
from commands.then import turn_folder
from records.capture import Capture
from records.entries import Kept
from records.store import DamagedError, Store
from report.formats import FORMATS, export
from report.view import Subject
from utils import Stopped, Watch, shown


def run(args: argparse.Namespace) -> None:
    """Write an answer as files."""
    with finished_folder(Path(args.output)) as folder:
        for number, (turn, capture) in enumerate(answers(args), start=1):
            own, subject = folder / turn_folder(number), subject_in(turn, capture, number)
            own.mkdir(exist_ok=True)
            for kind in args.format:
                write_format(kind, subject, own)
                if args.prompt_words and kind not in ("html", "npz"):  # which have both
                    write_format(kind, subject.choosing(tokens=None, by="word", of_prompt=True), own)
        files = (file for file in folder.rglob("*") if file.is_file())
        names = sorted(file.relative_to(folder).as_posix() for file in files)
    say(f"Wrote {', '.join(names)} to {args.output}")


def answers(args: argparse.Namespace) -> Iterator[tuple[argparse.Namespace, Capture]]:
    """Yield the answers that are meant: asked for now, one after the other, or the one that is kept."""
    if args.picture is not None:
        yield from conversation(args)
        return
    capture = reopened(args.source[0]).capture
    print(printable(capture.text), flush=True)
    yield args, capture


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
        raise UsageError(f"{shown(name)} is neither an id of --recent nor last{hint}")
    if len(found) != 1:
        raise UsageError(f"{len(found) or 'no'} kept answers are named {name}: see --recent")
    try:
        return Store().open(found[0])
    except KeyError:
        raise UsageError(f"the answer {name} is no longer kept") from None
    except DamagedError as error:
        raise UsageError(str(error)) from error


def write_format(kind: str, subject: Subject, folder: Path) -> None:
    """Write one format, with a progress bar.

    Raises:
        KeyboardInterrupt: once Ctrl-C has ended the work.
    """
    with stop_on_interrupt() as stop, bar(FORMATS[kind].name, "step", 1) as progress:
        try:
            made = export(kind, subject, None, folder, Watch(counter(progress), stop))
        except Stopped:
            raise KeyboardInterrupt from None
        progress.update(int(progress.total or 0) - progress.n)
    for note in made.notes:
        say(f"note: {note}")
