"""Ask in fresh tabs of the page, at once and while the computer is busy, and see that each gets its answer.

    python -m scripts.first_asks [--tabs 200] [--busy 2]

Each tab is a visitor of its own, who presses Ask as soon as it is there. A tab is silent if a minute later
there is no new answer on it. Meanwhile as many processes as `--busy` says do nothing but take time.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import TimeoutError as TooLateError

import config
from demo.bundled import bundled_example
from scripts.chromium import needed_chromium
from tests.serving import served

PATIENCE = 60_000  # milliseconds
BUSY = "while True: sum(range(10_000))"
NEW = 12  # tokens of an answer: fewer than the example has that is there at once
WRITTEN = """example => {
  const { phase } = document.querySelector('.lens-viewer').dataset;
  const { textContent } = document.querySelector('[data-part=words]');
  return phase === 'answered' && textContent && textContent !== example;
}"""


def asked(browser: Browser, url: str, example: str) -> float | None:
    """Open a tab, ask, and return the seconds to the answer; None if it stays silent.

    `example` is the answer that is there at once.
    """
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        tab = context.new_page()
        tab.goto(url)
        tab.locator("#generate").click(timeout=PATIENCE)
        began = time.monotonic()
        tab.wait_for_function(WRITTEN, arg=example, timeout=PATIENCE, polling=100)
        return time.monotonic() - began
    except TooLateError:
        return None
    finally:
        context.close()


def main() -> None:
    """Print a line for each ten tabs, and how many were silent."""
    parser = argparse.ArgumentParser(description="Ask in fresh tabs while the computer is busy.")
    parser.add_argument("--tabs", type=int, default=200)
    parser.add_argument("--busy", type=int, default=2)
    args = parser.parse_args()
    chromium = needed_chromium()
    seconds: list[float] = []
    silent = 0
    kept = bundled_example()
    example = kept.capture.text if kept else ""
    with tempfile.TemporaryDirectory() as cache, sync_playwright() as playwright, ExitStack() as busy:
        config.CACHE_DIR = cache
        config.MAX_NEW_TOKENS = NEW
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with served("demo") as (_, url):
            for _ in range(args.busy):
                busy.callback(subprocess.Popen([sys.executable, "-c", BUSY]).kill)  # noqa: S603
            for number in range(1, args.tabs + 1):
                found = asked(browser, url, example)
                silent += found is None
                seconds += [] if found is None else [found]
                if seconds and number % 10 == 0:
                    median, longest = statistics.median(seconds), max(seconds)
                    told = f"answers after {median:.1f} s in the median, {longest:.1f} at most"
                    print(f"{number} tabs, {silent} silent; {told}", flush=True)
        browser.close()
    raise SystemExit(silent > 0)


if __name__ == "__main__":
    main()
