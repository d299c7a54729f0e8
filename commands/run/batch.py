"""The work of `batch`: the pictures as a set, each answered and explained, and tables and an index of all."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from PIL import Image

import config
from attention_extractor import AttentionExtractor
from commands.arguments import generation_of
from commands.lists import Asked, may_have_clip
from commands.pictures import open_visuals
from commands.run.answers import extractor_of, loaded, model_name
from commands.run.attention import overview, selection_of
from commands.run.sets import Outcome, Work, alone_in, answering, results, what_stays, worked
from commands.terminal import FailedError, StoppedEarlyError, say
from methods import selected_maps, token_maps
from model import chosen_thinking, generation_config_of
from records.capture import Capture
from records.generation import GenerationSettings
from records.store import Store
from records.videos import Video
from records.visuals import is_picture
from report.batch import Failure, answer_row, word_rows, write_index, write_tables
from report.formats import export
from report.parts import words_sheet
from report.view import Subject, bounded, coloured, drawings
from sets.ledger import Item, Ledger, Result, digest, file_content
from sets.team import Team
from utils import Watch, alone_or_list
from visualization import save_image

WORDS = 48  # in an overview, at most


def run(args: argparse.Namespace) -> None:
    """Answer and explain what is not done yet; then write the tables and the index of all that is.

    Raises:
        FailedError: if some pictures could not be used.
        StoppedEarlyError: once Ctrl-C has ended the work.
    """
    team, output = Team(), Path(args.output)
    answers = Answers(args, output, team)
    with alone_in(output, "batch") if team.is_first else nullcontext():
        run_in(answers, team)


def run_in(answers: Answers, team: Team) -> None:
    """Do what is left, in this process its own share of it."""
    args, ledger = answers.args, answers.ledger
    items = [item_of(asked, args.fps, args.max_frames) for asked in team.same(args.asked)]
    if team.is_first:
        ledger.remove_left()
    work = Work("Pictures", "picture", answers.begin, answers.one)
    with what_stays():
        outcome = worked(team, ledger, items, work, args.again)
    if team.is_first:
        summary(ledger, items, outcome)
    team.wait()
    if outcome.is_stopped:
        raise StoppedEarlyError
    if outcome.failures:
        raise FailedError


def item_of(asked: Asked, fps: float | None, most: int | None) -> Item:
    """Return a question and its pictures as one of the set; how frames of clips are chosen counts too."""
    key: list[Any] = [alone_or_list(asked.names), asked.prompt, asked.answer]
    if may_have_clip(asked):  # whose frames are chosen by these
        key.append([fps or config.VIDEO_FPS, most or config.VIDEO_MAX_FRAMES, config.VIDEO_MAX_PIXELS])
    return Item(asked.name, key, partial(content_of, asked.files), asked)


def content_of(files: Sequence[Path]) -> str:
    """Return what tells the content of some files from another; "" where one of them cannot be read."""
    found = [file_content(file) for file in files]
    return found[0] if len(found) == 1 else digest(found) if all(found) else ""


class Answers:
    """What each picture is done with: the checkpoint, loaded when one needs it, and the settings."""

    def __init__(self, args: argparse.Namespace, output: Path, team: Team) -> None:
        self.args, self.placement = args, team.placement
        self.ledger = Ledger(output, team.same(digest(self._settings())))

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """The model and its processor."""
        return loaded(self.args, **self.placement)

    @cached_property
    def extractor(self) -> AttentionExtractor:
        """What records the answers."""
        return extractor_of(self.args, *self.loaded)

    def _settings(self) -> dict[str, Any]:
        """Return what of the arguments and the checkpoint decides what is written, JSON-ready."""
        args = self.args
        how = {**generation_of(args), "keep": args.keep}
        how |= {} if args.system is None else {"system": args.system}
        chosen = ("tokens", "layers", "heads", "aggregation", "method", "no_sinks", "scale")
        return {
            "key": answering(model_name(args), lambda: self.loaded, **how),
            "look": asdict(args.look),
            **{name: getattr(args, name) for name in (*chosen, "format", "captures")},
        }

    def begin(self) -> None:
        """Load the model, and refuse what no picture could be answered with."""
        model, processor = self.loaded
        chosen_thinking(processor, self.args.thinking)
        if not self.args.answer_column:
            generation_config_of(model, GenerationSettings.of(**generation_of(self.args)))
        self.extractor  # noqa: B018

    def one(self, item: Item, folder: Path, watch: Watch) -> Result:
        """Do one picture.

        Raises:
            Stopped: if the person wants no more.
        """
        asked: Asked = item.given
        shown, notes = open_visuals(asked.files, asked.names, self.args.fps, self.args.max_frames)
        capture = self.answered(asked, shown, watch)
        watch.check()
        note = "; ".join(notes)
        rows: Result = {"answer": answer_row(capture, note), "words": []}
        (folder / "answer.txt").write_text(capture.text + "\n", encoding="utf-8")
        if capture.token_ids:
            subject = self.explained(capture, watch)
            rows = {"answer": answer_row(capture, note, subject), "words": word_rows(subject)}
            self.draw(subject, folder, watch)
        if self.args.captures:
            store, place = Store(self.ledger.folder / "captures", 10**18), self.ledger.place(item)
            hashes = [visual.hash for visual in capture.visuals]
            store.save(capture, capture.pictures, digest([place])[:32], hashes)
        return {"image": asked.name, "prompt": asked.prompt, "given": asked.answer, **rows}

    def answered(self, asked: Asked, shown: Sequence[Image.Image | Video], watch: Watch) -> Capture:
        """Return the answer, generated, or read where it is given."""
        turned, system = self.args.thinking, self.args.system
        if asked.answer is not None:
            return self.extractor.read(
                list(shown), asked.prompt, asked.answer, thinking=turned, system=system
            )
        how = generation_of(self.args)
        return self.extractor.generate(list(shown), asked.prompt, **how, system=system, stop=watch.stop)

    def explained(self, capture: Capture, watch: Watch) -> Subject:
        """Return the answer with the maps of what is chosen of it."""
        selection = selection_of(self.args, capture)
        computed = {}
        if selection.row.needs_model:
            model, processor = self.loaded
            given: Any = {"model": model, "processor": processor, "image": alone_or_list(capture.pictures)}
            computed[selection.method] = token_maps(selection.method, capture, **given, stop=watch.stop)
        return Subject(capture, selection, selected_maps(capture, selection, computed))

    def draw(self, subject: Subject, folder: Path, watch: Watch) -> None:
        """Write the overview, and a file of each format."""
        image = subject.capture.pictures[0]
        if is_picture(subject.capture.visuals) and isinstance(image, Image.Image):
            found, notes = bounded(drawings(subject), WORDS, "overview.png")
            heading = (subject.capture.text, " · ".join([subject.found.line, *notes]))
            save_image(overview(image, found, coloured(subject), heading), folder / "overview.png")
        else:
            save_image(
                words_sheet(subject, subject.capture.pictures, "overview.png"), folder / "overview.png"
            )
        for kind in self.args.format:
            export(kind, subject, None, folder, watch)


def summary(ledger: Ledger, items: Sequence[Item], outcome: Outcome) -> None:
    """Write the tables and the index of all that is done, and say what came of it."""
    output, found = ledger.folder, results(ledger, items, outcome)
    rows = [{**row, "folder": ledger.place(items[number])} for number, row in found]
    prompts = {ledger.place(item): item.given.prompt for item in items}
    failures = [Failure(one.name, prompts[one.place], one.reason, one.place) for one in outcome.failures]
    failures.sort()
    written = [*write_tables(output, rows, failures), *write_index(output, rows, failures)]
    parts = [f"{len(rows)} of {len(items)} pictures are done"]
    if failures:
        parts.append(f"{len(failures)} could not be used (failed.csv)")
    if others := len(items) - len(rows) - len(failures):
        parts.append(f"{others} are left: run the same command again")
    say(f"{', '.join(parts)}. Wrote {', '.join(written)} to {output}{os.sep}")
