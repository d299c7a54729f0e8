"""The work of `--closer` and `--crop`: what is asked again, with a part of the picture beside the whole."""

from __future__ import annotations

import argparse

from commands.run.answers import tokens_meant
from commands.terminal import UsageError
from records.capture import Capture
from records.closer import closer_question
from records.selection import ANSWER, parsed_tokens
from records.token_maps import TokenMaps
from records.window import window_of
from utils import one_line


def closer_arguments(args: argparse.Namespace, capture: Capture, found: TokenMaps) -> argparse.Namespace:
    """Return the arguments of the question asked again, by the maps of the first answer or by a box.

    Raises:
        UsageError: for a word that the answer does not say, and a map that points nowhere.
    """
    try:
        which, box = (args.which - 1, args.crop) if args.crop else _window(args, capture, found)
        asked = closer_question(capture, box, which)
    except ValueError as error:
        raise UsageError(one_line(error)) from None
    changed = {
        "image": [*args.image, f"a part of {args.image[which]}"],
        "picture": list(asked.visuals),
        "image_hash": list(asked.hashes),
        "prompt": asked.prompt,
        "cut": asked.crop,
        "tokens": args.tokens if isinstance(args.tokens, str) else "words",  # numbers are of the first
    }
    return argparse.Namespace(**vars(args) | changed)


def _window(
    args: argparse.Namespace, capture: Capture, found: TokenMaps
) -> tuple[int, tuple[int, int, int, int]]:
    """Return a picture's number and the window that stands out most in a word's map on it."""
    tokens = tokens_meant(args.closer, capture) if args.closer else parsed_tokens(capture, ANSWER)[0]
    which = found.hottest_visual(tokens, clips=False) if args.which is None else args.which - 1
    return which, window_of(found.token_map(tokens, which), capture.visuals[which].size)
