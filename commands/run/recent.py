"""The work of `export --recent`: the answers that are kept, a line for each. It needs no torch."""

from __future__ import annotations

import argparse
from datetime import datetime

from commands.terminal import printable
from records.entries import Entry
from records.store import Store
from utils import one_line

LISTED_ID = 8  # digits of an id in the list


def run(args: argparse.Namespace) -> None:
    """Print a line for each answer that is kept, newest first."""
    for entry in Store().recent():
        print(printable(recent_line(entry)))


def recent_line(entry: Entry) -> str:
    """Return what a list says of an answer that is kept."""
    saved = datetime.fromtimestamp(entry.saved).strftime("%Y-%m-%d %H:%M")
    stopped = " (stopped)" if entry.stopped else ""
    said = f"{one_line(entry.prompt, 60)} → {one_line(entry.answer, 60)}{stopped}"
    return f"{entry.id[:LISTED_ID]}  {saved}  {entry.model}  {entry.bytes / 1e6:.1f} MB  {said}"
