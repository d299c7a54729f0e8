"""A picture's answer: kept from before, or asked for now; and its maps by a method."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from PIL.Image import Image

import config
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from commands.arguments import choice, generation_of, numbers, ranges
from commands.keep import check_pairs, layers_beside
from commands.terminal import UsageError, bar, counter, printable, say, stop_on_interrupt
from methods import selected_maps, token_maps
from model import (
    Checkpoint,
    answer_key,
    checkpoint,
    default_model,
    joined,
    load_model,
    loading_notes,
    model_layer_count,
    verification_key,
)
from records.capture import Capture
from records.closer import with_crop
from records.conversation import with_parent
from records.crops import Crop
from records.entries import Kept
from records.opening import has_clip
from records.selection import Selection
from records.store import Store
from records.targets import target_choice
from records.token_maps import TokenMaps
from records.verification import with_verification
from records.words import Word
from report.view import Subject
from utils import Range, Stopped, alone_or_list, as_list, one_line, shown


def loaded(args: argparse.Namespace, **placement: str) -> tuple[Any, Any]:
    """Return the model that was asked for, or the default one, and its processor, loaded once.

    `placement` are keywords of `load_model`; without them config's count.
    """
    if "loaded" not in args:
        args.loaded = load_model(model_name(args), **placement)
        for note in loading_notes(args.loaded[0]):
            say(f"note: {note}")
    model, processor = args.loaded
    return model, processor


def model_name(args: argparse.Namespace) -> str:
    """Return the one name of the model and the adapter that were asked for, or of the default one."""
    return joined(args.model or "", args.adapter) if args.adapter else args.model or default_model()


def conversation(args: argparse.Namespace) -> Iterator[tuple[argparse.Namespace, Capture]]:
    """Yield the answer, then that to each of --then, with the arguments of each; they are printed.

    A further question is asked when its turn comes. An empty answer ends the conversation, which is said.

    Raises:
        UsageError: if the first answer is empty.
    """
    asked = [args.prompt, *(args.then or ())]
    for number, prompt in enumerate(asked, start=1):
        if len(asked) > 1:
            print(printable("\n" * (number > 1) + f"> {prompt}"), flush=True)
        capture, entry_id = answered(args)
        print(printable(capture.text), flush=True)
        if not capture.token_ids and number == 1:
            raise UsageError("the model gave an empty answer: there is nothing to draw")
        if not capture.token_ids:
            say(f"The answer of turn {number} is empty: nothing of it is drawn, and nothing asked after it.")
            return
        yield args, capture
        if number < len(asked):
            later = {"prompt": asked[number], "image_hash": [], "history": (capture,), "parent": entry_id}
            args = argparse.Namespace(**{**vars(args), **later})


def answered(args: argparse.Namespace) -> tuple[Capture, str | None]:
    """Return the answer that is kept for this question, else load the model, generate, and keep it.

    Beside it is its id in the store; None where it is not kept.
    """
    if (kept := kept_answer(args, args.layers)) is not None:
        return kept.capture, kept.id
    model, processor = loaded(args)
    capture = with_parent(generated(extractor_of(args, model, processor), args), args.parent)
    return capture, keep(args, capture, layers_asked(args, model))


def layers_asked(args: argparse.Namespace, model: Any) -> list[int] | None:
    """Return the layers that were asked for; None: those of config. UsageError for what is not there."""
    head_count = model.config.get_text_config().num_attention_heads
    layers, heads = choice(args, model_layer_count(model), head_count)
    check_pairs(args, layers, heads)
    return layers


def extractor_of(args: argparse.Namespace, model: Any, processor: Any) -> AttentionExtractor:
    """Return what records answers: of the layers asked for, the heads that are to be kept."""
    layers = layers_beside(args.keep, layers_asked(args, model))
    return AttentionExtractor(model, processor, layers=layers, keep=args.keep)


def kept_answer(args: argparse.Namespace, layers: Sequence[Range] | None = None) -> Kept | None:
    """Return the answer to the same question, with these layers in it, if one is kept; and say so."""
    source = None if args.no_cache else checkpoint(model_name(args))
    if source is None:
        return None
    wanted = numbers(layers, source.layer_count, "layer", "the model") if layers else []
    for recorded in (None, wanted) if wanted else (None,):
        kept = Store().find(question(args, source, recorded))
        if kept is not None and set(wanted) <= set(kept.capture.layers):
            say("The same question was answered before: taken from the cache (--no-cache asks again).")
            return kept
    return None


def keep(args: argparse.Namespace, capture: Capture, layers: list[int] | None) -> str | None:
    """Keep the answer for the next time, if it may be kept and can be, and return its id; else None."""
    source = None if args.no_cache else checkpoint(model_name(args))
    if source is None:
        return None
    try:
        key, hashes = question(args, source, layers), [visual.hash for visual in capture.visuals]
        return Store().save(capture, capture.pictures, key, known_hash=hashes)
    except OSError as error:
        say(f"note: the answer could not be kept: {error.strerror or error}")
        return None


def question(args: argparse.Namespace, source: Checkpoint, layers: list[int] | None) -> str:
    """Return the key of the question in the store."""
    settings = {"layers": layers, "keep": args.keep, "answer": args.answer, **generation_of(args)}
    settings |= {"system": args.system, "history": args.history, "crop": cut_of(args)}
    settings |= {"clips": has_clip(as_list(args.picture))}
    return answer_key(source, args.image_hash, args.prompt, **settings)


def cut_of(args: argparse.Namespace) -> Crop | None:
    """Return which picture of the question is a part of which, where it is a closer look."""
    return vars(args).get("cut")


def generated(extractor: AttentionExtractor, args: argparse.Namespace) -> Capture:
    """Return the answer, generated with a progress bar; or the one that was given, read.

    Raises:
        KeyboardInterrupt: once Ctrl-C has ended the answer, between two tokens.
    """
    key = verification_key(checkpoint(args.model or default_model()))
    limit, new = args.max_new_tokens, [] if args.history else as_list(args.picture)  # which it shows first
    chat: dict[str, Any] = {"thinking": args.thinking, "system": args.system, "history": args.history}
    sizes: Any = [one.size if isinstance(one, Image) else one for one in new]
    say(extractor.plan(sizes, args.prompt, limit, answer=args.answer, **chat).line)
    if args.answer is not None:
        read = extractor.read(new, args.prompt, args.answer, as_list(args.image_hash), **chat)
        return with_verification(read, key)
    count = config.MAX_NEW_TOKENS if limit is None else limit
    with stop_on_interrupt() as stop, bar("Answer", "token", count) as progress:

        def on_token(text: str, count: int) -> None:
            progress.set_postfix_str(one_line(printable(text[-64:]))[-32:], refresh=False)
            progress.update(count - progress.n)

        capture = extractor.generate(
            new,
            args.prompt,
            **{**generation_of(args), **chat},
            on_token=on_token,
            stop=stop,
            known_hash=as_list(args.image_hash),
        )
        progress.total = progress.n  # the answer ended here
    if stop.is_set():
        raise KeyboardInterrupt
    if (cut := cut_of(args)) is not None:
        capture = with_crop(capture, cut)
    return with_verification(capture, key)


def word_number(capture: Capture, number: int) -> Word:
    """Return a word of the answer by its number, counted from 0; UsageError if there is none."""
    words = AttentionProcessor(capture).words()
    return words[numbers([(number, number)], len(words), "word", "the answer")[0]]


def tokens_meant(text: str, capture: Capture) -> tuple[int, ...]:
    """Return the tokens of the answer that a person means: by numbers, or by a word that it says once."""
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
        raise UsageError(f"the answer does not say {shown(text)}; its words are {listed}")
    named = " or ".join(f"word:{place}" for place in places)
    raise UsageError(f"the answer says {shown(text)} {len(places)} times; name one: {named}")


def answered_by(loaded: tuple[Any, Any], args: argparse.Namespace) -> Capture:
    """Return the answer that is kept for this question, else have a loaded model give it, and keep it."""
    if (kept := kept_answer(args)) is not None:
        return kept.capture
    capture = generated(AttentionExtractor(*loaded, keep=args.keep), args)
    keep(args, capture, None)
    return capture


def subject_of(args: argparse.Namespace, capture: Capture, selection: Selection) -> Subject:
    """Return the answer with its selected maps, computed with a progress bar where the model is needed.

    Raises:
        KeyboardInterrupt: once Ctrl-C has ended the computation.
    """
    computed = {}
    if selection.row.needs_model:
        computed = {selection.method: read_again(args, capture, selection.method)}
    return Subject(capture, selection, selected_maps(capture, selection, computed))


def read_again(args: argparse.Namespace, capture: Capture, method: str) -> TokenMaps:
    """Return the maps of the whole answer by a method that reads it again; its notes are said on stderr."""
    model, processor = loaded(args)
    with stop_on_interrupt() as stop, bar("Map", "pass", 1) as progress:
        try:
            found = token_maps(
                method,
                capture,
                model=model,
                processor=processor,
                image=alone_or_list(capture.pictures),
                on_progress=counter(progress),
                stop=stop,
            )
        except Stopped:
            raise KeyboardInterrupt from None
    for note in found.notes:
        say(f"note: {note}")
    return found
