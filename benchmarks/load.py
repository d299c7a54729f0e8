"""Many people at one page: is each answer its asker's and right, is the line fair, does memory stay flat.

    python -m benchmarks.load [--visitors 20] [--seconds 120]

The page runs in a process of its own on the bundled model. Each visitor is a client over HTTP with a session
of its own, who asks an example's question about it, one after the other; has the map of a word drawn each
time; and stops every tenth answer soon after it was asked for. Each answer and map is compared with what the
model gives without the page.

"wait" is from asking to the whole answer, over all visitors; the line is fair where no visitor's mean is
twice the mean of all. "map" is a map drawn for one visitor while the others ask, beside the same with nobody
asking. "memory" is the page's resident size at the end, over that at a fifth of the time.
"""

from __future__ import annotations

import argparse
import itertools
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from gradio_client import Client, handle_file  # type: ignore[import-untyped]

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from model import load_model
from page.sources import examples
from records.pictures import open_image

ROOT = Path(__file__).parent.parent
NEW = 24  # tokens of an answer, at most
STOPPED = 10  # each so-and-so-many-th answer is stopped
Known = Mapping[
    tuple[Path, str], tuple[str, np.ndarray]
]  # picture and question: answer, map of its first token


@dataclass
class Found:
    """What happened, over all visitors."""

    waits: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))  # seconds, by visitor
    maps: list[float] = field(default_factory=list)  # seconds of a map
    wrong: list[str] = field(default_factory=list)
    stopped: int = 0


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the address of a page on the bundled model, and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "app.py", "--model", "demo", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=_environment(folder)
    ) as server:
        try:
            if server.stdout is None or not any(line.startswith("Open ") for line in server.stdout):
                raise SystemExit("The page did not start.")
            yield f"http://127.0.0.1:{port}", psutil.Process(server.pid)
        finally:
            server.terminate()


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "GRADIO_TEMP_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False"}


def expected() -> Known:
    """Return what the model itself answers to each example's question."""
    model, processor = load_model("demo", device="cpu")
    extractor = AttentionExtractor(model, processor)
    known = {}
    for path, prompt in examples():
        capture = extractor.generate(open_image(path), prompt, NEW)
        heat = AttentionProcessor(capture).get_attention_heatmap_for_token(0)
        known[path, prompt] = (capture.text, heat)
    return known


def visit(number: int, url: str, known: Known, until: float, found: Found) -> None:
    """Ask until the time is over."""
    client = Client(url, verbose=False)
    questions = itertools.islice(itertools.cycle(known), number, None)
    for count, (path, prompt) in enumerate(questions, 1):
        if time.monotonic() > until:
            return
        began = time.monotonic()
        if count % STOPPED == 0:
            job = client.submit(handle_file(path), prompt, NEW, api_name="/generate")
            time.sleep(0.5)
            job.cancel()
            found.stopped += 1
            continue
        text, heat = known[path, prompt]
        answer = client.predict(handle_file(path), prompt, NEW, api_name="/generate")
        found.waits[number].append(time.monotonic() - began)
        began = time.monotonic()
        _, facts = client.predict("0", api_name="/heatmap")
        found.maps.append(time.monotonic() - began)
        if answer["text"] != text or not np.allclose(facts["map"], heat, rtol=1e-3, atol=1e-5):
            found.wrong.append(
                f"visitor {number}: {prompt!r} about {path.name}: {answer['text']!r}, not {text!r}"
            )


def alone(url: str, known: Known) -> float:
    """Return the seconds of a map with nobody else at the page: a median."""
    client = Client(url, verbose=False)
    path, prompt = next(iter(known))
    client.predict(handle_file(path), prompt, NEW, api_name="/generate")
    times = []
    for _ in range(5):
        began = time.monotonic()
        client.predict("0", api_name="/heatmap")
        times.append(time.monotonic() - began)
    return statistics.median(times)


def crowd(url: str, known: Known, visitors: int, seconds: float, page: psutil.Process) -> tuple[Found, float]:
    """Return what happened to so many visitors, and how much memory grew after a fifth of the time."""
    found, errors = Found(), []
    until = time.monotonic() + seconds

    def one(number: int) -> None:
        try:
            visit(number, url, known, until, found)
        except Exception as error:  # whatever a client raises is a fault of the page
            errors.append(f"visitor {number}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(visitors)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 5)
    before = page.memory_info().rss
    for thread in threads:
        thread.join()
    found.wrong += errors
    return found, page.memory_info().rss / before


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description="Many people at one page.")
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    args = parser.parse_args()
    known = expected()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (url, page):
        quiet = alone(url, known)
        found, growth = crowd(url, known, args.visitors, args.seconds, page)
    waits = [wait for each in found.waits.values() for wait in each]
    means = [statistics.mean(each) for each in found.waits.values()]
    for line in found.wrong[:20]:
        print(line)
    print(f"{args.visitors} visitors, {args.seconds:.0f} s: {len(waits)} answers, {found.stopped} stopped")
    print(f"wrong {len(found.wrong)}")
    print(f"wait: mean {statistics.mean(waits):.1f} s, longest {max(waits):.1f} s, ", end="")
    print(f"slowest visitor {max(means) / statistics.mean(means):.2f} times the mean of visitors")
    print(f"map: {1000 * quiet:.0f} ms alone, {1000 * statistics.median(found.maps):.0f} ms in the crowd")
    print(f"memory {growth:.3f} times that at a fifth of the time")


if __name__ == "__main__":
    main()
