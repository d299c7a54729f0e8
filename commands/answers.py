"""A picture's answer: kept from before, or asked for now."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PIL import Image

import config
from commands.arguments import choice, numbers
from commands.terminal import UsageError, bar, counter, printable, say, stop_on_interrupt
from model import Checkpoint, checkpoint
from model import answer_key as store_key
from records.pictures import ImageError, image_hash, open_image
from records.store import Store
from utils import Range, Stopped, one_line

if TYPE_CHECKING:  # torch takes seconds to import: --help and mistyped arguments do not wait for it
    from attention_extractor import AttentionExtractor
    from records.capture import Capture
    from records.words import Word
    from views import View


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
    from attention_extractor import AttentionExtractor
    from model import load_model, model_layer_count

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
    import torch

    from model import DEMO

    return config.MODEL_NAME if torch.cuda.is_available() else DEMO


def word_number(capture: Capture, number: int) -> Word:
    """Return a word of the answer by its number, counted from 0; UsageError if there is none."""
    from attention_processor import AttentionProcessor

    words = AttentionProcessor(capture).words()
    return words[numbers([(number, number)], len(words), "word", "the answer")[0]]


def answered_by(loaded: tuple[Any, Any], args: argparse.Namespace, image: Image.Image) -> Capture:
    """Return the answer that is kept for this question, else have a loaded model give it, and keep it."""
    from attention_extractor import AttentionExtractor

    kept = kept_answer(args, image)
    if kept is None:
        kept = generated(AttentionExtractor(*loaded), args, image)
        keep(args, image, kept, None)
    return kept


def by_method(args: argparse.Namespace, image: Image.Image, capture: Capture, view: View) -> View:
    """Return the view with the maps of --method, computed with a progress bar.

    Raises:
        UsageError: for arguments that do not belong to the method.
        KeyboardInterrupt: once Ctrl-C has ended the computation.
    """
    if args.method == "attention" and not args.no_sinks:
        return view
    if args.method != "attention" and (args.layers or args.heads or args.no_sinks):
        raise UsageError(f"--layers, --heads and --no-sinks do not belong to --method {args.method}")
    from methods import token_maps
    from model import load_model
    from ways import LOCAL, WAYS, made_by, of_heads, reads_again, unsunk

    if args.method == "attention":
        return replace(view, made=unsunk(capture, view))
    if not reads_again(args.method):
        return replace(view, made=made_by(of_heads(capture, LOCAL[args.method]), WAYS[args.method]))
    model, processor = load_model(args.model or default_model())
    with stop_on_interrupt() as stop, bar("Map", "pass", 1) as progress:
        try:
            found = token_maps(
                args.method,
                capture,
                model=model,
                processor=processor,
                image=image,
                on_progress=counter(progress),
                stop=stop,
            )
        except Stopped:
            raise KeyboardInterrupt from None
    for note in found.notes:
        say(f"note: {note}")
    return replace(view, made=made_by(found, WAYS[args.method]))
