"""The command line: `python cli.py attention|gradcam|check|export|evaluate`. The same calls as the page.

Goes in: arguments. Comes out: files in a folder; the answer on stdout; progress and errors of one line on
stderr. Knows nothing of hooks, tensors or pages.

A further command is an entry in COMMANDS: its help, a function that adds its arguments, one that runs it.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import sys
import tempfile
import threading
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from PIL import Image
from tqdm import tqdm

import config
import visualization
from export import FORMATS, export, figure
from store import Checkpoint, DamagedError, Entry, Kept, Store, checkpoint
from store import key as store_key
from target_text import Chosen, target_choice
from utils import ImageError, Stopped, Watch, image_hash, one_line, open_image, save_arrays
from views import Drawing, View, arrays_of, as_ranges, drawings
from visualization import Look, save_image

if TYPE_CHECKING:  # torch takes seconds to import: --help and mistyped arguments do not wait for it
    from attention_extractor import AttentionExtractor, Capture
    from attention_processor import Word
    from checks import MapCheck, PictureCheck
    from evaluation import Sample
    from gradcam import GradCam, Layers
    from methods import TokenMaps
    from targets import Target

FAILED, REFUSED, STOPPED = 1, 2, 130  # exit codes: our mistake, something to correct, Ctrl-C
DRAWN_NAME = re.compile(
    r"((token|word|prompt_word)_\d+|overview|layer_\d+_(heatmap|superimposed)|layer_grid)\.png"
)

JOINED = ("--layers", "--heads", "--tokens", "--target", "--patches")  # arguments that may begin with a minus

MEASURED = (
    *("attention", "relative", "rollout", "gradient-attention", "grad-cam", "smooth-grad-cam"),
    *("gradient-norm", "tam", "occlusion"),
)  # methods.METHODS, whose room imports torch
SOME: config.Rule = ("a whole number of at least 1", lambda value: isinstance(value, int) and value >= 1)
ANY: config.Rule = ("a whole number of at least 0", lambda value: isinstance(value, int) and value >= 0)

Range = tuple[int, int]  # first and last, both included; negative ones count from the end


class UsageError(ValueError):
    """The arguments cannot be used; the message is one line."""


# --- Arguments ----------------------------------------------------------------------------------------------


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{one_line(message)} (see {self.prog} --help)")


def parser() -> OneLineParser:
    """Return the parser of all commands."""
    root = OneLineParser(
        prog="python cli.py", description="Show which parts of an image each word came from."
    )
    commands = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.description.splitlines()[0],
            description=command.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.add_argument("--debug", action="store_true", help="on an error, show where it came from")
        sub.set_defaults(run=command.run)
    return root


def ranges(text: str) -> tuple[Range, ...]:
    """Return "0-3,-1" as ((0, 3), (-1, -1)); both ends of a range are part of it."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(-?\d{1,9})(?:-(-?\d{1,9}))?\s*", part)
        if match is None:
            raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers and ranges such as 3 or 0-3,7")
        first = int(match[1])
        found.append((first, first if match[2] is None else int(match[2])))
    return tuple(found)


def token_choice(text: str) -> str | tuple[Range, ...]:
    """Return "all" or "words" as it is, else ranges of tokens counted from 0."""
    if text in ("all", "words"):
        return text
    try:
        chosen = ranges(text)
    except argparse.ArgumentTypeError:
        wanted = "all, words, or numbers such as 3, 2-5 or 1,4"
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None
    if min(min(pair) for pair in chosen) < 0:
        raise argparse.ArgumentTypeError(f"tokens are counted from 0; got {text}")
    return chosen


def numbers(chosen: Sequence[Range], count: int, name: str, owner: str) -> list[int]:
    """Return the numbers in the ranges, ascending, each once; negative ones counted from the last.

    Raises:
        UsageError: for a number that `owner` ("the model") does not have, or a range that runs backwards.
    """
    found: set[int] = set()
    for pair in chosen:
        for number in pair:
            if not -count <= number < count:
                raise UsageError(
                    f"there is no {name} {number}: {owner} has {count} {name}s, 0 to {count - 1}"
                )
        first, last = (number % count for number in pair)
        if first > last:
            raise UsageError(f"the range of {name}s {pair[0]}-{pair[1]} runs backwards")
        found.update(range(first, last + 1))
    return sorted(found)


def setting(name: str, kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader of one number, held to the rule that config.py has for the setting of that name."""
    return held(config.RULES[name], kind)


def held(rule: config.Rule, kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader of one number, held to a rule."""
    allowed, accepts = rule

    def read(text: str) -> Any:
        with suppress(ValueError):
            value = kind(text)
            if accepts(value):
                return value
        raise argparse.ArgumentTypeError(f"must be {allowed}; got {text}")

    return read


def prompt_text(text: str) -> str:
    """Return the prompt; what can be refused without a model is refused before one is loaded."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the prompt is empty")
    limit = config.MAX_PROMPT_CHARACTERS
    if len(text) > limit:
        raise argparse.ArgumentTypeError(f"{len(text):,} characters; at most {limit:,} are allowed")
    return text


def joined_negatives(argv: Sequence[str]) -> list[str]:
    """Return the arguments with "--layers=-2,-1" for "--layers -2,-1", which argparse cannot read."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] in JOINED and re.match(r"-\d", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


# --- attention ----------------------------------------------------------------------------------------------

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
    add_drawing_arguments(command)
    add_view_argument(command)


def add_question_arguments(command: argparse.ArgumentParser) -> None:
    """Add the picture, the prompt and the folder to write into."""
    add = command.add_argument
    add("image", metavar="IMAGE", help="a picture file")
    add("--prompt", required=True, type=prompt_text, metavar="TEXT", help="what to ask about the picture")
    add_output_argument(command)


def add_output_argument(command: argparse.ArgumentParser) -> None:
    """Add the folder to write into."""
    command.add_argument(
        "--output",
        default=config.OUTPUT_DIR,
        metavar="DIR",
        help="folder to write into (default: %(default)s)",
    )


def add_model_arguments(command: argparse.ArgumentParser, seed: str = "of the draw") -> None:
    """Add the arguments of a model and its answer; `seed` says what the seed is of."""
    add = command.add_argument_group("model and answer").add_argument
    default = f"{config.MODEL_NAME} with CUDA, else demo".replace("%", "%%")
    add("--model", metavar="NAME", help=f"demo, a folder, or a hub id (default: {default})")
    add(
        "--max-new-tokens",
        type=setting("MAX_NEW_TOKENS", int),
        default=config.MAX_NEW_TOKENS,
        metavar="N",
        help="longest answer (default: %(default)s)",
    )
    add(
        "--temperature",
        type=setting("TEMPERATURE", float),
        default=config.TEMPERATURE,
        metavar="T",
        help="0 takes the likeliest token, above 0 draws (default: %(default)s)",
    )
    add(
        "--top-p",
        type=setting("TOP_P", float),
        default=config.TOP_P,
        metavar="P",
        help="draw from the likeliest tokens that reach this probability (default: %(default)s)",
    )
    add(
        "--seed",
        type=setting("SEED", int),
        default=config.SEED,
        metavar="N",
        help=f"{seed} (default: %(default)s)",
    )
    add("--no-cache", action="store_true", help="ask the model even if it answered this before; keep nothing")


def add_choice_arguments(command: argparse.ArgumentParser, tokens: str = "all") -> None:
    """Add the arguments that choose tokens, layers and heads; `tokens` is chosen by default."""
    add = command.add_argument_group("which maps").add_argument
    add(
        "--tokens",
        type=token_choice,
        default=tokens,
        metavar="WHICH",
        help="all, words, or numbers such as 3, 2-5 or 1,4 (default: %(default)s)",
    )
    add("--prompt-words", action="store_true", help="draw the words of the prompt too")
    add(
        "--layers",
        type=ranges,
        metavar="WHICH",
        help="decoder layers such as 0-3,-1; -1 is the last (default: those that config.py records)",
    )
    add("--heads", type=ranges, metavar="WHICH", help="heads such as 0-3,7 (default: all)")
    add(
        "--aggregation",
        choices=("mean", "max", "min"),
        default=config.AGGREGATION,
        help="over layers and heads (default: %(default)s)",
    )


def add_drawing_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of how a map is drawn."""
    add = command.add_argument_group("drawing").add_argument
    add(
        "--colormap",
        default=config.HEATMAP_COLORMAP,
        metavar="NAME",
        help="any of matplotlib's (default: %(default)s)",
    )
    add(
        "--alpha",
        type=setting("HEATMAP_ALPHA", float),
        default=config.HEATMAP_ALPHA,
        metavar="A",
        help="0 shows the picture, 1 the map (default: %(default)s)",
    )
    add(
        "--smooth",
        action=argparse.BooleanOptionalAction,
        default=config.HEATMAP_SMOOTH,
        help="blend between cells; one cell is one visual token (default: %(default)s)",
    )
    add(
        "--scale",
        choices=("own", "shared"),
        default=config.HEATMAP_SCALE,
        help="colours span each map's own range of values, or one range for all (default: %(default)s)",
    )


def add_view_argument(command: argparse.ArgumentParser) -> None:
    """Add what is shown of a map and its picture."""
    command.add_argument(
        "--view",
        type=lambda text: text.replace("-", " "),
        choices=visualization.VIEWS,
        default=config.HEATMAP_VIEW,
        metavar="VIEW",
        help="overlay, side-by-side or heatmap (default: %(default)s)",
    )


def attention(args: argparse.Namespace) -> None:
    """Answer the prompt about the image and write its maps."""
    look = Look(args.colormap, args.alpha, args.view, args.smooth)
    image = opened(args.image)
    with finished_folder(Path(args.output)) as folder:
        capture = answered(args, image)
        print(printable(capture.text), flush=True)
        if not capture.token_ids:
            raise UsageError("the model gave an empty answer: there is nothing to draw")
        view = view_of(args, capture, look)
        shown = [view]
        if args.prompt_words:
            shown.append(replace(view, tokens=None, by="word", of_prompt=True))
        found = [one for part in shown for one in drawings(capture, part)]
        if args.scale == "shared":
            low, high = visualization.shared_range(one.values for one in found)
            look = replace(look, vmin=low, vmax=high)
        save_image(image, folder / "original.png")
        (folder / "answer.txt").write_text(capture.text + "\n", encoding="utf-8")
        draw(folder, image, found, look)
        save_image(overview(image, found, look, (capture.text, str(view))), folder / "overview.png")
        files = sorted([*(file.name for file in folder.iterdir()), "maps.npz"])
        drawing = {**asdict(look), "scale": args.scale, "files": files}
        save_arrays(folder / "maps.npz", arrays_of(capture, shown, drawing))
    say(f"Wrote {len(files)} files to {args.output}")


def view_of(args: argparse.Namespace, capture: Capture, look: Look) -> View:
    """Return what the arguments choose of a capture.

    Raises:
        UsageError: for a token, layer or head that it does not have.
    """
    count, tokens = len(capture.token_ids), args.tokens
    layers, heads = choice(args, capture.layer_count, capture.prompt_attention.shape[2])
    if missing := set(layers or ()) - set(capture.layers):
        recorded = as_ranges(capture.layers)
        raise UsageError(f"layer {min(missing)} was not recorded for this answer; recorded: {recorded}")
    return View(
        layers=tuple(layers or capture.layers),
        heads=tuple(heads),
        aggregation=args.aggregation,
        tokens=None if isinstance(tokens, str) else tuple(numbers(tokens, count, "token", "the answer")),
        by="word" if tokens == "words" else "token",
        look=look,
        scale=args.scale,
    )


def choice(args: argparse.Namespace, layer_count: int, head_count: int) -> tuple[list[int] | None, list[int]]:
    """Return the layers (None: all that were recorded) and heads asked for, of a model with so many."""
    layers = numbers(args.layers, layer_count, "layer", "the model") if args.layers else None
    return layers, numbers(args.heads or [(0, -1)], head_count, "head", "the model")


def opened(path: str) -> Image.Image:
    """Return the picture; what was left out of it is said on stderr."""
    try:
        image = open_image(path)
    except ImageError as error:
        raise UsageError(f"{path}: {error}") from error
    if "note" in image.info:
        say(f"note: {image.info['note']}")
    return image


def answered(args: argparse.Namespace, image: Image.Image) -> Capture:
    """Return the answer that is kept for this question, else load the model, generate, and keep it."""
    if (kept := kept_answer(args, image, args.layers)) is not None:
        return kept
    from model import load_model, model_layer_count

    from attention_extractor import AttentionExtractor

    model, processor = load_model(args.model or default_model())
    head_count = model.config.get_text_config().num_attention_heads
    layers, _ = choice(args, model_layer_count(model), head_count)
    capture = generated(AttentionExtractor(model, processor, layers=layers), args, image)
    keep(args, image, capture, layers)
    return capture


def kept_answer(
    args: argparse.Namespace, image: Image.Image, layers: Sequence[Range] | None = None
) -> Capture | None:
    """Return the answer to the same question, with these layers in it, if one is kept; and say so."""
    source = None if args.no_cache else checkpoint(args.model or default_model())
    if source is None:
        return None
    wanted = numbers(layers, source.layer_count, "layer", "the model") if layers else []
    for recorded in (None, wanted) if wanted else (None,):
        kept = Store().find(question(args, image, source, recorded))
        if kept is not None and set(wanted) <= set(kept.capture.layers):
            say("The same question was answered before: taken from the cache (--no-cache asks again).")
            return kept.capture
    return None


def keep(args: argparse.Namespace, image: Image.Image, capture: Capture, layers: list[int] | None) -> None:
    """Keep the answer for the next time, if it may be kept and can be."""
    source = None if args.no_cache else checkpoint(args.model or default_model())
    if source is not None:
        try:
            Store().save(capture, image, question(args, image, source, layers))
        except OSError as error:
            say(f"note: the answer could not be kept: {error.strerror or error}")


def question(
    args: argparse.Namespace, image: Image.Image, source: Checkpoint, layers: list[int] | None
) -> str:
    """Return the key of the question in the store."""
    names = ("max_new_tokens", "temperature", "top_p", "seed")
    settings = {name: getattr(args, name) for name in names}
    return store_key(source, image_hash(image), args.prompt, layers=layers, **settings)


def generated(extractor: AttentionExtractor, args: argparse.Namespace, image: Image.Image) -> Capture:
    """Return the answer, generated with a progress bar.

    Raises:
        KeyboardInterrupt: once Ctrl-C has ended the answer, between two tokens.
    """
    with stop_on_interrupt() as stop, bar("Answer", "token", args.max_new_tokens) as progress:

        def on_token(text: str, count: int) -> None:
            progress.set_postfix_str(one_line(printable(text[-64:]))[-32:], refresh=False)
            progress.update(count - progress.n)

        capture = extractor.generate(
            image,
            args.prompt,
            max_new_tokens=args.max_new_tokens,
            temperature=args.temperature,
            top_p=args.top_p,
            seed=args.seed,
            on_token=on_token,
            stop=stop,
        )
        progress.total = progress.n  # the answer ended here
    if stop.is_set():
        raise KeyboardInterrupt
    return capture


def default_model() -> str:
    """Return config's model where there is CUDA, else the bundled one."""
    from model import DEMO

    import torch

    return config.MODEL_NAME if torch.cuda.is_available() else DEMO


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
    return visualization.map_grid(small, maps, labels, look, title=title, subtitle=subtitle)


# --- gradcam ------------------------------------------------------------------------------------------------

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
METHOD_NAMES = ("grad-cam", "gradient-norm")  # gradcam.METHODS, whose room imports torch
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
        choices=METHOD_NAMES,
        default=METHOD_NAMES[0],
        metavar="METHOD",
        help="grad-cam or gradient-norm (default: %(default)s)",
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
        from gradcam import Style, save_layers

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
    from model import load_model, model_layer_count

    from attention_extractor import AttentionExtractor
    from gradcam import chosen_layers, smooth_grad_cam
    from targets import needs_answer

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
    from gradcam import comparative_layers

    if args.mode == "single":
        return SINGLE_LAYER if args.layer is None else int(args.layer)
    if args.mode == "comparative":
        return comparative_layers(count)
    return numbers(args.layers, count, "layer", "the model") if args.layers else args.layer_range or "auto"


def target_of(args: argparse.Namespace, capture: Capture | None) -> Target:
    """Return what is to be explained; tokens and words only once the answer is there."""
    from targets import Contrast, Text

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


def word_number(capture: Capture, number: int) -> Word:
    """Return a word of the answer by its number, counted from 0; UsageError if there is none."""
    from attention_processor import AttentionProcessor

    words = AttentionProcessor(capture).words()
    return words[numbers([(number, number)], len(words), "word", "the answer")[0]]


# --- check --------------------------------------------------------------------------------------------------

CHECK = """Check a word's map on an answer: does the word fall when the map's hottest patches are removed?

examples:
  python cli.py check photo.jpg --prompt "What color is the tree?" --target red --output outputs/red
  python cli.py check photo.jpg --prompt "Describe this image." --target word:4 --method tam --patches 8

The answer stays as it is; patches of the picture are covered, and the word's probability is read again:
without the map's hottest patches, without as many random ones, and without the most central ones. Then every
word's probability is shown with the picture, and to the same question without one: what came from the
picture, and what from language alone.

writes into the output folder:
  map.png     the picture under the map that is checked
  curve.png   the word's probability over the number of patches that are removed
  curve.csv   the same as numbers
  words.md    the words with the picture and without
  check.json  all of it
  answer.txt  the answer
"""
REPEATS = 8  # random orders beside the map's


def add_check_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `check`."""
    add_question_arguments(command)
    add_model_arguments(command, seed="of the random patches, and of the answer's draw")
    add = command.add_argument_group("what is checked").add_argument
    add(
        "--target",
        required=True,
        metavar="WORD",
        help="a word as the answer has it, word:2 for the third, or tokens such as 3 or 2-5",
    )
    add("--method", choices=MEASURED, default=MEASURED[0], metavar="NAME", help=f"{', '.join(MEASURED)}")
    add("--layers", type=ranges, metavar="WHICH", help="decoder layers, as 0-3,-1 (default: the method's)")
    add("--heads", type=ranges, metavar="WHICH", help="heads such as 0-3,7 (default: the method's)")
    add("--patches", type=ranges, metavar="HOW-MANY", help="to remove (default: 1,2,4,8,… up to half)")
    add(
        "--repeats",
        type=held(SOME, int),
        default=REPEATS,
        metavar="N",
        help="random orders of patches (default: %(default)s)",
    )
    add("--filling", choices=("blur", "mean"), default="blur", help="what covers a patch (default: blur)")


def run_check(args: argparse.Namespace) -> None:
    """Check a map of an answer, and write what was found."""
    image = opened(args.image)
    with finished_folder(Path(args.output)) as folder:
        from model import load_model

        model, processor = load_model(args.model or default_model())
        capture = answered_by((model, processor), args, image)
        print(printable(capture.text), flush=True)
        tokens = tokens_meant(args.target, capture)
        with stop_on_interrupt() as stop:
            try:
                found, on_map, on_picture = checked((model, processor), args, image, capture, tokens, stop)
            except Stopped:
                raise KeyboardInterrupt from None
        write_check(folder, image, capture, found, on_map, on_picture)
        names = sorted(path.name for path in folder.iterdir())
    for note in found.notes:
        say(f"note: {note}")
    for count in on_map.counts[1:] if args.patches else [on_map.telling]:
        print(printable(on_map.sentence(count)))
    print(printable(on_picture.sentence(tokens, on_map.text)))
    print(printable(f"\n{on_picture.table()}"))
    say(f"Wrote {', '.join(names)} to {args.output}")


def answered_by(loaded: tuple[Any, Any], args: argparse.Namespace, image: Image.Image) -> Capture:
    """Return the answer that is kept for this question, else have a loaded model give it, and keep it."""
    from attention_extractor import AttentionExtractor

    kept = kept_answer(args, image)
    if kept is None:
        kept = generated(AttentionExtractor(*loaded), args, image)
        keep(args, image, kept, None)
    return kept


def tokens_meant(text: str, capture: Capture) -> tuple[int, ...]:
    """Return the tokens of the answer that a person means: by numbers, or by a word that it says once."""
    from attention_processor import AttentionProcessor

    try:
        kind, value = target_choice(text)
    except ValueError:
        kind, value = "", None
    if kind == "tokens":
        return tuple(numbers(ranges(value), len(capture.token_ids), "token", "the answer"))
    if kind == "word":
        return word_number(capture, value).tokens
    words = AttentionProcessor(capture).words()
    places = [place for place, word in enumerate(words) if word.text.lower() == text.strip().lower()]
    if len(places) == 1:
        return words[places[0]].tokens
    if not places:
        listed = ", ".join(f"{place} {word.text}" for place, word in enumerate(words))
        raise UsageError(f"the answer does not say {text!r}; its words are {listed}")
    named = " or ".join(f"word:{place}" for place in places)
    raise UsageError(f"the answer says {text!r} {len(places)} times; name one: {named}")


def checked(
    loaded: tuple[Any, Any],
    args: argparse.Namespace,
    image: Image.Image,
    capture: Capture,
    tokens: tuple[int, ...],
    stop: threading.Event,
) -> tuple[TokenMaps, MapCheck, PictureCheck]:
    """Return the map, what its patches do to the word, and what the picture does, with progress bars."""
    from checks import check_map, without_image
    from methods import token_maps

    model, processor = loaded
    h, w = capture.grid
    patches = numbers(args.patches, h * w + 1, "number of patches", "the picture") if args.patches else None
    options: dict[str, Any] = {}
    layers, heads = choice(args, capture.layer_count, capture.prompt_attention.shape[2])
    options |= {"layers": layers} if args.layers else {}
    options |= {"heads": heads} if args.heads else {}
    given: dict[str, Any] = {"model": model, "processor": processor, "image": image, "stop": stop}
    with bar("Map", "pass", 1) as progress:
        found = token_maps(
            args.method, capture, tokens=tokens, on_progress=counter(progress), **given, **options
        )
        progress.update(int(progress.total or 0) - progress.n)
    with bar("Pictures", "picture", 1) as progress:
        on_map = check_map(
            capture=capture,
            tokens=tokens,
            heat=found.token_map(tokens),
            patches=patches,
            repeats=args.repeats,
            filling=args.filling,
            seed=args.seed,
            on_progress=counter(progress),
            **given,
        )
    return found, on_map, without_image(capture=capture, **given)


def write_check(
    folder: Path,
    image: Image.Image,
    capture: Capture,
    found: TokenMaps,
    on_map: MapCheck,
    on_picture: PictureCheck,
) -> None:
    """Write what was found."""
    from checks import curve_chart
    from methods import METHODS

    method = METHODS[found.method]
    (folder / "answer.txt").write_text(capture.text + "\n", encoding="utf-8")
    (folder / "words.md").write_text(on_picture.table() + "\n", encoding="utf-8")
    (folder / "curve.csv").write_text(on_map.csv_text(), encoding="utf-8")
    curve_chart(on_map, method.label).savefig(folder / "curve.png", dpi=150)
    drawn = visualization.visualize_attention_on_image(
        image,
        found.token_map(on_map.tokens),
        title=f"{method.label}: “{visualization.isolated(on_map.text)}”",
        subtitle=method.caveat,
        scale_label=method.scale_label,
        unit="%" if method.unit.startswith("share") else "",
        min_side=visualization.MIN_SIDE,
        max_side=visualization.MAX_SIDE,
    )
    save_image(drawn, folder / "map.png")
    facts = {
        "model": capture.model_name,
        "prompt": capture.prompt,
        "answer": capture.text,
        "method": found.method,
        "settings": found.settings,
        "map": on_map.as_dict(),
        "with_and_without_picture": on_picture.as_dict(),
    }
    (folder / "check.json").write_text(
        json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


# --- export -------------------------------------------------------------------------------------------------

EXPORT = """Take an answer away as files: pictures, an animation, a document, a page, numbers.

examples:
  python cli.py export photo.jpg --prompt "Describe this image." --format pdf,mp4 --output outputs/photo
  python cli.py export --recent
  python cli.py export last --format all
  python cli.py export 3f9a2c1b --format png --tokens 3-5 --layers 0-3

A question that was asked before answers at once. With an id of --recent, or "last", no model is needed.

formats:
{formats}

Each file says which model, prompt, layers, heads and scale it shows, and what attention does not prove.
"""
LISTED_ID = 8  # digits of an id in the list


def format_choice(text: str) -> tuple[str, ...]:
    """Return the formats in "png,gif"; "all" is every one."""
    chosen = tuple(FORMATS) if text == "all" else tuple(dict.fromkeys(text.split(",")))
    for name in chosen:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(FORMATS)} or all")
    return chosen


def format_lines() -> str:
    """Return what the formats are, a line for each."""
    return "\n".join(f"  {name:<6}{form.description}" for name, form in FORMATS.items())


def add_export_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `export`."""
    add = command.add_argument
    add("source", nargs="?", metavar="IMAGE|ID|last", help="a picture file, or what --recent lists")
    add("--prompt", type=prompt_text, metavar="TEXT", help="what to ask about the picture")
    add("--recent", action="store_true", help="list the answers that are kept, and do nothing else")
    add(
        "--format",
        type=format_choice,
        default=("png",),
        metavar="FORMATS",
        help="some of the formats, such as png,gif, or all (default: png)",
    )
    add_output_argument(command)
    add_model_arguments(command)
    add_choice_arguments(command, tokens="words")
    add_drawing_arguments(command)
    add_view_argument(command)


def run_export(args: argparse.Namespace) -> None:
    """List what is kept, or write an answer as files."""
    if args.recent:
        list_recent(args)
        return
    look = Look(args.colormap, args.alpha, args.view, args.smooth)
    with finished_folder(Path(args.output)) as folder:
        capture, image = chosen_answer(args)
        print(printable(capture.text), flush=True)
        view = view_of(args, capture, look)
        for kind in args.format:
            write_format(kind, capture, image, view, folder)
            if args.prompt_words and kind not in ("html", "npz"):  # which have both
                asked = replace(view, tokens=None, by="word", of_prompt=True)
                write_format(kind, capture, image, asked, folder)
        names = sorted(file.name for file in folder.iterdir())
    say(f"Wrote {', '.join(names)} to {args.output}")


def list_recent(args: argparse.Namespace) -> None:
    """Print a line for each answer that is kept, newest first."""
    if args.source is not None or args.prompt is not None:
        raise UsageError("--recent lists what is kept; it takes no picture, prompt or id")
    for entry in Store().recent():
        print(printable(recent_line(entry)))


def recent_line(entry: Entry) -> str:
    """Return what a list says of an answer that is kept."""
    saved = datetime.fromtimestamp(entry.saved).strftime("%Y-%m-%d %H:%M")
    stopped = " (stopped)" if entry.stopped else ""
    said = f"{one_line(entry.prompt, 60)} → {one_line(entry.answer, 60)}{stopped}"
    return f"{entry.id[:LISTED_ID]}  {saved}  {entry.model}  {entry.bytes / 1e6:.1f} MB  {said}"


def chosen_answer(args: argparse.Namespace) -> tuple[Capture, Image.Image]:
    """Return the answer that is meant, with its picture: asked for now, or kept."""
    if args.source is None:
        raise UsageError("name a picture file with --prompt, or an id of --recent, or last")
    if args.prompt is not None:
        image = opened(args.source)
        return answered(args, image), image
    if args.model is not None:
        raise UsageError("--model belongs to a picture file with --prompt")
    kept = reopened(args.source)
    return kept.capture, kept.image


def reopened(name: str) -> Kept:
    """Return an answer that is kept, by its id or the first digits of it; "last" is the newest.

    Raises:
        UsageError: if there is none of that id, or several, or it is damaged.
    """
    found = [entry.id for entry in Store().recent()]
    if name == "last":
        found = found[:1]
    elif re.fullmatch(r"[0-9a-f]{4,32}", name):
        found = [one for one in found if one.startswith(name)]
    else:
        hint = "; for a picture file, add --prompt" if Path(name).is_file() else ""
        raise UsageError(f"{name!r} is neither an id of --recent nor last{hint}")
    if len(found) != 1:
        raise UsageError(f"{len(found) or 'no'} kept answers are named {name}: see --recent")
    try:
        return Store().open(found[0])
    except KeyError:
        raise UsageError(f"the answer {name} is no longer kept") from None
    except DamagedError as error:
        raise UsageError(str(error)) from error


def write_format(kind: str, capture: Capture, image: Image.Image, view: View, folder: Path) -> None:
    """Write one format, with a progress bar.

    Raises:
        KeyboardInterrupt: once Ctrl-C has ended the work.
    """
    with stop_on_interrupt() as stop, bar(FORMATS[kind].name, "step", 1) as progress:
        try:
            made = export(kind, capture, image, view, folder, Watch(counter(progress), stop))
        except Stopped:
            raise KeyboardInterrupt from None
        progress.update(int(progress.total or 0) - progress.n)
    for note in made.notes:
        say(f"note: {note}")


# --- evaluate -----------------------------------------------------------------------------------------------

EVALUATE = """Measure how often each method's maps find what the answer's words name, and what they cost.

examples:
  python cli.py evaluate --model demo --output outputs/evaluation
  python cli.py evaluate --data coco/val2017 --limit 200 --methods attention,tam --output outputs/coco

Without --data: captions of the bundled model's held-out scenes, and a question about each; an answer counts
where it is exactly right. --data is a folder in COCO format: instances*.json in it or in its annotations, and
the pictures. There, a word counts that is the name of an annotated thing, or its plural.

Beside the methods stand maps that know nothing of the answer: a centre prior, random values, and the same
everywhere. The table says what its figures are.

writes into the output folder:
  evaluation.md    the table, with 95 % intervals over pictures
  evaluation.csv   the same as numbers
  evaluation.json  the same, and every word's figures
  evaluation.png   a plot
"""
LIMIT = {"demo": 60, "data": 500}  # pictures; the demo's take some minutes on one core


def method_choice(text: str) -> tuple[str, ...]:
    """Return the methods in "attention,tam", each once."""
    chosen = tuple(dict.fromkeys(text.split(",")))
    for name in chosen:
        if name not in MEASURED:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(MEASURED)}")
    return chosen


def add_evaluate_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `evaluate`."""
    add = command.add_argument
    default = f"{config.MODEL_NAME} with CUDA, else demo".replace("%", "%%")
    add("--model", metavar="NAME", help=f"demo, a folder, or a hub id (default: {default})")
    add("--data", type=Path, metavar="FOLDER", help="pictures and annotations in COCO format")
    add("--annotations", type=Path, metavar="FILE", help="of --data, where it has several")
    add("--prompt", type=prompt_text, metavar="TEXT", help="of --data (default: Describe this image.)")
    limits = f"{LIMIT['demo']} scenes, or {LIMIT['data']} of --data"
    add("--limit", type=held(SOME, int), metavar="N", help=f"at most so many pictures (default: {limits})")
    add("--methods", type=method_choice, metavar="NAMES", help=f"(default: {','.join(MEASURED)})")
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
    add_output_argument(command)


def run_evaluate(args: argparse.Namespace) -> None:
    """Measure and write.

    Raises:
        KeyboardInterrupt: once Ctrl-C has ended the measurement; nothing of a part is written.
    """
    if args.data is None and (args.annotations or args.prompt):
        raise UsageError("--annotations and --prompt belong to --data")
    with finished_folder(Path(args.output)) as folder:
        from model import load_model

        from evaluation import blind, by_method, evaluate, markdown, write

        data = measured_on(args)
        model, processor = load_model(args.model or default_model())
        with stop_on_interrupt() as stop, bar("Answers", "answer", data.answers) as progress:
            try:
                found = evaluate(
                    model,
                    processor,
                    data.samples,
                    [*(by_method(name) for name in args.methods or MEASURED), blind],
                    count=data.answers,
                    curves=args.curves,
                    max_new_tokens=args.max_new_tokens,
                    seed=args.seed,
                    settings={"data": data.name},
                    on_progress=counter(progress),
                    stop=stop,
                )
            except Stopped:
                raise KeyboardInterrupt from None
        found = replace(found, skipped={**found.skipped, **data.skipped})
        print(printable(markdown(found)))
        names = [path.name for path in write(found, folder)]
    say(f"Wrote {', '.join(names)} to {args.output}")


class Data(NamedTuple):
    """What is measured on."""

    name: str
    samples: Iterator[Sample]
    answers: int
    skipped: Mapping[str, int] = MappingProxyType({})  # pictures that cannot be used, as they are met


def measured_on(args: argparse.Namespace) -> Data:
    """Return what is measured on."""
    if args.data is None:
        from demo.samples import samples

        limit = args.limit or LIMIT["demo"]
        return Data("the demo's held-out scenes", samples(limit, questions=1), 2 * limit)
    from evaluation.coco import PROMPT, CocoFolder

    folder = CocoFolder(args.data, args.annotations, args.prompt or PROMPT)
    limit = min(len(folder), args.limit or LIMIT["data"])
    return Data(folder.file.name, folder.samples(limit, args.seed), limit, folder.skipped)


# --- Files, all or none -------------------------------------------------------------------------------------


@contextmanager
def finished_folder(output: Path) -> Iterator[Path]:
    """Yield an empty folder; its files move to `output` if the block ends well, else nothing is left.

    Files of the same names are replaced. Pictures that an earlier run wrote there (its maps.npz lists them)
    and this one did not are removed: what is left belongs together.
    """
    base = next(folder for folder in (output, *output.absolute().parents) if folder.exists())
    if not base.is_dir():
        raise UsageError(f"cannot write into {output}: {base} is a file")
    try:
        folder = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=base))
    except OSError as error:
        raise UsageError(f"cannot write into {output}: {error.strerror}") from error
    try:
        yield folder
        with stop_on_interrupt():  # these few moves are not interrupted half-way
            move_all(folder, output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def move_all(folder: Path, output: Path) -> None:
    """Move all files into output, maps.npz last; remove an earlier run's pictures that are not among them."""
    output.mkdir(parents=True, exist_ok=True)
    earlier = earlier_pictures(output / "maps.npz") if (folder / "maps.npz").exists() else set()
    new = sorted(folder.iterdir(), key=lambda file: (file.name == "maps.npz", file.name))
    for file in new:
        file.replace(output / file.name)
    for name in earlier - {file.name for file in new}:
        (output / name).unlink(missing_ok=True)


def earlier_pictures(maps: Path) -> set[str]:
    """Return the names of the pictures written together with this maps.npz, if it is one of ours."""
    unreadable = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)
    with suppress(*unreadable), np.load(maps) as arrays:
        files = json.loads(str(arrays["settings"]))["drawing"]["files"]
        return {name for name in files if DRAWN_NAME.fullmatch(name)}
    return set()


# --- Terminal -----------------------------------------------------------------------------------------------


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets; the second one interrupts at once, as ever."""
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield stop
        return

    def ask(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def bar(what: str, unit: str, total: int) -> Iterator[tqdm[NoReturn]]:
    """Yield a progress bar on stderr; an error wipes it away, so that its line stands alone."""
    with tqdm(total=total, desc=what, unit=unit, dynamic_ncols=True, file=sys.stderr) as progress:
        try:
            yield progress
        except Exception:
            progress.leave = False
            raise


def counter(progress: tqdm[NoReturn]) -> Callable[[int, int], None]:
    """Return a function of (done, in all) that moves the bar."""

    def count(done: int, total: int) -> None:
        progress.total = total
        progress.update(done - progress.n)

    return count


def say(text: str) -> None:
    """Write a line to stderr."""
    print(text, file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Return the text without the control characters that could rewrite the terminal."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


def refusal(error: Exception) -> str | None:
    """Return what to tell a person about an error that they can do something about, else None."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"OutOfMemoryError", "MemoryError"}:
        return "there is not enough memory; a smaller picture, fewer --layers or --max-new-tokens need less"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    return str(error) if kinds & {"ValueError", "ModelError"} else None


class Command(NamedTuple):
    """A command: its help (the first line is its summary), its arguments, what it does."""

    description: str
    add_arguments: Callable[[argparse.ArgumentParser], object]
    run: Callable[[argparse.Namespace], None]


COMMANDS = {
    "attention": Command(ATTENTION, add_attention_arguments, attention),
    "gradcam": Command(GRADCAM, add_gradcam_arguments, gradcam),
    "check": Command(CHECK, add_check_arguments, run_check),
    "evaluate": Command(EVALUATE, add_evaluate_arguments, run_evaluate),
    "export": Command(EXPORT.format(formats=format_lines()), add_export_arguments, run_export),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 (something to correct), 130 (Ctrl-C), 1 (our mistake)."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a replaced stream: its owner decides
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    debug = False
    try:
        config.validate()
        args = parser().parse_args(joined_negatives(sys.argv[1:] if argv is None else argv))
        debug = args.debug
        args.run(args)
    except KeyboardInterrupt:
        say("Stopped: nothing was written.")
        return STOPPED
    except Exception as error:
        if debug:
            raise
        told = refusal(error)
        if told is None:
            say(f"error: unexpected {type(error).__name__}: {one_line(error)} (--debug shows where)")
            return FAILED
        say(f"error: {one_line(told)}")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
