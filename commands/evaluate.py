"""`evaluate`: how often maps find what words name."""

from __future__ import annotations

import argparse
from pathlib import Path

import config
from commands.arguments import (
    ANY,
    SOME,
    add_checkpoint_arguments,
    held,
    prompt_text,
    setting,
)
from commands.pictures import check_folder
from commands.terminal import UsageError
from methods import METHODS
from utils import shown

HELP = """Measure how often each method's maps find what the answer's words name, and what they cost.

examples:
  python cli.py evaluate --model demo --output outputs/evaluation
  python cli.py evaluate --data coco/val2017 --limit 200 --methods attention,tam --output outputs/coco
  accelerate launch --num_processes 8 cli.py evaluate --data coco/val2017 --output outputs/coco

Without --data: captions of the bundled model's held-out scenes, and a question about each; an answer counts
where it is exactly right. --data is a folder in COCO format: instances*.json in it or in its annotations, and
the pictures. There, a word counts that is the name of an annotated thing, or its plural.

Beside the methods stand maps that know nothing of the answer: a centre prior, random values, and the same
everywhere. The table says what its figures are.

With --output, run it again and it goes on: an answer that is measured, of the same picture, annotations,
checkpoint and settings, is not measured again. A picture that cannot be used is listed in failed.csv with its
reason, and stops nobody else. Ctrl-C ends it between two steps; what was done stays. Under accelerate launch
the answers are shared out among the processes, as in batch; on processors alone by torchrun.

writes into the output folder:
  evaluation.md    the table, with 95 % intervals over pictures
  evaluation.csv   the same as numbers
  evaluation.json  the same, and every word's figures
  evaluation.png   a plot
  failed.csv       what could not be used, each with its reason
  items/NAME-…/    what is measured of an answer, and its maps where they are needed again
"""
LIMIT = {"demo": 60, "data": 500}  # pictures; the demo's take some minutes on one core
MEASURED = tuple(name for name in METHODS if name not in ("heads-3", "heads-8"))  # which heads-5 stands for


def method_choice(text: str) -> tuple[str, ...]:
    """Return the methods in "attention,tam", each once."""
    chosen = tuple(dict.fromkeys(text.split(",")))
    for name in chosen:
        if name not in METHODS:
            raise argparse.ArgumentTypeError(f"{shown(name)} is not one of {', '.join(METHODS)}")
    return chosen


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `evaluate`."""
    add = command.add_argument
    add_checkpoint_arguments(add)
    add("--data", type=Path, metavar="FOLDER", help="pictures and annotations in COCO format")
    add("--annotations", type=Path, metavar="FILE", help="of --data, where it has several")
    add("--prompt", type=prompt_text, metavar="TEXT", help="of --data (default: Describe this image.)")
    limits = f"{LIMIT['demo']} scenes, or {LIMIT['data']} of --data"
    add("--limit", type=held(SOME, int), metavar="N", help=f"at most so many pictures (default: {limits})")
    add(
        "--methods",
        type=method_choice,
        metavar="NAMES",
        help=f"(default: {','.join(MEASURED)}, as far as the model has them)",
    )
    add(
        "--curves",
        type=held(ANY, int),
        default=8,
        metavar="N",
        help="pictures for deletion and insertion, the dearest figures; 0: none (default: %(default)s)",
    )
    add(
        "--max-new-tokens",
        type=setting("MAX_NEW_TOKENS", int),
        default=config.MAX_NEW_TOKENS,
        metavar="N",
        help="longest answer (default: %(default)s)",
    )
    add(
        "--seed",
        type=setting("SEED", int),
        default=config.SEED,
        metavar="N",
        help="of the pictures drawn from --data, of random maps and of the intervals (default: %(default)s)",
    )
    add("--again", action="store_true", help="measure again what is measured already")
    add(
        "--output",
        metavar="DIR",
        help=f"folder to write into, where what is done stays (default: {config.OUTPUT_DIR}, where nothing "
        "stays of a measurement that does not come to its end)".replace("%", "%%"),
    )


def check(args: argparse.Namespace) -> None:
    """Raise UsageError for arguments that contradict each other."""
    if args.data is None and (args.annotations or args.prompt):
        raise UsageError("--annotations and --prompt belong to --data")
    check_folder(config.OUTPUT_DIR if args.output is None else args.output)
