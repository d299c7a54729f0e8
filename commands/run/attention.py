"""The work of `attention`: an answer's words on the picture, as files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import visualization
from commands.arguments import (
    choice,
    numbers,
)
from commands.closer import is_closer
from commands.files import CLOSER, finished_folder
from commands.run.answers import answered, conversation, subject_of
from commands.run.closer import closer_arguments
from commands.terminal import UsageError, bar, counter, printable, say
from commands.then import turn_folder
from drawing.boxes import draw_boxes
from methods import METHODS
from records.boxes import as_json
from records.capture import Capture
from records.keep import every_head
from records.look import Look
from records.selection import ANSWER, Selection, parsed_tokens
from records.videos import Video
from report.animation import gif, mp4
from report.boxes import box_line, figures_line
from report.crops import box_text, crop_gain
from report.formats import FORMATS
from report.numbers import arrays_of
from report.parts import Pictures, parts_on, share_text, sheet
from report.places import folder_of, whole_place_of
from report.png import figure
from report.view import Drawing, Subject, coloured, drawings, unwritten, whole_drawing
from utils import Watch, as_ranges, one_line, save_arrays
from visualization import save_image


def run(args: argparse.Namespace) -> None:
    """Answer the prompt about the pictures and clips, and what is asked after it, and write the maps."""
    written = 0
    with finished_folder(Path(args.output)) as folder:
        for number, (turn, capture) in enumerate(conversation(args), start=1):
            own, subject = folder / turn_folder(number), subject_in(turn, capture, number)
            own.mkdir(exist_ok=True)
            written += write_answer(own, turn, subject)
            if is_closer(args):  # and nothing is asked after it
                written += write_closer(folder / CLOSER, closer_arguments(args, capture, subject.found))
    say(f"Wrote {written} files to {args.output}")


def write_closer(folder: Path, args: argparse.Namespace) -> int:
    """Ask again with the part that was cut out, say what it gained, and return how many files there are."""
    capture, _ = answered(args)
    crop = capture.crop
    assert crop is not None
    whole = "" if len(args.picture) == 2 else f"{whole_place_of(capture.visuals[: crop.visual], crop.of)}, "
    print(printable(f"Closer look at {whole}{box_text(crop)}: {capture.text}"))
    print(crop_gain(capture), flush=True)
    folder.mkdir()
    if capture.token_ids:
        return write_answer(folder, args, subject_of(args, capture, selection_of(args, capture)))
    say("note: the closer look has an empty answer: there is nothing to draw")
    (folder / "answer.txt").write_text("\n", encoding="utf-8")
    return 1


def subject_in(args: argparse.Namespace, capture: Capture, number: int) -> Subject:
    """Return an answer, the conversation's turn of that number from 1 on, with what is chosen of it.

    Raises:
        UsageError: for what it does not have.
    """
    try:
        chosen = selection_of(args, capture)
    except UsageError as error:
        raise UsageError(f"turn {number}: {error}" if number > 1 else str(error)) from None
    return subject_of(args, capture, chosen)


def write_answer(folder: Path, args: argparse.Namespace, subject: Subject) -> int:
    """Write an answer and its maps on each picture into its folder, and return how many files that is."""
    capture = subject.capture
    (folder / "answer.txt").write_text(capture.text + "\n", encoding="utf-8")
    written = 1
    for number, shown in enumerate(capture.pictures):
        own, one = folder / folder_of(capture.visuals, number), subject.choosing(visual=number)
        own.mkdir(exist_ok=True)
        if isinstance(shown, Video):
            written += write_clip(own, args, capture.pictures, one)
        else:
            written += write_picture(own, args, shown, one)
    for note in unwritten(subject):
        say(f"note: {note}")
    if len(capture.visuals) > 1:
        say_shares(args.image, subject)
    return written


def write_picture(folder: Path, args: argparse.Namespace, image: Image.Image, subject: Subject) -> int:
    """Write the maps of one picture into its folder, and return how many files were written."""
    tell_boxes(subject, folder)
    look = coloured(subject.choosing(scale="own"))
    shown = [subject]
    if args.prompt_words:
        shown.append(subject.choosing(tokens=None, by="word", of_prompt=True))
    found = [one for part in shown for one in drawings(part)]
    if args.scale == "shared":
        look = visualization.shared_look(look, whole_maps(shown))
    save_image(image, folder / "original.png")
    draw(folder, image, found, look)
    heading = (subject.capture.text, subject.found.line)
    save_image(overview(image, found, look, heading), folder / "overview.png")
    return save_maps(folder, shown, {**asdict(look), "scale": args.scale})


def write_clip(folder: Path, args: argparse.Namespace, pictures: Pictures, subject: Subject) -> int:
    """Write what is chosen of an answer on the steps of a clip, and return how many files were written."""
    tell_boxes(subject, folder)
    shown = [subject]
    if args.prompt_words:
        shown.append(subject.choosing(tokens=None, by="word", of_prompt=True))
    number = subject.selection.visual
    for one in shown:
        side = "prompt_" * one.selection.of_prompt
        parts, look = parts_on(one, pictures, number), coloured(one)
        save_image(sheet(one, parts), folder / f"{side}overview.png")
        with bar(f"Steps of {subject.visual.name}", "picture", len(parts)) as progress:
            for step, part in enumerate(parts):
                picture = visualization.fitted(part.image, visualization.MIN_SIDE, visualization.MAX_SIDE)
                drawn = figure(picture, whole_drawing(part.subject), look)
                save_image(drawn, folder / f"{side}step_{step:03d}.png")
                progress.update()
        for kind, write in (("gif", gif), ("mp4", mp4)):
            with bar(f"{FORMATS[kind].name} of {subject.visual.name}", "frame", 1) as progress:
                notes = write(
                    one, pictures, folder / f"{side}moving.{kind}", Watch(counter(progress)), number
                )
        for note in notes:
            if note not in unwritten(one):  # which are said once, at the end
                say(f"note: {note}")
    return save_maps(folder, shown, {**asdict(coloured(subject)), "scale": args.scale})


def save_maps(folder: Path, shown: Sequence[Subject], drawing: dict[str, Any]) -> int:
    """Write the numbers beside all that was drawn, and return how many files that is but for the answer."""
    files = sorted([*(file.name for file in folder.iterdir() if file.is_file()), "maps.npz"])
    save_arrays(folder / "maps.npz", arrays_of(shown, {**drawing, "files": files}))
    return len(files) - ("answer.txt" in files)


def whole_maps(shown: Sequence[Subject]) -> Iterator[NDArray[np.float32]]:
    """Yield the map of everything that is drawn, on all pictures (1, patch)."""
    for subject in shown:
        is_word = subject.selection.by == "word"
        each = [word.tokens for _, word in subject.words()] if is_word else [(one,) for one in subject.tokens]
        for tokens in each:
            yield subject.found.mean_map(tokens).reshape(1, -1)


def say_shares(names: Sequence[str], subject: Subject) -> None:
    """Say how much of the chosen tokens' attention each picture and clip got."""
    chosen, visuals = subject.selection, subject.capture.visuals
    shares = subject.processor.visual_shares(subject.tokens, chosen.layers, chosen.heads)
    for number, (name, share) in enumerate(zip(names, shares, strict=True)):
        place = whole_place_of(visuals, number)
        say(f"{place}, {one_line(printable(name))}: {share_text(float(share))} of attention")


def tell_boxes(subject: Subject, folder: Path) -> None:
    """Print the boxes of an answer, each with how the map of its own tokens lies on it, and write them.

    Of a clip their places alone: an answer does not say in which of its frames they are.
    """
    boxes, notes = subject.boxes
    for number, box in enumerate(boxes):
        line = box_line(number, box)
        if not subject.visual.times:
            line = figures_line(number, box, subject.heat(box.tokens), subject.visual.size)
        one, visuals = subject.selection.visual, subject.capture.visuals
        of = "" if len(visuals) == 1 else f"on {whole_place_of(visuals, one)}: "
        print(printable(of + line), flush=True)
    for note in notes:
        say(f"note: {note}")
    if boxes:
        written = json.dumps(as_json(boxes), ensure_ascii=False, indent=1)
        (folder / "boxes.json").write_text(written + "\n", encoding="utf-8")


def selection_of(args: argparse.Namespace, capture: Capture) -> Selection:
    """Return what the arguments choose of a capture.

    Raises:
        UsageError: for a token, layer or head that it does not have.
    """
    row, count, tokens = METHODS[args.method], len(capture.token_ids), args.tokens
    layers, heads = choice(args, capture.layer_count, capture.head_count)
    if missing := set(layers or ()) - set(capture.layers):
        recorded = as_ranges(capture.layers)
        raise UsageError(f"layer {min(missing)} was not recorded for this answer; recorded: {recorded}")
    chosen: tuple[int, ...] | None = None
    if tokens == ANSWER:
        chosen, _ = parsed_tokens(capture, ANSWER)
    elif not isinstance(tokens, str):
        chosen = tuple(numbers(tokens, count, "token", "the answer"))
    return Selection(
        layers=tuple(layers or capture.layers),
        heads=tuple(heads) if args.heads else every_head(capture),
        aggregation=args.aggregation,
        tokens=chosen,
        by="word" if tokens in ("words", ANSWER) else "token",
        method=row.name,
        no_sinks=args.no_sinks,
        look=args.look,
        scale=args.scale,
    )


def draw(folder: Path, image: Image.Image, found: Sequence[Drawing], look: Look) -> None:
    """Write a picture of each map, with a progress bar."""
    of = "" if found[0].whole is None else f", {found[0].place}"
    picture = visualization.fitted(image, visualization.MIN_SIDE, visualization.MAX_SIDE)
    with bar(f"Pictures{of}", "picture", len(found)) as progress:
        for one in found:
            save_image(figure(picture, one, look), folder / f"{one.name}.png")
            progress.update()


def overview(
    image: Image.Image, found: Sequence[Drawing], look: Look, heading: tuple[str, str]
) -> Image.Image:
    """Return all maps on small copies of the picture in one, under a title and a smaller line."""
    maps, labels = [one.values for one in found], [one.title for one in found]
    looks = [one.look(look) for one in found]
    small = visualization.thumbnails(image, maps, looks)
    for picture, one in zip(small, found, strict=True):
        draw_boxes(picture, one.boxes, all_=False)
    title, subtitle = one_line(heading[0]), heading[1]
    return visualization.map_grid(
        small,
        maps,
        labels,
        looks,
        title=title,
        subtitle=subtitle,
        scale_label=found[0].scale_label,
        unit=found[0].unit,
    )
