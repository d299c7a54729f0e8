"""Whose attention an answer keeps, as an argument of every command that records one."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import config
from commands.terminal import UsageError
from methods import METHODS
from methods.catalog import ASK_AGAIN
from records.keep import ALL, HEAD_MEAN, Keep, heads_in, keep_of, layers_of, pairs_text
from utils import shown


def kept_heads(text: str) -> Keep:
    """Return "all" or "head-mean" as it is, else "20:3,21:0" as pairs of a layer and a head."""
    try:
        if text in (ALL, HEAD_MEAN):
            return text
        pairs = [pair.split(":") for pair in text.split(",")]
        return keep_of([(int(layer), int(head)) for layer, head in pairs])
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not all, head-mean, or layers and heads such as 20:3,21:0"
        ) from None


def keep_text(keep: Any) -> str:
    """Return what is kept as it is typed: "all", "head-mean", "20:3,21:0"."""
    return keep if isinstance(keep, str) else ",".join(f"{layer}:{head}" for layer, head in keep)


def add_keep_argument(add: Callable[..., Any]) -> None:
    """Add whose attention is recorded, by the `add_argument` of a group of a command's arguments."""
    add(
        "--keep",
        type=kept_heads,
        metavar="WHICH",
        help="heads whose attention is recorded: all, head-mean (their mean in each layer), or LAYER:HEAD,… "
        f"such as 20:3,21:0 (default: {keep_text(config.KEEP)})",
    )


def layers_beside(keep: Keep | None, layers: list[int] | None) -> list[int] | None:
    """Return the layers to record of those asked for; None, the pairs' own, where pairs are kept."""
    return layers if layers_of(keep_of(keep)) is None else None


class Planned(NamedTuple):
    """An answer that is not there yet, as far as it decides what of it can be shown."""

    keep: Keep
    hybrid: bool = False
    gated: bool = False


def check_kept(args: argparse.Namespace) -> None:
    """Raise UsageError for maps of heads that would not be kept."""
    keep, row = keep_of(args.keep), METHODS.get(args.method)
    if row is None:
        return
    if row.record is not None and not row.record.met(Planned(keep)):
        raise UsageError(f"{row.label}: {row.record.reason}")
    chosen = vars(args)
    each = chosen.get("heads") or chosen.get("no_sinks") or chosen.get("aggregation", "mean") != "mean"
    if keep == HEAD_MEAN and row.folds and each:
        options = "--heads, --no-sinks and another --aggregation than mean"
        raise UsageError(f"{options} need each head by itself: {ASK_AGAIN}")


def check_pairs(args: argparse.Namespace, layers: Sequence[int] | None, heads: Sequence[int]) -> None:
    """Raise UsageError for layers (None: all that are recorded) or heads beside the pairs that are kept."""
    keep = keep_of(args.keep)
    recorded = layers_of(keep)
    if recorded is None or isinstance(keep, str):
        return
    for layer in recorded if layers is None else layers:
        kept = heads_in(keep, layer)
        missing = [head for head in heads if head not in kept] if args.heads else []
        if missing or not kept:
            of_layer = f"head {missing[0]} of " if missing else ""
            raise UsageError(
                f"{of_layer}layer {layer} would not be kept, only {pairs_text(keep)}: name it in --keep"
            )
