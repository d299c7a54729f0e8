"""`batch`: many pictures, each answered and explained; what is done stays done."""

from __future__ import annotations

import argparse
from pathlib import Path

from commands.arguments import (
    add_clip_arguments,
    add_map_arguments,
    add_model_arguments,
    add_output_argument,
    check_choice,
    check_generation,
    prompt_text,
)
from commands.export import format_choice, format_lines
from commands.lists import Columns, asked_in, may_have_clip
from commands.pictures import check_folder, look_of
from commands.terminal import UsageError

HELP = f"""Answer a prompt about many pictures, and write each answer's maps, figures and an index to look at.

examples:
  python cli.py batch photos --prompt "What is this?" --output outputs/photos
  python cli.py batch questions.csv --output outputs/questions --format html,npz
  python cli.py batch pairs.csv --image-column left --image-column right --prompt "Which is redder?"
  python cli.py batch answers.jsonl --answer-column answer --method gradient-attention --output outputs/given
  accelerate launch --num_processes 8 cli.py batch photos --prompt "What is this?" --output outputs/photos

The source is a folder (its pictures, and those of folders in it), or a list: .txt with a path a line, .csv
or .jsonl with columns image, prompt and what else you like. Paths in a list are beside it. A prompt in a row
goes before --prompt. With --answer-column the answers are there already: they are explained, and none is
generated. A row may be about several pictures and clips, which are one question: columns image, image_2,
image_3 … (empty where a row has fewer), or in JSONL a list: {{"image": ["a.jpg", "b.mp4"]}}.

Run it again and it goes on: what is done, of the same picture, question, checkpoint and settings, is not done
again. A picture that cannot be used is listed in failed.csv with its reason, and stops nobody else. Ctrl-C
ends it between two steps; what was done stays. Under accelerate launch the pictures are shared out among the
processes, on as many cards and machines as there are; on processors alone by torchrun --nproc_per_node 8.

writes into the output folder:
  index.html               what came of each picture, to look at
  answers.csv              a row for each answer: tokens, shares of attention, probability, …
  words.csv                a row for each word: probability, share on the image, where its map is hottest, …
  answers.parquet …        the same, where pyarrow is installed; in CSV, a text that a spreadsheet would run
                           as a formula (=, +, -, @ first) has ' before it
  failed.csv               the pictures that could not be used, each with its reason
  items/NAME-…/            overview.png (each word on the picture), answer.txt, item.json (its rows of the
                           tables), and a file of each --format

formats:
{format_lines()}
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `batch`."""
    add = command.add_argument
    add("source", type=Path, metavar="FOLDER|LIST", help="pictures, or a list: .txt, .csv or .jsonl")
    add("--prompt", type=prompt_text, metavar="TEXT", help="what to ask about each picture")
    add_output_argument(command)
    add_clip_arguments(command)
    add = command.add_argument_group("list").add_argument
    add(
        "--image-column",
        action="append",
        metavar="NAME",
        help="repeat it for several pictures of a question (default: image, and image_2, image_3 … if there)",
    )
    add("--prompt-column", metavar="NAME", help="(default: prompt, where there is one)")
    add("--answer-column", metavar="NAME", help="of answers that were written elsewhere")
    add = command.add_argument_group("what is written").add_argument
    add(
        "--format",
        type=format_choice,
        default=("npz",),
        metavar="FORMATS",
        help="of each answer: some of the formats, such as html,npz, or all (default: npz)",
    )
    add("--captures", action="store_true", help="keep each answer's whole attention too: large")
    add("--again", action="store_true", help="do again what is done already")
    add_model_arguments(command, cached=False)
    add_map_arguments(command, tokens="words", of_prompt=False)


def check(args: argparse.Namespace) -> None:
    """Raise UsageError for what is wrong whatever the pictures are; read the list."""
    args.prompt_words, args.answer = False, args.answer_column
    check_choice(args)
    check_generation(args)
    args.look = look_of(args, args.view)
    columns = Columns(tuple(args.image_column or ()), args.prompt_column, args.answer_column)
    args.asked = asked_in(args.source, args.prompt, columns, Path(args.output))
    if (args.fps, args.max_frames) != (None, None) and not any(may_have_clip(one) for one in args.asked):
        raise UsageError("--fps and --max-frames belong to a clip, and no file ends as one")
    check_folder(args.output)
