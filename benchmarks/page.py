"""How long the page takes to its first picture, and a pick and a hover until theirs is drawn.

    python -m benchmarks.page [--rounds 3]

The page is opened without a model, each time by a visitor of its own. "first picture" is from when the
viewer's own script begins to the frame that shows the example; "after the address" is from when the browser
was sent there, most of which is Gradio's. Then a report of 1,200 patches (30 x 40) and 128 words is opened,
and words are picked and hovered over, as cells, smoothly and with the glow. "pick" is from the click to the
frame that shows it, and therefore at least what is left of a frame; "hover" is what the viewer's own script
takes. Medians, in Chromium without a graphics card.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Page as Tab

import viewer
from scripts.chromium import needed_chromium
from tests.large import large_payload
from tests.seeing import choose, look, part, state, until
from tests.serving import served

WATCHED = """new MutationObserver(() => {
  const root = document.querySelector('.lens-viewer');
  if (!root) return;
  window.began ??= performance.now();
  if (!window.drawn && root.viewer?.state().frames > 0 && root.dataset.phase === 'answered')
    requestAnimationFrame(() => (window.drawn ??= performance.now()));
}).observe(document, { subtree: true, childList: true, attributes: true })"""
MEASURED = """async () => {
  const { viewer } = document.querySelector('.lens-viewer');
  const words = [...document.querySelectorAll('[data-part="words"] .lens-word')];
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
LOOKS = {"cells": ("viridis", "cells"), "smooth": ("viridis", "smooth"), "glow": ("glow", "smooth")}


def first_picture(browser: Browser, url: str) -> tuple[float, float]:
    """Return the milliseconds to the example's picture from the viewer's script, and from the address."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab = context.new_page()
    tab.add_init_script(f"document.addEventListener('DOMContentLoaded', () => {{ {WATCHED} }})")
    tab.goto(url)
    tab.wait_for_function("() => window.drawn", polling=500)
    began, drawn = tab.evaluate("[window.began, window.drawn]")
    context.close()
    return drawn - began, drawn


def milliseconds(tab: Tab, name: str, rounds: int) -> tuple[float, float]:
    """Return the medians of a pick and of a hover with this look."""
    colormap, cells = LOOKS[name]
    look(tab)
    part(tab, "colormap").select_option(colormap)
    choose(tab, "cells", cells)
    state(tab)
    measured = [tab.evaluate(MEASURED) for _ in range(rounds)]
    picks, hovers = ([one for times in kind for one in times] for kind in zip(*measured, strict=True))
    return statistics.median(picks), statistics.median(hovers)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="The time to the page's first picture, and to a pick's.")
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    chromium = needed_chromium()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with served(None) as (_, url):
            visits = [first_picture(browser, url) for _ in range(rounds)]
        from_script, from_address = (statistics.median(times) for times in zip(*visits, strict=True))
        print(f"first picture {from_script:.0f} ms, after the address {from_address:.0f} ms")
        report = Path(folder) / "report.html"
        report.write_text(viewer.report(large_payload()), "utf-8")
        tab = browser.new_page(viewport={"width": 1440, "height": 1000})
        tab.goto(report.as_uri())
        until(tab, "document.querySelector('.lens-viewer').viewer?.state().frames > 0")
        print(f"{'ms':8}{'pick':>8}{'hover':>8}")
        for name in LOOKS:
            pick, hover = milliseconds(tab, name, rounds)
            print(f"{name:8}{pick:8.1f}{hover:8.2f}")
        browser.close()


if __name__ == "__main__":
    main()
