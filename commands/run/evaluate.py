"""The work of `evaluate`: every method on samples whose things are known."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from commands.evaluate import LIMIT, MEASURED
from commands.files import finished_folder
from commands.run.answers import (
    loaded,
)
from commands.terminal import UsageError, bar, counter, printable, say, stop_on_interrupt
from demo.samples import samples
from evaluation import Sample, blind, by_method, evaluate, markdown, write
from evaluation.coco import PROMPT, CocoFolder
from methods import METHODS
from model import Family, family_of
from utils import Stopped


def run(args: argparse.Namespace) -> None:
    """Measure and write.

    Raises:
        KeyboardInterrupt: once Ctrl-C has ended the measurement; nothing of a part is written.
    """
    with finished_folder(Path(args.output)) as folder:
        data = measured_on(args)
        model, processor = loaded(args)
        explainers = [*map(by_method, measured_methods(args, family_of(model))), blind]
        with stop_on_interrupt() as stop, bar("Answers", "answer", data.answers) as progress:
            try:
                found = evaluate(
                    model,
                    processor,
                    data.samples,
                    explainers,
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


def measured_methods(args: argparse.Namespace, family: Family) -> list[str]:
    """Return the methods that were asked for, or all that models of the family have.

    Raises:
        UsageError: for one that was asked for and that they do not have.
    """
    for name in args.methods or ():
        if reason := METHODS[name].refusal(family):
            raise UsageError(reason)
    return [name for name in args.methods or MEASURED if not METHODS[name].refusal(family)]


class Data(NamedTuple):
    """What is measured on."""

    name: str
    samples: Iterator[Sample]
    answers: int
    skipped: Mapping[str, int] = MappingProxyType({})  # pictures that cannot be used, as they are met


def measured_on(args: argparse.Namespace) -> Data:
    """Return what is measured on."""
    if args.data is None:
        limit = args.limit or LIMIT["demo"]
        return Data("the demo's held-out scenes", samples(limit, questions=1), 2 * limit)
    folder = CocoFolder(args.data, args.annotations, args.prompt or PROMPT)
    limit = min(len(folder), args.limit or LIMIT["data"])
    return Data(folder.file.name, folder.samples(limit, args.seed), limit, folder.skipped)
