"""How long a pick and a hover take in the viewer, until their picture is drawn.

    python -m benchmarks.viewer [--rounds 3]

A report of 1,200 patches (30 x 40) and 128 words is opened from disk in Debian's Chromium, and words are
picked and hovered over, with cells and smoothly. "pick" is from the click to the frame that shows it, and
therefore at least what is left of a frame; "hover" is what the viewer's own script takes. Medians.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

import viewer
from tests.large import large_payload
from tests.seeing import choose, state

MEASURED = """async () => {
  const { viewer } = document.querySelector('.lens-viewer');
  const words = [...document.querySelectorAll('[data-part="answer"] .lens-word')];
  const next = () => new Promise((done) => requestAnimationFrame(done));
  const picks = [], hovers = [];
  for (const word of words) {
    const start = performance.now();
    word.click();
    await next();
    picks.push(performance.now() - start);
  }
  for (const word of words) {
    const start = performance.now();
    word.dispatchEvent(new PointerEvent('pointerover', { bubbles: true, pointerType: 'mouse' }));
    const handled = performance.now() - start;
    await next();
    hovers.push(handled + viewer.state().drawMs);
  }
  return [picks, hovers];
}"""


def milliseconds(tab: Page, cells: str, rounds: int) -> tuple[float, float]:
    """Return the medians of a pick and of a hover with this kind of cells."""
    choose(tab, "cells", cells)
    state(tab)
    measured = [tab.evaluate(MEASURED) for _ in range(rounds)]
    picks, hovers = ([one for times in kind for one in times] for kind in zip(*measured, strict=True))
    return statistics.median(picks), statistics.median(hovers)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="The time from a pick to its picture in the viewer.")
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("There is no Chromium on this computer: apt install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = Path(folder) / "report.html"
        report.write_text(viewer.report(large_payload()), "utf-8")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1440, "height": 1000})
        tab.goto(report.as_uri())
        tab.wait_for_function("document.querySelector('.lens-viewer').viewer?.state().frames > 0")
        print(f"{'ms':8}{'pick':>8}{'hover':>8}")
        for cells in ("cells", "smooth"):
            pick, hover = milliseconds(tab, cells, rounds)
            print(f"{cells:8}{pick:8.1f}{hover:8.2f}")
        browser.close()


if __name__ == "__main__":
    main()
