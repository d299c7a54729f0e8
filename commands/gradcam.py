"""`gradcam`: layers on the picture, by what raised a score."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

import config
from commands.answers import default_model, generated, kept_answer, opened, word_number
from commands.arguments import (
    add_drawing_arguments,
    add_model_arguments,
    add_question_arguments,
    held,
    numbers,
    ranges,
    setting,
)
from commands.files import finished_folder
from commands.terminal import UsageError, bar, counter, printable, say, stop_on_interrupt
from methods.catalog import LAYERED
from records.look import Look
from records.targets import Chosen, target_choice
from utils import Stopped

if TYPE_CHECKING:  # torch takes seconds to import: --help and mistyped arguments do not wait for it
    from records.capture import Capture
    from records.grad_cam import GradCam
    from records.layers import Layers
    from records.targets import Target

GRADCAM = """Answer a prompt about an image and draw Smooth Grad-CAM: what raised the answer's score.

examples:
  python cli.py gradcam photo.jpg --prompt "What is this?" --output outputs/photo
  python cli.py gradcam photo.jpg --prompt "What is this?" --mode single --layer 20 --target "text:a red boat"
  python cli.py gradcam photo.jpg --prompt "What colour is it?" --target contrast:red/blue --layer-range late

modes:
  grid         layers of --layers or --layer-range (default: auto) in one picture
  multi        the same, each beside its heatmap
  comparative  early, middle and late layers in rows
  single       one layer, --layer (default: -2)

targets:
  all                the whole answer (default)
  3, 2-5 or 1,4      tokens of the answer, numbered from 0
  word:2             a word of the answer, numbered from 0
  text:a red boat    a text of your own, as the answer, or from token --at on
  contrast:red/blue  the one rather than the other, where the answer says the first, or at token --at

writes into the output folder:
  layer_7_superimposed.png …  the picture under the map of each layer, numbered from 0
  layer_7_heatmap.png …       the map alone
  layer_grid.png              all of them together, but for --mode single
  original.png                the picture as the model was given it
  answer.txt                  the answer that is explained
  maps.npz                    the raw maps as numbers, with what they were made from; numpy.load opens it

grad-cam weighs the features by their mean gradient; gradient-norm is the length of each patch's own gradient.
README.md shows how often each finds the object. The last layer has neither: nothing reads its features of the
picture.
"""

SINGLE_LAYER = -2

PLACE: config.Rule = ("a token, numbered from 0", lambda value: isinstance(value, int) and value >= 0)


def target(text: str) -> Chosen:
    """Return what is to be explained."""
    try:
        return target_choice(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_gradcam_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `gradcam`."""
    add_question_arguments(command)
    add_model_arguments(command, seed="of the noise, and of the answer's draw")
    add = command.add_argument_group("which maps").add_argument
    add("--mode", choices=("single", "grid", "multi", "comparative"), default="grid", help="(default: grid)")
    add("--layer", type=int, metavar="N", help=f"of --mode single (default: {SINGLE_LAYER})")
    add("--layers", type=ranges, metavar="WHICH", help="decoder layers such as 0-3,7 or -3--2")
    add(
        "--layer-range",
        choices=("auto", "early", "middle", "late", "all"),
        help="six layers, a third of them, or all (default: auto)",
    )
    add("--target", type=target, default=Chosen("all"), metavar="WHAT", help="see above (default: all)")
    add(
        "--at", type=held(PLACE, int), metavar="N", help="token of the answer where text: or contrast: stands"
    )
    add(
        "--method",
        choices=LAYERED,
        default=LAYERED[0],
        metavar="METHOD",
        help=f"{' or '.join(LAYERED)} (default: %(default)s)",
    )
    add(
        "--num-samples",
        type=setting("GRADCAM_SAMPLES", int),
        default=config.GRADCAM_SAMPLES,
        metavar="N",
        help="noisy copies of the picture (default: %(default)s)",
    )
    add(
        "--noise-std",
        type=setting("GRADCAM_NOISE", float),
        default=config.GRADCAM_NOISE,
        metavar="SIGMA",
        help="in normalised pixels; 0 takes the picture as it is (default: %(default)s)",
    )
    add_drawing_arguments(command)


def gradcam(args: argparse.Namespace) -> None:
    """Answer the prompt about the image and write Smooth Grad-CAM of the answer."""
    check_gradcam_arguments(args)
    look = Look(args.colormap, args.alpha, smooth=args.smooth)
    image = opened(args.image)
    with finished_folder(Path(args.output)) as folder:
        from report.layers import Style, save_layers

        cam = explained(args, image)
        (folder / "answer.txt").write_text(cam.text + "\n", encoding="utf-8")
        with bar("Pictures", "layer", len(cam.layers)) as progress:
            save_layers(cam, image, folder, args.mode, Style(look, args.scale), counter(progress))
        count = len(list(folder.iterdir()))
    for note in cam.notes:
        say(f"note: {note}")
    say(f"Wrote {count} files to {args.output}")


def check_gradcam_arguments(args: argparse.Namespace) -> None:
    """Raise UsageError for arguments that contradict each other, before a model is loaded."""
    if args.mode != "single" and args.layer is not None:
        raise UsageError(
            f"--layer belongs to --mode single; --mode {args.mode} takes --layers or --layer-range"
        )
    if args.mode in ("single", "comparative") and (args.layers or args.layer_range):
        raise UsageError(f"--layers and --layer-range do not belong to --mode {args.mode}")
    if args.layers and args.layer_range:
        raise UsageError("choose layers by --layers or by --layer-range, not both")
    if args.at is not None and args.target.kind not in ("text", "contrast"):
        raise UsageError("--at belongs to --target text:… or contrast:…")


def explained(args: argparse.Namespace, image: Image.Image) -> GradCam:
    """Load the model, have it answer, and compute the maps, with progress bars.

    Raises:
        KeyboardInterrupt: once Ctrl-C has ended the answer or the computation.
    """
    from attention_extractor import AttentionExtractor
    from methods.grad_cam import smooth_grad_cam
    from model import load_model, model_layer_count
    from records.layers import chosen_layers
    from records.targets import needs_answer

    model, processor = load_model(args.model or default_model())
    layers = layer_choice(args, model_layer_count(model))
    chosen_layers(model_layer_count(model), layers)  # refused before the answer is generated
    target, capture = target_of(args, None), None
    if needs_answer(target):
        capture = kept_answer(args, image)
        capture = capture or generated(AttentionExtractor(model, processor, layers=[0]), args, image)
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
            )
        except Stopped:
            raise KeyboardInterrupt from None
    if capture is None:
        print(printable(cam.text), flush=True)
    return cam


def layer_choice(args: argparse.Namespace, count: int) -> Layers:
    """Return the layers asked for, of a model with so many."""
    from records.layers import comparative_layers

    if args.mode == "single":
        return SINGLE_LAYER if args.layer is None else int(args.layer)
    if args.mode == "comparative":
        return comparative_layers(count)
    return numbers(args.layers, count, "layer", "the model") if args.layers else args.layer_range or "auto"


def target_of(args: argparse.Namespace, capture: Capture | None) -> Target:
    """Return what is to be explained; tokens and words only once the answer is there."""
    from records.targets import Contrast, Text

    kind, value = args.target
    if kind == "text":
        return Text(value, args.at or 0)
    if kind == "contrast":
        return Contrast(value[0], value[1], args.at)
    if capture is None or kind == "all":
        return None
    if kind == "tokens":
        return numbers(ranges(value), len(capture.token_ids), "token", "the answer")
    return word_number(capture, value).tokens
