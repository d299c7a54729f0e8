"""`methods`: what each way to explain a word shows, how it misleads, and where it is published."""

from __future__ import annotations

import argparse
from textwrap import fill

from methods import METHODS, Method

METHODS_HELP = """List the methods: what each shows, how it misleads, and its paper.

example:
  python cli.py methods
"""


def add_methods_arguments(command: argparse.ArgumentParser) -> None:
    """Add nothing: the list takes no arguments."""


def run_methods(args: argparse.Namespace) -> None:
    """Print the catalogue."""
    print("\n\n".join(map(entry, METHODS.values())))


def entry(method: Method) -> str:
    """Return what the list says of a method."""
    needs = "reads the answer again" if method.needs_model else "at once"
    told = fill(f"{method.what} {method.caveat}", 100, initial_indent="  ", subsequent_indent="  ")
    return f"{method.name}: {method.label} ({needs})\n{told}\n  {method.paper}"
