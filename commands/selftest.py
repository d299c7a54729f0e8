"""`selftest`: what this tool promises of a checkpoint, tried on this computer."""

from __future__ import annotations

import argparse

from commands.arguments import add_checkpoint_arguments

HELP = """Try on this computer what is promised of a checkpoint: its rows, ids, grid, template and gradients.

example:
  python cli.py selftest --model Qwen/Qwen2.5-VL-3B-Instruct

Each promise is compared with an independent way, on a small picture and a short answer, and passes or fails
with its figure, its time and its memory. The exit code is 1 if one fails. What is found is kept with later
answers and stands in their reports.
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `selftest`."""
    add_checkpoint_arguments(command.add_argument)


def check(args: argparse.Namespace) -> None:
    """Find nothing wrong: the model's name is looked up when it is loaded."""
