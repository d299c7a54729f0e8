"""`attention`: an answer's words on the picture, by where their attention was."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

import visualization
from commands.answers import answered, opened, subject_of
from commands.arguments import (
    add_choice_arguments,
    add_drawing_arguments,
    add_method_arguments,
    add_model_arguments,
    add_question_arguments,
    add_view_argument,
    choice,
    numbers,
)
from commands.files import finished_folder
from commands.terminal import UsageError, bar, printable, say
from methods import METHODS
from records.look import Look
from records.selection import Selection
from report.png import figure
from report.view import Drawing, arrays_of, coloured, drawings
from utils import as_ranges, one_line, save_arrays
from visualization import save_image

if TYPE_CHECKING:  # torch takes seconds to import: --help and mistyped arguments do not wait for it
    from records.capture import Capture

ATTENTION = """Answer a prompt about an image and draw where the attention of each word was.

example:
  python cli.py attention photo.jpg --prompt "Describe this image." --tokens words --output outputs/photo

writes into the output folder:
  token_000.png …        the picture under the map of each chosen token, numbered from 0
  word_000.png …         the same for words, with --tokens words
  prompt_word_000.png …  the same for the words of the prompt, with --prompt-words
  overview.png           all of them together
  original.png           the picture as the model was given it
  answer.txt             the answer
  maps.npz               the maps as numbers, with what they were made from; numpy.load opens it

The maps show attention. Attention is where a model looked, not proof of why it chose a word.
"""


def add_attention_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `attention`; the settings in config.py are the defaults."""
    add_question_arguments(command)
    add_model_arguments(command)
    add_choice_arguments(command)
    add_method_arguments(command)
    add_drawing_arguments(command)
    add_view_argument(command)


def attention(args: argparse.Namespace) -> None:
    """Answer the prompt about the image and write its maps."""
    look = Look(args.colormap, args.alpha, args.view, args.smooth)
    image = opened(args.image)
    with finished_folder(Path(args.output)) as folder:
        capture = answered(args, image)
        print(printable(capture.text), flush=True)
        if not capture.token_ids:
            raise UsageError("the model gave an empty answer: there is nothing to draw")
        subject = subject_of(args, image, capture, selection_of(args, capture, look))
        look = coloured(subject.choosing(scale="own"))
        shown = [subject]
        if args.prompt_words:
            shown.append(subject.choosing(tokens=None, by="word", of_prompt=True))
        found = [one for part in shown for one in drawings(part)]
        if args.scale == "shared":
            low, high = visualization.shared_range(one.values for one in found)
            look = replace(look, vmin=low, vmax=high)
        save_image(image, folder / "original.png")
        (folder / "answer.txt").write_text(capture.text + "\n", encoding="utf-8")
        draw(folder, image, found, look)
        save_image(overview(image, found, look, (capture.text, subject.found.line)), folder / "overview.png")
        files = sorted([*(file.name for file in folder.iterdir()), "maps.npz"])
        drawing = {**asdict(look), "scale": args.scale, "files": files}
        save_arrays(folder / "maps.npz", arrays_of(shown, drawing))
    say(f"Wrote {len(files)} files to {args.output}")


def selection_of(args: argparse.Namespace, capture: Capture, look: Look) -> Selection:
    """Return what the arguments choose of a capture.

    Raises:
        UsageError: for a token, layer or head that it does not have, and for what is not the method's.
    """
    row, count, tokens = METHODS[args.method], len(capture.token_ids), args.tokens
    if not row.folds and (args.layers or args.heads or args.no_sinks):
        raise UsageError(f"--layers, --heads and --no-sinks do not belong to --method {row.name}")
    if not row.of_prompt and args.prompt_words:
        raise UsageError("--prompt-words belongs to --method attention")
    layers, heads = choice(args, capture.layer_count, capture.prompt_attention.shape[2])
    if missing := set(layers or ()) - set(capture.layers):
        recorded = as_ranges(capture.layers)
        raise UsageError(f"layer {min(missing)} was not recorded for this answer; recorded: {recorded}")
    return Selection(
        layers=tuple(layers or capture.layers),
        heads=tuple(heads),
        aggregation=args.aggregation,
        tokens=None if isinstance(tokens, str) else tuple(numbers(tokens, count, "token", "the answer")),
        by="word" if tokens == "words" else "token",
        method=row.name,
        no_sinks=args.no_sinks,
        look=look,
        scale=args.scale,
    )


def draw(folder: Path, image: Image.Image, found: Sequence[Drawing], look: Look) -> None:
    """Write a picture of each map, with a progress bar."""
    picture = visualization.fitted(image, visualization.MIN_SIDE, visualization.MAX_SIDE)
    with bar("Pictures", "picture", len(found)) as progress:
        for one in found:
            save_image(figure(picture, one, look), folder / f"{one.name}.png")
            progress.update()


def overview(
    image: Image.Image, found: Sequence[Drawing], look: Look, heading: tuple[str, str]
) -> Image.Image:
    """Return all maps on small copies of the picture in one, under a title and a smaller line."""
    maps, labels = [one.values for one in found], [one.title for one in found]
    small = visualization.thumbnails(image, maps, look)
    title, subtitle = one_line(heading[0]), heading[1]
    return visualization.map_grid(
        small,
        maps,
        labels,
        look,
        title=title,
        subtitle=subtitle,
        scale_label=found[0].scale_label,
        unit=found[0].unit,
    )
