"""The work of `batch`: one picture after the other, each of which is done whole or not at all.

A picture's place is a folder named by it, its question and the settings. The folder appears when all in it is
written, with an item.json that says what it was made from: a later run takes it as done if that is the same.
Nothing else is shared between processes, so that one that dies loses its picture in hand.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from PIL import Image

from attention_extractor import AttentionExtractor
from commands.arguments import generation_of
from commands.lists import Asked
from commands.run.answers import extractor_of, loaded, model_name
from commands.run.attention import overview, selection_of
from commands.terminal import (
    FailedError,
    StoppedEarlyError,
    UsageError,
    bar,
    printable,
    refusal,
    say,
    say_above,
    stop_on_interrupt,
)
from methods import selected_maps, token_maps
from model import (
    answer_key,
    checkpoint,
    chosen_thinking,
    generation_config_of,
)
from records.capture import Capture
from records.generation import GenerationSettings
from records.pictures import open_image
from records.store import Store
from report.batch import (
    ITEM,
    Failure,
    answer_row,
    item_rows,
    outcomes_in,
    word_rows,
    write_index,
    write_tables,
)
from report.formats import export
from report.view import Subject, bounded, coloured, drawings
from utils import Stopped, Watch, atomic_write, locked, one_line, remove_abandoned, unfinished_folder
from visualization import save_image

PATIENCE = timedelta(days=7)  # for who has more to do: processes end together
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)  # true of every other picture too
WORDS = 48  # in an overview, at most


def run(args: argparse.Namespace) -> None:
    """Answer and explain what is not done yet; then write the tables and the index of all that is.

    Raises:
        FailedError: if some pictures could not be used.
        StoppedEarlyError: once Ctrl-C has ended the work.
    """
    state, output = PartialState(timeout=PATIENCE), Path(args.output)
    work = Work(args, output, {"device": str(state.device)} if state.num_processes > 1 else {})
    with alone_in(output) if state.is_main_process else nullcontext():
        run_in(output, args, work, state)


@contextmanager
def alone_in(output: Path) -> Iterator[None]:
    """Have the folder for the block; UsageError while another batch writes into it."""
    output.mkdir(parents=True, exist_ok=True)
    with locked(output) as is_ours:
        if is_ours is False:
            raise UsageError(f"another batch writes into {output}: wait for it, or choose another --output")
        try:
            yield
        finally:
            with suppress(OSError):
                output.rmdir()  # where nothing came to be in it


def run_in(output: Path, args: argparse.Namespace, work: Work, state: PartialState) -> None:
    """Do what is left, in this process its own share of it."""
    left: list[Asked] = []
    if state.is_main_process:
        remove_left(output)
        left = work.left_of(args.asked)
    left, work.settings = same_for_all(state, [left, work.settings])
    todo = left[state.process_index :: state.num_processes]
    if todo:
        work.begin()  # before the first picture: what is wrong here is wrong for all
    is_shown = state.is_main_process  # one process of several shows how far its own part is
    with stop_on_interrupt() as stop, bar("Pictures", "picture", len(todo), is_shown) as progress:
        try:
            done, failures = work.all(todo, stop, progress.update)
        except KeyboardInterrupt:  # the second one
            say("Stopped at once. What was done stays: run the same command again.")
            raise StoppedEarlyError from None
    failed = [failure._asdict() for failure in failures]
    write_json(output / f".batch-{state.process_index}.json", {"done": done, "failed": failed})
    state.wait_for_everyone()
    if state.is_main_process:
        summary([work.place(one).name for one in args.asked], output, [work.place(one).name for one in left])
    if stop.is_set():
        raise StoppedEarlyError
    if failures:
        raise FailedError


def same_for_all(state: PartialState, found: list[Any]) -> list[Any]:
    """Return what the first process found: where folders are, and when they changed, differs by machine."""
    if state.num_processes > 1:
        broadcast_object_list(found)
    return found


class Work:
    """What each picture is done with: the checkpoint, loaded when one needs it, and the settings."""

    def __init__(self, args: argparse.Namespace, output: Path, placement: Mapping[str, str]) -> None:
        self.args, self.output, self.placement = args, output, placement
        self.name = model_name(args)
        self.settings = digest(self._settings())

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
        source = checkpoint(self.name)
        if source is None:  # a hub id that is not on this computer yet
            self.loaded  # noqa: B018
            source = checkpoint(self.name)
        how = {**generation_of(args), "keep": args.keep}
        key = None if source is None else answer_key(source, "", "", **how)
        chosen = ("tokens", "layers", "heads", "aggregation", "method", "no_sinks", "scale")
        return {
            "key": key or [self.name, how],
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

    def left_of(self, asked: Sequence[Asked]) -> list[Asked]:
        """Return those that are not done, or no longer as they were."""
        if self.args.again:
            return list(asked)
        found = ((one, known(self.place(one)).get("content")) for one in asked)
        return [one for one, content in found if not content or content != content_of(one.file)]

    def place(self, asked: Asked) -> Path:
        """Return the folder of a picture that is done."""
        return self.output / "items" / place_of(asked, self.settings)

    def all(
        self, asked: Sequence[Asked], stop: threading.Event, moved: Any
    ) -> tuple[list[str], list[Failure]]:
        """Do one after the other until all are done or `stop` is set.

        Return the places of those that were done, and those that could not be used.
        """
        done: list[str] = []
        failures: list[Failure] = []
        for one in asked:
            if stop.is_set():
                break
            try:
                self.one(one, stop)
                done.append(self.place(one).name)
            except Stopped:
                break
            except Exception as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    raise
                told = refusal(error) or f"unexpected {type(error).__name__}: {error}"
                failures.append(Failure(one.name, one.prompt, one_line(told), self.place(one).name))
                say_above(f"{printable(one.name)}: {printable(failures[-1].reason)}")
            moved()
        return done, failures

    def one(self, asked: Asked, stop: threading.Event) -> None:
        """Do one picture.

        Raises:
            Stopped: if `stop` was set meanwhile; nothing is left of it then.
        """
        place, content = self.place(asked), content_of(asked.file)
        began = time.monotonic()
        with finished(place) as folder:
            image = open_image(asked.file)
            capture = self.answered(asked, image, stop)
            if stop.is_set():
                raise Stopped
            note = str(image.info.get("note", ""))
            rows: dict[str, Any] = {"answer": answer_row(capture, note), "words": []}
            (folder / "answer.txt").write_text(capture.text + "\n", encoding="utf-8")
            if capture.token_ids:
                subject = self.explained(capture, image, stop)
                rows = {"answer": answer_row(capture, note, subject), "words": word_rows(subject)}
                self.draw(subject, image, folder, stop)
            if self.args.captures:
                store = Store(self.output / "captures", 10**18)
                store.save(capture, image, digest([place.name])[:32], capture.image_hash)
            told = {"image": asked.name, "prompt": asked.prompt, "given": asked.answer}
            seconds = round(time.monotonic() - began, 3)
            write_json(folder / ITEM, {**told, "content": content, **rows, "seconds": seconds})

    def answered(self, asked: Asked, image: Image.Image, stop: threading.Event) -> Capture:
        """Return the answer, generated, or read where it is given."""
        if asked.answer is not None:
            return self.extractor.read(image, asked.prompt, asked.answer, thinking=self.args.thinking)
        return self.extractor.generate(image, asked.prompt, **generation_of(self.args), stop=stop)

    def explained(self, capture: Capture, image: Image.Image, stop: threading.Event) -> Subject:
        """Return the answer with the maps of what is chosen of it."""
        selection = selection_of(self.args, capture)
        computed = {}
        if selection.row.needs_model:
            model, processor = self.loaded
            computed[selection.method] = token_maps(
                selection.method, capture, model=model, processor=processor, image=image, stop=stop
            )
        return Subject(capture, selection, selected_maps(capture, selection, computed))

    def draw(self, subject: Subject, image: Image.Image, folder: Path, stop: threading.Event) -> None:
        """Write the overview, and a file of each format."""
        found, notes = bounded(drawings(subject), WORDS, "overview.png")
        heading = (subject.capture.text, " · ".join([subject.found.line, *notes]))
        save_image(overview(image, found, coloured(subject), heading), folder / "overview.png")
        for kind in self.args.format:
            export(kind, subject, image, folder, Watch(None, stop))


def content_of(file: Path) -> str:
    """Return what tells a file's content from another's; "" of one that cannot be read."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""


def digest(value: Any) -> str:
    """Return what tells one value, JSON-ready, from another."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def place_of(asked: Asked, settings: str) -> str:
    """Return the name of the folder of one picture and question under these settings."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(asked.name).stem)[:40].strip("-") or "picture"
    return f"{stem}-{digest([asked.name, asked.prompt, asked.answer, settings])[:12]}"


def known(place: Path) -> Mapping[str, Any]:
    """Return what is written of a picture that is done; nothing where it is not."""
    try:
        found = json.loads((place / ITEM).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def finished(place: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `place` when the block ends well; else it is gone."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(place.parent) as unfinished, unfinished_folder(place.parent) as earlier:
        yield unfinished
        if place.exists():
            place.replace(earlier / place.name)
        unfinished.replace(place)


def remove_left(output: Path) -> None:
    """Remove what killed processes left, and what an earlier run's told each other."""
    remove_abandoned(output / "items")
    remove_abandoned(output)
    for file in output.glob(".batch-*.json"):
        file.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps(value), encoding="utf-8")


def summary(asked: Sequence[str], output: Path, left: Sequence[str]) -> None:
    """Write the tables and the index of all that is done, and say what came of it.

    `asked` are the places of all pictures, `left` of those that were to be done in this run.
    """
    done, failures = outcomes_in(output)
    undone = set(left) - set(done)  # what is there of these is not as it is now
    rows = item_rows(output / "items", [place for place in asked if place not in undone])
    written = [*write_tables(output, rows, failures), *write_index(output, rows, failures)]
    parts = [f"{len(rows)} of {len(asked)} pictures are done"]
    if failures:
        parts.append(f"{len(failures)} could not be used (failed.csv)")
    if others := len(asked) - len(rows) - len(failures):
        parts.append(f"{others} are left: run the same command again")
    say(f"{', '.join(parts)}. Wrote {', '.join(written)} to {output}{os.sep}")
