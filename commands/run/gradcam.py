"""The work of `gradcam`: layers on the picture, by what raised a score."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from attention_extractor import AttentionExtractor
from commands.arguments import (
    numbers,
    ranges,
)
from commands.files import finished_folder
from commands.gradcam import SINGLE_LAYER
from commands.run.answers import generated, kept_answer, loaded, word_number
from commands.terminal import bar, counter, printable, say, stop_on_interrupt
from drawing.fonts import font_notes
from methods.grad_cam import smooth_grad_cam
from model import Pictures, model_layer_count
from records.capture import Capture
from records.grad_cam import GradCam
from records.layers import Layers, chosen_layers, comparative_layers
from records.selection import parsed_tokens
from records.targets import Contrast, Target, Text, needs_answer
from records.videos import Video, moment
from records.visuals import is_picture
from report.layers import Style, save_layers
from report.places import folder_of, place_of
from utils import Stopped, as_list


def run(args: argparse.Namespace) -> None:
    """Answer the prompt about the pictures and write Smooth Grad-CAM of the answer."""
    with finished_folder(Path(args.output)) as folder:
        cam = explained(args, args.picture)
        (folder / "answer.txt").write_text(cam.text + "\n", encoding="utf-8")
        for number, one in enumerate(as_list(args.picture)):
            part, picture = part_on(cam, one, number)
            own = folder / folder_of(cam.visuals, number)
            own.mkdir(exist_ok=True)
            with bar("Pictures", "layer", len(cam.layers)) as progress:
                save_layers(part, picture, own, args.mode, Style(args.look, args.scale), counter(progress))
        count = sum(one.is_file() for one in folder.rglob("*"))
    for note in (*font_notes(cam.text + cam.target), *cam.notes):
        say(f"note: {note}")
    say(f"Wrote {count} files to {args.output}")


def part_on(cam: GradCam, shown: Image.Image | Video, number: int) -> tuple[GradCam, Image.Image]:
    """Return what of the maps lies on a picture, of a clip on its hottest step, and that picture."""
    if is_picture(cam.visuals):
        assert isinstance(shown, Image.Image)
        return cam, shown
    step = cam.hottest_step(number)
    place = place_of(cam.visuals, number, step)
    if isinstance(shown, Video):
        shown = moment(shown, step, cam.visuals[number].grid[0])
    return cam.on(shown, number, step, place), shown


def explained(args: argparse.Namespace, image: Pictures) -> GradCam:
    """Load the model, have it answer, and compute the maps, with progress bars.

    Raises:
        KeyboardInterrupt: once Ctrl-C has ended the answer or the computation.
    """
    model, processor = loaded(args)
    layers = layer_choice(args, model_layer_count(model))
    chosen_layers(model_layer_count(model), layers)  # refused before the answer is generated
    target, capture = target_of(args, None), None
    if needs_answer(target) or args.answer is not None:
        kept = kept_answer(args)
        extractor = AttentionExtractor(model, processor, layers=[0], keep="head-mean")
        capture = generated(extractor, args) if kept is None else kept.capture
        print(printable(capture.text), flush=True)
        target = target_of(args, capture)
    with stop_on_interrupt() as stop, bar("Samples", "sample", args.num_samples) as progress:
        try:
            cam = smooth_grad_cam(
                model,
                processor,
                image,
                args.prompt,
                layers,
                target,
                args.num_samples,
                args.noise_std,
                args.seed,
                method=args.method,
                answer=capture,
                on_progress=counter(progress),
                stop=stop,
                thinking=args.thinking,
                system=args.system,
            )
        except Stopped:
            raise KeyboardInterrupt from None
    if capture is None:
        print(printable(cam.text), flush=True)
    return cam


def layer_choice(args: argparse.Namespace, count: int) -> Layers:
    """Return the layers asked for, of a model with so many."""
    if args.mode == "single":
        return SINGLE_LAYER if args.layer is None else int(args.layer)
    if args.mode == "comparative":
        return comparative_layers(count)
    return numbers(args.layers, count, "layer", "the model") if args.layers else args.layer_range or "auto"


def target_of(args: argparse.Namespace, capture: Capture | None) -> Target:
    """Return what is to be explained; tokens and words only once the answer is there."""
    kind, value = args.target
    if kind == "text":
        return Text(value, args.at or 0)
    if kind == "contrast":
        return Contrast(value[0], value[1], args.at)
    if capture is None or kind == "all":
        return None
    if kind == "answer":
        return parsed_tokens(capture, kind)[0]
    if kind == "tokens":
        return numbers(ranges(value), len(capture.token_ids), "token", "the answer")
    return word_number(capture, value).tokens
