"""What several commands take: readers of single arguments, and groups of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import config
from commands.keep import add_keep_argument, check_kept
from commands.terminal import UsageError
from methods import METHODS
from records.generation import GenerationSettings
from records.look import VIEWS
from records.selection import ANSWER
from utils import HALF, Range, is_broken, numbers_in, one_line, ranges_of, shown

SOME: config.Rule = ("a whole number of at least 1", lambda value: isinstance(value, int) and value >= 1)

ANY: config.Rule = ("a whole number of at least 0", lambda value: isinstance(value, int) and value >= 0)


def ranges(text: str) -> tuple[Range, ...]:
    """Return "0-3,-1" as ((0, 3), (-1, -1)), as `utils.ranges_of` does."""
    try:
        return ranges_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def token_choice(text: str) -> str | tuple[Range, ...]:
    """Return "all", "words" or "answer" as it is, else ranges of tokens counted from 0."""
    if text in ("all", "words", ANSWER):
        return text
    try:
        chosen = ranges(text)
    except argparse.ArgumentTypeError:
        wanted = "all, words, answer, or numbers such as 3, 2-5 or 1,4"
        raise argparse.ArgumentTypeError(f"{shown(text)} is not {wanted}") from None
    if min(min(pair) for pair in chosen) < 0:
        raise argparse.ArgumentTypeError(f"tokens are counted from 0; got {one_line(text, 80)}")
    if any(first > last for first, last in chosen):
        raise argparse.ArgumentTypeError(f"a range runs backwards in {text}")
    return chosen


def numbers(chosen: Sequence[Range], count: int, name: str, owner: str) -> list[int]:
    """Return the numbers in the ranges, as `utils.numbers_in` does.

    Raises:
        UsageError: for a number that `owner` ("the model") does not have, or a range that runs backwards.
    """
    try:
        return list(numbers_in(chosen, count, name, owner))
    except ValueError as error:
        line = str(error).removesuffix(".")
        raise UsageError(line[0].lower() + line[1:]) from None  # it follows "error: "


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
        raise argparse.ArgumentTypeError(f"must be {allowed}; got {one_line(text, 80)}")

    return read


def prompt_text(text: str) -> str:
    """Return the prompt; what can be refused without a model is refused before one is loaded."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the prompt is empty")
    limit = config.MAX_PROMPT_CHARACTERS
    if len(text) > limit:
        raise argparse.ArgumentTypeError(f"{len(text):,} characters; at most {limit:,} are allowed")
    return whole_text(text)


def whole_text(text: str) -> str:
    """Return the text; what the shell could not read as characters is refused."""
    if is_broken(text):
        raise argparse.ArgumentTypeError(f"it {HALF}")
    return text


def system_text(text: str) -> str:
    """Return the text of a system turn, which may be empty."""
    return prompt_text(text) if text.strip() else ""


GENERATIONS = (
    "checkpoint: as its own generation_config says; greedy: the likeliest token each time; own: by the four "
    "below, each of which means own"
)
OWN_VALUES: tuple[tuple[str, Callable[[str], Any], str, str], ...] = (
    ("--temperature", float, "T", "0 takes the likeliest token, above 0 draws"),
    ("--top-p", float, "P", "draw from the likeliest tokens that reach this probability"),
    ("--top-k", int, "K", "draw from so many of the likeliest tokens, 0 from all"),
    ("--repetition-penalty", float, "R", "above 1 makes tokens that were there less likely"),
)
GENERATION = (
    "generation",
    "max_new_tokens",
    "temperature",
    "top_p",
    "top_k",
    "repetition_penalty",
    "seed",
    "thinking",
)
OF_ANY_ANSWER = ("seed", "thinking")  # of these, what counts for an answer that was written elsewhere too


def given_answer(text: str) -> str:
    """Return an answer that was written elsewhere: the text, or what the file after an @ holds."""
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text("utf-8").rstrip("\n")
        except (OSError, ValueError) as error:  # a name with a zero in it is no name
            reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
            raise argparse.ArgumentTypeError(f"{one_line(text[1:], 120)} cannot be read: {reason}") from None
    if not text.strip():
        raise argparse.ArgumentTypeError("the answer is empty")
    return whole_text(text)


def generation_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return how the answer is generated, as keywords of `GenerationSettings.of`; None is config's."""
    return {name: getattr(args, name) for name in GENERATION}


def check_generation(args: argparse.Namespace) -> None:
    """Raise UsageError for a way to generate that would not count, or heads that would not be kept."""
    check_kept(args)
    chosen = generation_of(args)
    if args.answer is not None:
        for name in GENERATION:
            if name not in OF_ANY_ANSWER and chosen[name] is not None:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} does not belong to --answer, which generates nothing")
        return
    try:
        GenerationSettings.of(**chosen)
    except ValueError as error:
        raise UsageError(str(error)) from None


def check_no_question(args: argparse.Namespace) -> None:
    """Raise UsageError for what belongs to a question, where none is asked."""
    for name in ("model", "adapter", "answer", "keep", "system", "fps", "max_frames", "then", *GENERATION):
        if name != "seed" and getattr(args, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} belongs to a picture file with --prompt")


ASKED = (
    "what to ask about the picture; with <image> for each of several, <video> for each clip, it says where "
    "between its words they stand"
)


def add_question_arguments(command: argparse.ArgumentParser) -> None:
    """Add the pictures and clips, the prompt and the folder to write into."""
    add = command.add_argument
    add("image", metavar="IMAGE", nargs="+", help="a picture or a clip, or several")
    add("--prompt", required=True, type=prompt_text, metavar="TEXT", help=ASKED)
    add_output_argument(command)
    add_clip_arguments(command)


def add_clip_arguments(command: argparse.ArgumentParser) -> None:
    """Add which frames of a clip are looked at."""
    add = command.add_argument_group("clips").add_argument
    add_setting(add, "--fps", "VIDEO_FPS", float, "N", "frames that are looked at for each second")
    add_setting(add, "--max-frames", "VIDEO_MAX_FRAMES", int, "N", "of a clip, at most")


def add_setting(
    add: Callable[..., Any], flag: str, name: str, kind: Callable[[str], Any], metavar: str, meaning: str
) -> None:
    """Add a setting of config.py, whose value there is the default, by its flag."""
    told = f"{meaning} (default: {getattr(config, name)})"
    add(flag, type=setting(name, kind), metavar=metavar, help=told)


def add_output_argument(command: argparse.ArgumentParser) -> None:
    """Add the folder to write into."""
    command.add_argument(
        "--output",
        default=config.OUTPUT_DIR,
        metavar="DIR",
        help="folder to write into (default: %(default)s)",
    )


def add_checkpoint_arguments(add: Callable[..., Any]) -> None:
    """Add which checkpoint is loaded, by the `add_argument` of a command or of a group of its arguments."""
    default = f"{config.MODEL_NAME} with CUDA, else demo".replace("%", "%%")
    add("--model", metavar="NAME", help=f"demo, a folder, or a hub id (default: {default})")
    add(
        "--adapter",
        metavar="DIR",
        help="a LoRA folder to apply to it (without --model: to the base that it names)",
    )


def add_model_arguments(
    command: argparse.ArgumentParser, seed: str = "of the draw", *, cached: bool = True
) -> None:
    """Add the arguments of a model and its answer; `seed` says what the seed is of.

    A command that does not take answers from the cache is not `cached`, and has answers of its own.
    """
    add = command.add_argument_group("model and answer").add_argument
    add_checkpoint_arguments(add)
    add_setting(add, "--max-new-tokens", "MAX_NEW_TOKENS", int, "N", "longest answer")
    add_setting(add, "--generation", "GENERATION", str, "HOW", GENERATIONS)
    for flag, kind, metavar, meaning in OWN_VALUES:
        shown = flag.removeprefix("--").replace("-", "_").upper()
        add_setting(add, flag, shown, kind, metavar, meaning)
    add(
        "--thinking",
        action=argparse.BooleanOptionalAction,
        help="have it think aloud first, where its chat template asks (default: "
        f"{'yes' if config.THINKING else 'no'})",
    )
    add(
        "--system",
        type=system_text,
        metavar="TEXT",
        help='a system turn before the question, "" an empty one (default: what the chat template has)',
    )
    add_keep_argument(add)
    if cached:
        add_answer_arguments(add)
    add(
        "--seed",
        type=setting("SEED", int),
        default=config.SEED,
        metavar="N",
        help=f"{seed} (default: %(default)s)",
    )


def add_answer_arguments(add: Callable[..., Any]) -> None:
    """Add where an answer comes from, if not from the model now."""
    add(
        "--answer",
        type=given_answer,
        metavar="TEXT",
        help="explain this answer, which was written elsewhere, and generate none; @FILE reads it",
    )
    add("--no-cache", action="store_true", help="ask the model even if it answered this before; keep nothing")


def add_map_arguments(
    command: argparse.ArgumentParser, tokens: str = "all", *, of_prompt: bool = True
) -> None:
    """Add which maps are written of an answer, by which method, and how they are drawn."""
    add_choice_arguments(command, tokens, of_prompt=of_prompt)
    add_method_arguments(command)
    add_drawing_arguments(command)
    add_view_argument(command)


def add_choice_arguments(
    command: argparse.ArgumentParser, tokens: str = "all", *, of_prompt: bool = True
) -> None:
    """Add the arguments that choose tokens, layers and heads; `tokens` is chosen by default.

    `of_prompt` says whether the words of the prompt can be chosen too.
    """
    add = command.add_argument_group("which maps").add_argument
    add(
        "--tokens",
        type=token_choice,
        default=tokens,
        metavar="WHICH",
        help="all, words, answer (its words without its thoughts), or numbers such as 3, 2-5 or 1,4 "
        "(default: %(default)s)",
    )
    if of_prompt:
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


def method_names() -> str:
    """Return the methods by name, those that need the model behind the others, and where more is said."""
    at_once = ", ".join(name for name, method in METHODS.items() if not method.needs_model)
    again = ", ".join(name for name, method in METHODS.items() if method.needs_model)
    return f"{at_once}, or one that reads the answer again: {again}; `methods` says what each shows"


def add_method_arguments(command: argparse.ArgumentParser) -> None:
    """Add how words are explained."""
    add = command.add_argument_group("method").add_argument
    add(
        "--method",
        type=setting("METHOD", str),
        default="attention",
        metavar="NAME",
        help=f"{method_names()} (default: %(default)s)",
    )
    add("--no-sinks", action="store_true", help="leave out patches that nearly every word looks at")


def add_drawing_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of how a map is drawn."""
    add = command.add_argument_group("drawing").add_argument
    add(
        "--colormap",
        metavar="NAME",
        help=f"glow, or any colour map of matplotlib's (default: {config.HEATMAP_COLORMAP})",
    )
    add(
        "--alpha",
        type=setting("HEATMAP_ALPHA", float),
        metavar="A",
        help="of a colour map, viridis if none is named: 0 shows the picture, 1 the map "
        f"(default: {config.HEATMAP_ALPHA}); with --colormap glow its strength (default: 1)",
    )
    add(
        "--smooth",
        action=argparse.BooleanOptionalAction,
        help="blend between cells; one cell is one visual token "
        f"(default: yes for glow, else {'yes' if config.HEATMAP_SMOOTH else 'no'})",
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
        choices=VIEWS,
        default=config.HEATMAP_VIEW,
        metavar="VIEW",
        help="overlay, side-by-side, heatmap or spotlight (default: %(default)s)",
    )


def choice(args: argparse.Namespace, layer_count: int, head_count: int) -> tuple[list[int] | None, list[int]]:
    """Return the layers (None: all that were recorded) and heads asked for, of a model with so many."""
    layers = numbers(args.layers, layer_count, "layer", "the model") if args.layers else None
    return layers, numbers(args.heads or [(0, -1)], head_count, "head", "the model")


def check_choice(args: argparse.Namespace) -> None:
    """Raise UsageError for a choice of maps that the method does not have."""
    row = METHODS[args.method]
    if not row.folds and (args.layers or args.heads or args.no_sinks):
        raise UsageError(f"--layers, --heads and --no-sinks do not belong to --method {row.name}")
    if not row.of_prompt and args.prompt_words:
        raise UsageError("--prompt-words belongs to --method attention")
