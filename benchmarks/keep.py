"""What the record of a long answer takes in memory, by what is kept of it.

    python -m benchmarks.keep [--tokens 1024] [--patches 1280] [--layers 36] [--heads 16]

A recording is driven without a model: random queries and keys in the shape of the 3B model's (36 layers, 16
heads on 2 key heads of 128 channels) take the place of an answer of 1,024 tokens over 1,280 visual tokens.
Queries and keys are there before: what is measured is what recording takes beside them, the rows of a block
while they are filed included.

"planned" is what is said before an answer begins (`Plan.bytes`). "memory" is the highest memory of the
process's own (anonymous pages, as Linux counts them) above that before, looked at every millisecond; pages of
a file are the system's to drop. Each line is a process of its own.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from internals.recording import Places, Recording, Room
from records.keep import ALL, HEAD_MEAN, Keep
from records.plan import Plan

KEY_HEADS, CHANNELS = 2, 128
BEFORE, ASKED, AFTER = 20, 12, 5  # positions before the image, of the question, and behind it
EIGHT: Keep = tuple((layer, layer % 3) for layer in range(20, 28))
LINES: dict[str, tuple[Keep, bool]] = {
    "all heads": (ALL, False),
    "all heads, in a file": (ALL, True),
    "mean over heads": (HEAD_MEAN, False),
    "8 heads": (EIGHT, False),
}


def planned(arguments: argparse.Namespace, keep: Keep) -> Plan:
    """Return what is said of such an answer before it begins."""
    layers = arguments.layers if isinstance(keep, str) else len({layer for layer, _ in keep})
    text = BEFORE + ASKED + AFTER
    return Plan(
        arguments.patches, text, ASKED, arguments.tokens, layers, arguments.heads, itemsize=2, keep=keep
    )


def driver(arguments: argparse.Namespace, keep: Keep, folder: Path | None) -> Callable[[], Any]:
    """Return a function that records such an answer and returns its rows."""
    image = slice(BEFORE, BEFORE + arguments.patches)
    prompt = image.stop + ASKED + AFTER
    places = Places(image, tuple(range(image.stop, image.stop + ASKED)), prompt)
    numbers = range(arguments.layers) if isinstance(keep, str) else sorted({layer for layer, _ in keep})
    module = SimpleNamespace(
        scaling=CHANNELS**-0.5, config=SimpleNamespace(num_attention_heads=arguments.heads)
    )
    room = Room(keep, tuple(numbers), torch.device("cpu"), float16=True, folder=folder)
    keys = [torch.randn(1, KEY_HEADS, prompt + arguments.tokens, CHANNELS) for _ in numbers]
    first = torch.randn(1, arguments.heads, ASKED + 1, CHANNELS)
    query = torch.randn(1, arguments.heads, 1, CHANNELS)

    def run() -> Any:
        recording = Recording(places, [module] * len(numbers), room)

        def step(queries: Tensor, length: int) -> None:
            for index, key in enumerate(keys):
                recording.hook(index, module, (), (None, (queries, key[:, :, :length])))  # type: ignore[arg-type]
            recording.keep()

        step(first, prompt)
        for token in range(1, arguments.tokens):
            step(query, prompt + token)
        return recording.whole()

    return run


def own_bytes() -> int:
    """Return the anonymous memory of the process, on Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def peak(run: Callable[[], Any]) -> tuple[Any, int]:
    """Return what is made and the highest anonymous memory meanwhile above that before."""
    gc.collect()
    before, highest, is_done = own_bytes(), [0], threading.Event()

    def watch() -> None:
        while not is_done.wait(0.001):
            highest[0] = max(highest[0], own_bytes())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        made = run()
    finally:
        is_done.set()
        watching.join()
    return made, max(highest[0], own_bytes()) - before


def print_one(arguments: argparse.Namespace) -> None:
    """Record one answer and print its figures as JSON. For a process of its own."""
    keep, is_filed = LINES[arguments.one]
    small = argparse.Namespace(**{**vars(arguments), "tokens": 2})
    driver(small, keep, None)()  # libraries allocate on first use
    with tempfile.TemporaryDirectory() as folder:
        run = driver(arguments, keep, Path(folder) if is_filed else None)
        start = time.process_time()
        sides, taken = peak(run)
        seconds = time.process_time() - start
    recorded = sum(part.nbytes for side in sides for part in side)
    if recorded != planned(arguments, keep).bytes:
        raise RuntimeError(f"planned {planned(arguments, keep).bytes:,} bytes, recorded {recorded:,}")
    print(json.dumps([recorded, taken, seconds]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="The memory that a record takes, by what is kept.")
    for name, default in (("tokens", 1024), ("patches", 1280), ("layers", 36), ("heads", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--one", choices=LINES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.one:
        print_one(arguments)
        return
    counts = f"{arguments.tokens:,} tokens over {arguments.patches:,} visual tokens"
    print(f"{counts}, {arguments.layers} layers × {arguments.heads} heads, float16")
    print(f"{'':22}{'planned MB':>12}{'memory MB':>12}{'CPU s':>8}")
    # Every tensor gets memory of its own and gives it back: else the allocator's leftovers are measured too.
    settings = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    for line in LINES:
        command = [sys.executable, "-m", "benchmarks.keep", *sys.argv[1:], "--one", line]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | settings)
        recorded, taken, seconds = json.loads(done.stdout.splitlines()[-1])
        print(f"{line:22}{recorded / 1e6:12,.0f}{taken / 1e6:12,.0f}{seconds:8.1f}")


if __name__ == "__main__":
    main()
