"""Kill what writes files at random moments, and see that nothing half is left.

    python -m scripts.faults [--kills 50] [--work answer,save,export,batch,evaluate]

A process answers the examples as the page does, keeps and removes answers, exports one in every format, or
runs `cli.py batch` or `evaluate`, over and over, and is killed (SIGKILL) a random while after it began. After
each kill every answer that is kept can be opened, every file can be read to its end, and every item of a set
that counts as done is whole. The next start removes what the killed one left unfinished.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageSequence

import cli
import config
from model import DEMO
from page.answering import Answering, Inquiry
from page.jobs import Job
from page.model_room import ModelRoom
from page.sources import examples
from records.entries import Kept
from records.store import Store
from report.formats import FORMATS

ROOT = Path(__file__).parent.parent
TOKENS = 12  # of an answer
KEPT = 3  # answers that the store has room for while they are kept and removed
ENDINGS = {".pdf": b"%%EOF", ".html": b"</html>"}


class Work(NamedTuple):
    """Something that writes files, and how these are looked at."""

    once: Callable[[Path, int], object]  # its number makes each time another
    check: Callable[[Path], int]  # how much is there; AssertionError for what is not whole
    lasts: float  # seconds within which it is killed


# --- What writes --------------------------------------------------------------------------------------------


def works() -> dict[str, Work]:
    """Return what is killed, by name; the model and an answer are made here, once."""
    room = ModelRoom()
    room.load(DEMO)
    inquiries = [
        Inquiry.of({"example": number}, prompt, TOKENS, None, None, 0)
        for number, (_, prompt) in enumerate(examples())
    ]
    with tempfile.TemporaryDirectory() as folder:
        answer_once(room, inquiries, Path(folder), 0)
        (entry,) = Store(Path(folder) / "cache").recent()
        kept = Store(Path(folder) / "cache").open(entry.id)
    return {
        "answer": Work(
            lambda folder, turn: answer_once(room, inquiries, folder, turn), check_store, lasts=2.5
        ),
        "save": Work(lambda folder, turn: save_once(kept, folder, turn), check_store, lasts=0.4),
        "export": Work(lambda folder, turn: export_once(kept, folder, turn), check_files, lasts=4),
        "batch": Work(batch_once, check_batch, lasts=9),
        "evaluate": Work(evaluate_once, check_evaluation, lasts=9),
    }


def answer_once(room: ModelRoom, inquiries: list[Inquiry], folder: Path, turn: int) -> None:
    """Have an example answered and kept, and its words read without the picture, as the page does."""
    answering = Answering(room, Store(folder / "cache"))
    job = Job("somebody", "answer")
    answering.need(answering.answer(inquiries[turn % len(inquiries)], job), job)


def save_once(kept: Kept, folder: Path, turn: int) -> None:
    """Keep an answer and what is known beside it, in a store that has no room for many."""
    store = Store(folder / "cache", KEPT * 2 * kept.capture.bytes)
    key = store.save(kept.capture, kept.image, f"{turn % (KEPT + 2):032x}")
    assert key is not None
    store.add(key, kept.capture, without=kept.without)


def export_once(kept: Kept, folder: Path, turn: int) -> None:
    """Export the answer in one format after the other, in each process from another one on."""
    config.CACHE_DIR = str(folder / "cache")
    if turn == 0 and not Store().recent():
        Store().save(kept.capture, kept.image)
    kind = list(FORMATS)[(turn + os.getpid()) % len(FORMATS)]
    assert cli.main(["export", "last", "--format", kind, "--output", str(folder / "out")]) == 0


def batch_once(folder: Path, turn: int) -> None:
    """Go on with a batch of the examples; once it is done, begin anew."""
    del turn
    given = [str(ROOT / "demo" / "examples"), "--prompt", "What is in the middle?", "--model", DEMO]
    done = [*folder.glob("out/index.html")]
    again = ["--again"] if done else []
    assert cli.main(["batch", *given, *again, "--captures", "--output", str(folder / "out")]) == 0


def evaluate_once(folder: Path, turn: int) -> None:
    """Go on with a measurement; once it is done, begin anew."""
    del turn
    given = ["--limit", "2", "--methods", "attention", "--curves", "1", "--model", DEMO]
    again = ["--again"] if (folder / "out" / "evaluation.png").exists() else []
    assert cli.main(["evaluate", *given, *again, "--output", str(folder / "out")]) == 0


# --- What is looked at --------------------------------------------------------------------------------------


def check_store(folder: Path) -> int:
    """Open every answer that is kept."""
    return opened(folder / "cache")


def opened(folder: Path) -> int:
    """Open every answer in a store, whatever its list says."""
    places = [place for place in folder.glob("*") if not place.name.startswith(".")]
    store = Store(folder, 10**12)
    return len([store.open(place.name) for place in places])


def check_files(folder: Path) -> int:
    """Read every exported file to its end."""
    files = [file for file in (folder / "out").glob("*") if not file.name.startswith(".")]
    for file in files:
        check_file(file)
    opened(folder / "cache")
    return len(files)


def check_file(file: Path) -> None:
    """Read a file to its end; whatever is wrong raises."""
    if file.suffix in (".png", ".gif"):
        with Image.open(file) as picture:
            assert [frame.copy() for frame in ImageSequence.Iterator(picture)]
    elif file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            assert archive.namelist()
            assert archive.testzip() is None
    elif file.suffix == ".npz":
        with np.load(file) as arrays:
            assert all(arrays[name].size >= 0 for name in arrays)
    elif file.suffix == ".mp4":
        assert whole_boxes(file.read_bytes())
    else:
        assert file.read_bytes().rstrip().endswith(ENDINGS[file.suffix]), file


def whole_boxes(content: bytes) -> bool:
    """Return whether an MP4's boxes fill it, with its index among them."""
    at, names = 0, []
    while at < len(content):
        names.append(content[at + 4 : at + 8])
        at += int.from_bytes(content[at : at + 4], "big") or len(content) - at
    return at == len(content) and b"moov" in names


def check_batch(folder: Path) -> int:
    """Read all of every picture that is done, and the tables if they are there."""
    output = folder / "out"
    done = [place for place in (output / "items").glob("*") if not place.name.startswith(".")]
    for place in done:
        item = json.loads((place / "item.json").read_text("utf-8"))
        assert item["answer"]["answer_text"] == (place / "answer.txt").read_text("utf-8").rstrip("\n")
        check_file(place / "overview.png")
        (maps,) = place.glob("*.npz")
        with np.load(maps) as arrays:
            assert len(arrays["maps"]) == item["answer"]["tokens"]
    opened(output / "captures")
    for name in output.glob("*.csv"):
        with name.open(newline="", encoding="utf-8") as file:
            assert list(csv.DictReader(file))
    return len(done)


def check_evaluation(folder: Path) -> int:
    """Read all of every answer that is measured, and the figures if they are there."""
    output = folder / "out"
    done = [place for place in (output / "items").glob("*") if not place.name.startswith(".")]
    for place in done:
        item = json.loads((place / "item.json").read_text("utf-8"))
        for maps in place.glob("*.npz"):
            with np.load(maps) as arrays:
                assert [len(arrays[name]) for name in arrays] == [item["words"]] * len(item["costs"])
    for file in output.glob("evaluation.*"):
        assert file.stat().st_size
    for file in output.glob("evaluation.json"):
        assert json.loads(file.read_text("utf-8"))["values"]
    return len(done)


def left_in(folder: Path) -> list[Path]:
    """Return what is unfinished or was being removed, anywhere in a folder."""
    return [path for path in folder.rglob(".*") if path.name != ".gitignore"]


# --- Kills --------------------------------------------------------------------------------------------------


def in_a_process(work: Callable[[], object]) -> int:
    """Begin work in a process of its own, with the model that is loaded here; return its number."""
    number = os.fork()
    if number == 0:
        code = 1
        try:
            os.setsid()
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            work()
            code = 0
        finally:
            os._exit(code)
    return number


def for_ever(once: Callable[[Path, int], object], folder: Path) -> None:
    """Write until killed."""
    turn = 0
    while True:
        once(folder, turn)
        turn += 1


def killed(work: Work, folder: Path, seconds: float) -> None:
    """Begin, kill it after so many seconds with all that it started, and wait for its end."""
    number = in_a_process(lambda: for_ever(work.once, folder))
    time.sleep(seconds)
    os.killpg(number, signal.SIGKILL)
    _, status = os.waitpid(number, 0)
    assert os.WIFSIGNALED(status), "it ended by itself"


def disturbed(work: Work, kills: int, chance: random.Random) -> tuple[int, int]:
    """Kill it again and again; return how much was looked at, and how often something was left unfinished."""
    seen = left = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(kills):
            killed(work, folder, chance.uniform(0.05, work.lasts))
            seen += work.check(folder)
            left += bool(left_in(folder))
        number = in_a_process(lambda: work.once(folder, 0))  # the next start, which nobody disturbs
        assert os.waitpid(number, 0)[1] == 0, "the next start failed"
        assert work.check(folder)
        assert not left_in(folder), left_in(folder)
    return seen, left


def main() -> None:
    """Print what was found, a line for each kind of work."""
    parser = argparse.ArgumentParser(description="Kill what writes files at random moments.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--work", default="answer,save,export,batch,evaluate")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)  # a process that is forked off has none of this one's threads
    found = works()
    for name in args.work.split(","):
        seen, left = disturbed(found[name], args.kills, random.Random(args.seed))
        print(
            f"{name:10}{args.kills} kills, {seen} times something whole, 0 unreadable, 0 half; "
            f"{left} times something unfinished was left, and was removed by the next start",
            flush=True,
        )


if __name__ == "__main__":
    main()
