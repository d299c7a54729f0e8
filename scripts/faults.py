"""Kill a batch at random moments, and see that nothing half is left.

    python -m scripts.faults [--kills 50]

`cli.py batch` answers the examples with the bundled model and is killed (SIGKILL) a random while after it
began, again and again. After each kill every picture that counts as done is whole: its item.json and maps
can be read, its overview is a picture; and so is every capture that is kept. Then it is left to end, and what
it wrote is compared with a run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from records.store import Store

ROOT = Path(__file__).parent.parent
ANEW = 2  # kills after which it begins with nothing done


def command(output: Path) -> list[str]:
    """Return the command that is disturbed."""
    given = [str(ROOT / "demo" / "examples"), "--prompt", "What is in the middle?", "--model", "demo"]
    return [sys.executable, "cli.py", "batch", *given, "--captures", "--output", str(output)]


def check(output: Path) -> int:
    """Return how many pictures are done; AssertionError for one that is not whole."""
    done = [place for place in (output / "items").glob("*") if not place.name.startswith(".")]
    for place in done:
        item = json.loads((place / "item.json").read_text("utf-8"))
        assert item["answer"]["answer_text"] == (place / "answer.txt").read_text("utf-8").rstrip("\n")
        with Image.open(place / "overview.png") as picture:
            picture.load()
        (maps,) = place.glob("*.npz")
        with np.load(maps) as arrays:
            assert len(arrays["maps"]) == item["answer"]["tokens"]
    store = Store(output / "captures", 10**12)
    for entry in store.recent():
        store.open(entry.id)
    return len(done)


def run_through(output: Path) -> None:
    """Let it come to its end."""
    subprocess.run(command(output), cwd=ROOT, check=True, capture_output=True)  # noqa: S603  (our own)


def killed_after(output: Path, seconds: float) -> None:
    """Begin, and kill it after so many seconds, if it has not ended by then."""
    with subprocess.Popen(  # noqa: S603  (our own)
        command(output), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        end = time.monotonic() + seconds
        while time.monotonic() < end and run.poll() is None:
            time.sleep(0.01)
        run.kill()


def table(output: Path, name: str) -> list[dict[str, str]]:
    """Return a table's rows without the times."""
    with (output / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def main() -> None:
    """Print what was found after each kill, and in the end."""
    parser = argparse.ArgumentParser(description="Kill a batch at random moments.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, disturbed = Path(folder) / "whole", Path(folder) / "disturbed"
        began = time.monotonic()
        run_through(whole)
        lasts = time.monotonic() - began
        for kill in range(1, args.kills + 1):
            seconds = chance.uniform(0.35, 0.65) * lasts  # between its imports and its tables
            killed_after(disturbed, seconds)
            print(
                f"kill {kill} after {seconds:4.1f} s: {check(disturbed)} pictures are done, each whole",
                flush=True,
            )
            if kill % ANEW == 0 and kill < args.kills:
                disturbed = Path(folder) / f"disturbed-{kill}"
        run_through(disturbed)
        left = [
            path for path in disturbed.rglob(".*") if path.parent.name != "captures"
        ]  # removed in an hour
        assert not left, left
        for name in ("answers", "words"):
            assert table(disturbed, name) == table(whole, name), name
    print("0 unreadable, 0 half; in the end all is as if nobody had disturbed it")


if __name__ == "__main__":
    main()
