"""`gradcam`: layers on the picture, by what raised a score."""

from __future__ import annotations

import argparse

import config
from commands.arguments import (
    add_drawing_arguments,
    add_model_arguments,
    add_question_arguments,
    check_generation,
    held,
    ranges,
    setting,
)
from commands.pictures import check_folder, look_of, take_pictures
from commands.terminal import UsageError
from methods.catalog import LAYERED
from records.targets import Chosen, target_choice

HELP = """Answer a prompt about pictures and clips and draw Smooth Grad-CAM: what raised the answer's score.

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
  answer             the answer without its thoughts
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

About several pictures each has its files in a folder of its own, picture_1, picture_2 …; those of a clip are
of the step that most of the maps lies on. The scores are of all pictures and clips together.

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


def add_arguments(command: argparse.ArgumentParser) -> None:
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


def check(args: argparse.Namespace) -> None:
    """Raise UsageError for arguments that contradict each other; open the pictures."""
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
    args.look = look_of(args)
    check_generation(args)
    take_pictures(args, args.image)
    check_folder(args.output)
