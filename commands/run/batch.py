"""The work of `batch`: one picture after the other, each of which is done whole or not at all.

A picture's place is a folder named by it, its question and the settings. The folder appears when all in it is
written, with an item.json that says what it was made from: a later run takes it as done if that is the same.
Nothing else is shared between processes, so that one that dies loses its picture in hand.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from accelerate import PartialState
from PIL import Image

from attention_extractor import AttentionExtractor
from commands.arguments import choice, generation_of
from commands.keep import layers_beside
from commands.lists import Asked
from commands.run.answers import model_name
from commands.run.attention import overview, selection_of
from commands.terminal import (
    FailedError,
    StoppedEarlyError,
    bar,
    printable,
    refusal,
    say,
    say_above,
    stop_on_interrupt,
)
from methods import selected_maps, token_maps
from model import answer_key, checkpoint, load_model, loading_notes, model_layer_count
from records.capture import Capture
from records.pictures import image_hash, open_image
from records.store import Store
from report.batch import (
    ITEM,
    Failure,
    answer_row,
    failures_in,
    item_rows,
    word_rows,
    write_index,
    write_tables,
)
from report.formats import export
from report.view import Subject, bounded, coloured, drawings
from utils import Stopped, Watch, atomic_write, one_line
from visualization import save_image

WORDS = 48  # in an overview, at most
UNFINISHED = f".unfinished-{socket.gethostname()}-"  # and the process that writes it
ABANDONED = 3600.0  # seconds after which an unfinished folder is taken for a crashed process's


def run(args: argparse.Namespace) -> None:
    """Answer and explain what is not done yet; then write the tables and the index of all that is.

    Raises:
        FailedError: if some pictures could not be used.
        StoppedEarlyError: once Ctrl-C has ended the work.
    """
    state, output = PartialState(), Path(args.output)
    work = Work(args, output, str(state.device) if state.num_processes > 1 else None)
    if state.is_main_process:
        remove_abandoned(output)
    state.wait_for_everyone()
    todo = work.left_of(args.asked[state.process_index :: state.num_processes])
    if todo:
        work.extractor  # noqa: B018  (loaded before the first: what is wrong with it is wrong for all)
    with stop_on_interrupt() as stop, progress_of(len(todo), state.is_main_process) as moved:
        failures = work.all(todo, stop, moved)
    write_json(output / f".failed-{state.process_index}.json", [failure._asdict() for failure in failures])
    state.wait_for_everyone()
    if state.is_main_process:
        summary(args.asked, output, work.settings, stop.is_set())
    if stop.is_set():
        raise StoppedEarlyError
    if failures:
        raise FailedError


class Work:
    """What each picture is done with: the checkpoint, loaded when one needs it, and the settings."""

    def __init__(self, args: argparse.Namespace, output: Path, device: str | None) -> None:
        self.args, self.output, self.device = args, output, device
        self.name = model_name(args)
        self.settings = digest(self._settings())

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """The model and its processor."""
        model, processor = load_model(self.name, device=self.device)
        for note in loading_notes(model):
            say(f"note: {note}")
        return model, processor

    @cached_property
    def extractor(self) -> AttentionExtractor:
        """What records the answers: the layers asked for, or those of `config`."""
        model, processor = self.loaded
        heads = model.config.get_text_config().num_attention_heads
        layers, _ = choice(self.args, model_layer_count(model), heads)
        recorded = layers_beside(self.args.keep, layers)
        return AttentionExtractor(model, processor, layers=recorded, keep=self.args.keep)

    def _settings(self) -> dict[str, Any]:
        """Return what of the arguments and the checkpoint decides what is written, JSON-ready."""
        args = self.args
        source = checkpoint(self.name)
        if source is None:  # a hub id that is not on this computer yet
            self.loaded  # noqa: B018
            source = checkpoint(self.name)
        how = {} if args.answer_column else generation_of(args)
        key = None if source is None else answer_key(source, "", "", keep=args.keep, **how)
        chosen = ("tokens", "layers", "heads", "aggregation", "method", "no_sinks", "scale")
        return {
            "key": key or self.name,
            "thinking": args.thinking,
            "look": asdict(args.look),
            **{name: getattr(args, name) for name in (*chosen, "format", "captures")},
        }

    def left_of(self, asked: Sequence[Asked]) -> list[Asked]:
        """Return those that are not done, or no longer as they were."""
        if self.args.again:
            return list(asked)
        return [one for one in asked if known(self.place(one)).get("content") != content_of(one.file)]

    def place(self, asked: Asked) -> Path:
        """Return the folder of a picture that is done."""
        return self.output / "items" / place_of(asked, self.settings)

    def all(self, asked: Sequence[Asked], stop: threading.Event, moved: Any) -> list[Failure]:
        """Do one after the other until all are done or `stop` is set; return those that could not be used."""
        failures = []
        for one in asked:
            if stop.is_set():
                break
            try:
                self.one(one, stop)
            except Stopped:
                break
            except Exception as error:
                told = refusal(error) or f"unexpected {type(error).__name__}: {error}"
                failures.append(Failure(one.name, one.prompt, one_line(told)))
                say_above(f"{printable(one.name)}: {printable(failures[-1].reason)}")
            moved()
        return failures

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
            rows: dict[str, Any] = {"answer": answer_row(capture), "words": []}
            (folder / "answer.txt").write_text(capture.text + "\n", encoding="utf-8")
            if capture.token_ids:
                subject = self.explained(capture, image, stop)
                rows = {"answer": answer_row(capture, subject), "words": word_rows(subject)}
                self.draw(subject, image, folder, stop)
            if self.args.captures:
                Store(self.output / "captures", 10**18).save(capture, image, key=digest([place.name])[:32])
            told = {"image": asked.name, "prompt": asked.prompt, "given": asked.answer}
            seconds = round(time.monotonic() - began, 3)
            write_json(folder / ITEM, {**told, "content": content, **rows, "seconds": seconds})

    def answered(self, asked: Asked, image: Image.Image, stop: threading.Event) -> Capture:
        """Return the answer, generated, or read where it is given."""
        known_hash = image_hash(image)
        if asked.answer is not None:
            thinking = self.args.thinking
            return self.extractor.read(image, asked.prompt, asked.answer, known_hash, thinking=thinking)
        how = generation_of(self.args)
        return self.extractor.generate(image, asked.prompt, **how, stop=stop, known_hash=known_hash)

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
    unfinished = place.with_name(f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(8)}")
    unfinished.mkdir()
    try:
        yield unfinished
        if place.exists():
            earlier = unfinished.with_name(f"{unfinished.name}-earlier")
            place.replace(earlier)
            unfinished.replace(place)
            shutil.rmtree(earlier, ignore_errors=True)
        else:
            unfinished.replace(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def remove_abandoned(output: Path) -> None:
    """Remove what killed processes left: this computer's, where they are gone, and others' that is old."""
    for folder in (output / "items").glob(".unfinished-*"):
        mine = re.match(re.escape(UNFINISHED) + r"(\d+)-", folder.name)
        is_old = time.time() - folder.stat().st_mtime > ABANDONED
        if not psutil.pid_exists(int(mine[1])) if mine else is_old:
            shutil.rmtree(folder, ignore_errors=True)
    for file in output.glob(".*"):
        if re.fullmatch(r"\.failed-\d+\.json|\.[\w.-]+\.[0-9a-f]{8}\.(csv|parquet|html|json)", file.name):
            file.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


@contextmanager
def progress_of(count: int, is_shown: bool) -> Iterator[Any]:
    """Yield what is called after each picture; one process of several shows how far its own part is."""
    if not is_shown:
        yield lambda: None
        return
    with bar("Pictures", "picture", count) as progress:
        yield progress.update


def summary(asked: Sequence[Asked], output: Path, settings: str, stopped: bool) -> None:
    """Write the tables and the index of all that is done, and say what came of it."""
    failures = failures_in(output)
    failed = {(one.image, one.prompt) for one in failures}
    done = [one for one in asked if (one.name, one.prompt) not in failed]
    rows = item_rows(output / "items", [place_of(one, settings) for one in done])
    written = [*write_tables(output, rows, failures), *write_index(output, rows, failures)]
    left = len(asked) - len(rows) - len(failures)
    parts = [f"{len(rows)} of {len(asked)} pictures are done"]
    if failures:
        parts.append(f"{len(failures)} could not be used (failed.csv)")
    if left:
        parts.append(f"{left} are left: run the same command again" if stopped else f"{left} were lost")
    say(f"{', '.join(parts)}. Wrote {', '.join(written)} to {output}{os.sep}")
