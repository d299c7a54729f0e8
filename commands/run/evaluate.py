"""The work of `evaluate`: every method on samples whose things are known, as a set.

An answer and its maps are one item's work. Of which pictures deletion and insertion are measured is known
when all are answered: these are a second set, whose items read the maps that the first one's left.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

import config
from commands.evaluate import LIMIT, MEASURED
from commands.files import finished_folder
from commands.pictures import check_folder
from commands.run.answers import loaded, model_name
from commands.run.sets import Failure, Work, alone_in, answering, results, what_stays, worked
from commands.terminal import FailedError, StoppedEarlyError, UsageError, bar, printable, say, say_above
from demo.samples import content_at, sample_at
from evaluation import Sample, blind, by_method, markdown, write
from evaluation.coco import PROMPT, CocoFolder
from evaluation.run import Bench, Maps, Measured, curve_groups, gathered
from methods import METHODS
from model import Family, family_of
from report.batch import write_table
from sets.ledger import Item, Ledger, Result, digest
from sets.team import Team
from utils import Watch, save_arrays, unfinished_folder

MAPS = "maps.npz"  # each row's maps (word, h, w) of an answer's words


def run(args: argparse.Namespace) -> None:
    """Measure what is not measured yet, and write.

    Raises:
        FailedError: if some answers could not be measured.
        StoppedEarlyError: once Ctrl-C has ended it; what is done stays, in a folder that was named.
        KeyboardInterrupt: the same where none was named.
    """
    team = Team()
    data = measured_on(args, team)  # what is wrong with it is told before anything is written
    with working_folder(args, team) as folder:
        Measurement(args, team, data, folder).run()


@contextmanager
def working_folder(args: argparse.Namespace, team: Team) -> Iterator[Path]:
    """Yield the folder for what is done: the one that was named, else one that is gone after the block."""
    with held_folder(args) if team.is_first else nullcontext(Path()) as folder:
        yield Path(team.same(str(folder)))


@contextmanager
def held_folder(args: argparse.Namespace) -> Iterator[Path]:
    """Yield the same in the process that has the folder for all."""
    if args.output is not None:
        with alone_in(Path(args.output), "evaluation"):
            yield Path(args.output)
        return
    beside = check_folder(config.OUTPUT_DIR)
    with unfinished_folder(beside) as folder:
        yield folder


class Data(NamedTuple):
    """What is measured on."""

    name: str
    items: Sequence[Item]  # `given`: its place in what is random, and what makes the sample
    skipped: Mapping[str, int]  # pictures that cannot be used: why, and how many
    left_out: Sequence[tuple[str, str]]  # the name of each, and why


def measured_on(args: argparse.Namespace, team: Team) -> Data:
    """Return what is measured on, the same in all processes."""
    if args.data is None:
        name = "the demo's held-out scenes"
        return Data(name, [scene_item(number) for number in range(2 * (args.limit or LIMIT["demo"]))], {}, [])
    folder = CocoFolder(args.data, args.annotations, args.prompt or PROMPT)
    numbers: list[int] = []
    if team.is_first:
        limit = min(len(folder), args.limit or LIMIT["data"])
        with bar("Looked at", "picture", limit) as progress:
            for number, _ in folder.usable(limit, args.seed):
                numbers.append(number)
                progress.update()
        for name, reason in folder.left_out:
            say_above(printable(f"{name}: {reason}"))
    numbers, skipped, left_out = team.same((numbers, folder.skipped, folder.left_out))
    return Data(
        folder.file.name, [coco_item(folder, *each) for each in enumerate(numbers)], skipped, left_out
    )


def scene_item(number: int) -> Item:
    """Return a held-out scene and what is asked about it as one of the set."""
    key = ["scene", number]
    return Item(f"scene-{number}", key, partial(content_at, number), (number, partial(sample_at, number)))


def coco_item(folder: CocoFolder, place: int, number: int) -> Item:
    """Return an annotated picture as one of the set; what is random about it depends on its place."""
    name = folder.name(number)
    key = ["coco", place, number, name, folder.prompt]
    return Item(name, key, partial(folder.content, number), (place, partial(folder.sample, number)))


class Progress(NamedTuple):
    """How far the measurement is, in all processes together."""

    found: Sequence[Measured]  # of the answers that are measured, with their curves; in the first process
    curves: tuple[int, int]  # answers whose curves are measured, and all whose are to be
    failures: Sequence[Failure]
    skipped: Mapping[str, int]  # how many failed, by what could not be measured
    is_stopped: bool


class Measurement:
    """What the answers of a set are measured with: the bench, made when one needs it, and the settings."""

    def __init__(self, args: argparse.Namespace, team: Team, data: Data, folder: Path) -> None:
        self.args, self.team, self.data = args, team, data
        self.ledger = Ledger(folder, team.same(digest(self._settings())))

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """The model and its processor."""
        return loaded(self.args, **self.team.placement)

    @cached_property
    def bench(self) -> Bench:
        """What answers are measured with."""
        model, processor = self.loaded
        explainers = (*map(by_method, measured_methods(self.args, family_of(model))), blind)
        limit = self.args.max_new_tokens
        return Bench(model, processor, explainers, max_new_tokens=limit, seed=self.args.seed)

    def _settings(self) -> dict[str, Any]:
        """Return what of the arguments and the checkpoint decides an answer's figures, JSON-ready."""
        args = self.args
        how = {"generation": "greedy", "max_new_tokens": args.max_new_tokens, "keep": "all", "float16": False}
        return {
            "evaluate": answering(model_name(args), lambda: self.loaded, **how),
            "methods": args.methods or MEASURED,
            "seed": args.seed,
            "maps": args.curves > 0,
        }

    def run(self) -> None:
        """Measure what is left, and write the figures of all."""
        is_first, is_named = self.team.is_first, self.args.output is not None
        if is_first:
            self.ledger.remove_left()
        with what_stays() if is_named else nullcontext():
            reached = self.measured()
        if is_first and not reached.is_stopped:
            self.write(reached)
        elif is_first and is_named:
            self.tell_rest(reached)
        self.team.wait()
        if reached.is_stopped and is_first and not is_named:
            raise KeyboardInterrupt
        if reached.is_stopped:
            raise StoppedEarlyError
        if reached.failures:
            raise FailedError

    def measured(self) -> Progress:
        """Answer what is left and measure its maps; then the curves of the pictures that come first."""
        items = self.data.items
        work = Work("Answers", "answer", lambda: self.bench, self.answer)
        answers = worked(self.team, self.ledger, items, work, self.args.again)
        found = dict(results(self.ledger, items, answers)) if self.team.is_first else {}
        skipped = {"answers that could not be measured": len(answers.failures)}
        measured = {number: cast(Measured, result) for number, result in found.items()}
        groups = curve_groups(measured.values(), self.args.curves)
        chosen = [number for number, one in measured.items() if one["words"] and one["group"] in groups]
        chosen = self.team.same(chosen)
        if answers.is_stopped or not chosen:
            ended = answers.is_stopped
            return Progress([*measured.values()], (0, 0), answers.failures, skipped, ended)
        of_curves = [curve_item(items[number]) for number in chosen]
        work = Work("Curves", "answer", lambda: self.bench, self.curve)
        curves = worked(self.team, self.ledger, of_curves, work, self.args.again)
        skipped["answers of which deletion and insertion could not be measured"] = len(curves.failures)
        values = results(self.ledger, of_curves, curves) if self.team.is_first else []
        for place, result in values:
            measured[chosen[place]]["values"] += result["values"]
        return Progress(
            found=[*measured.values()],
            curves=(len(values), len(chosen)),
            failures=[*answers.failures, *curves.failures],
            skipped=skipped,
            is_stopped=curves.is_stopped,
        )

    def answer(self, item: Item, folder: Path, watch: Watch) -> Result:
        """Answer one sample and measure the maps of its words.

        Raises:
            Stopped: if the person wants no more.
        """
        number, opened = item.given
        found, maps = self.bench.measured(number, opened(), watch)
        if self.args.curves and maps.words:
            arrays = {str(place): heats for place, heats in enumerate(maps.heats.values())}
            save_arrays(folder / MAPS, {name: np.asarray(heats) for name, heats in arrays.items()})
        return {"name": item.name, "answer": maps.capture.text, **found}

    def curve(self, item: Item, folder: Path, watch: Watch) -> Result:
        """Measure deletion and insertion of one sample by the maps that are there of it.

        Raises:
            ValueError: if it is answered otherwise now.
            Stopped: if the person wants no more.
        """
        del folder  # the values are all there is
        of_answer: Item = item.given
        number, opened = of_answer.given
        sample: Sample = opened()
        known = self.ledger.result(of_answer) or {}
        with np.load(self.ledger.path(of_answer) / MAPS, allow_pickle=False) as arrays:
            heats = {row: arrays[str(place)] for place, row in enumerate(known["costs"])}
        capture = self.bench.answered(sample, watch)
        if list(map(int, capture.token_ids)) != known["tokens"]:
            raise ValueError(
                "the model answers otherwise than it did for its maps; --again measures all anew"
            )
        maps = Maps(capture, sample.judge(capture).words, heats)
        return {"name": item.name, "values": self.bench.curves(number, sample, maps, watch)}

    def write(self, reached: Progress) -> None:
        """Write the figures of all answers, and print their table."""
        args = self.args
        output = Path(config.OUTPUT_DIR if args.output is None else args.output)
        failed = [*self.data.left_out, *((one.name, one.reason) for one in reached.failures)]
        listed = []
        if args.output is not None:
            rows = [{"image": name, "reason": reason} for name, reason in sorted(failed)]
            listed = write_table(output, "failed", rows)
        if not reached.found and reached.failures:
            return  # each was told
        settings = {"max_new_tokens": args.max_new_tokens, "data": self.data.name}
        found = gathered(reached.found, settings, args.seed)
        failed_of = {what: count for what, count in reached.skipped.items() if count}
        found = replace(found, skipped={**found.skipped, **self.data.skipped, **failed_of})
        with finished_folder(output) as folder:
            print(printable(markdown(found)))
            names = [path.name for path in write(found, folder)]
        say(f"Wrote {', '.join([*names, *listed])} to {output}")

    def tell_rest(self, reached: Progress) -> None:
        """Say how far a measurement came that Ctrl-C ended."""
        done, total = reached.curves
        parts = [f"{len(reached.found)} of {len(self.data.items)} answers are measured"]
        if total:
            parts.append(f"deletion and insertion of {done} of {total}")
        say(f"{', '.join(parts)}. Run the same command again for the rest.")


def curve_item(of_answer: Item) -> Item:
    """Return the deletion and insertion of an answer as one of a set."""
    return Item(of_answer.name, ["curves", *of_answer.key], of_answer.content, of_answer)


def measured_methods(args: argparse.Namespace, family: Family) -> list[str]:
    """Return the methods that were asked for, or all that models of the family have.

    Raises:
        UsageError: for one that was asked for and that they do not have.
    """
    for name in args.methods or ():
        if reason := METHODS[name].refusal(family):
            raise UsageError(reason)
    return [name for name in args.methods or MEASURED if not METHODS[name].refusal(family)]
