"""`methods`: what each way to explain a word shows, how it misleads, and where it is published."""

from __future__ import annotations

import argparse

HELP = """List the methods: what each shows, how it misleads, and its paper.

example:
  python cli.py methods
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add nothing: the list takes no arguments."""


def check(args: argparse.Namespace) -> None:
    """Find nothing wrong."""
