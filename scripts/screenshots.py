"""`python -m scripts.screenshots`: the README's pictures, docs/*.png, of the bundled model and its examples.

Needs Chromium (Debian's package) and playwright. Starts the page on a free port of its own, and ends it.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from playwright.sync_api import Page as Tab
from playwright.sync_api import sync_playwright

import cli
import config
from methods import METHODS
from model import DEMO
from page.layout import examples
from page.model_room import ModelRoom
from page.serve import serve
from page.site import Page
from records.store import Store

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CHROMIUM = "/usr/bin/chromium"
PORT = 7899
# file, width, height, colour scheme, and what is done after the page is open: one of STEPS
STATES: tuple[tuple[str, int, int, str, str], ...] = (
    ("page-start.png", 1440, 860, "light", "nothing"),
    ("page.png", 1440, 1000, "light", "answer"),
    ("page-wipe.png", 1440, 1000, "light", "wipe"),
    ("page-heads.png", 1440, 1000, "light", "heads"),
    ("check.png", 1440, 1500, "light", "check"),
    ("gradcam.png", 1440, 1400, "light", "gradcam"),
    ("page-dark.png", 1024, 1000, "dark", "answer"),
    ("page-phone.png", 390, 844, "light", "answer"),
)
BLUE = ("gradcam", "--layer-range", "all", "--target", "word:1")
# file, a command of the shell, and which of the files that it writes
DRAWN: dict[str, tuple[tuple[str, ...], str]] = {
    "words.png": (("attention", "--tokens", "words"), "overview.png"),
    "gradcam-blue.png": (BLUE, "layer_grid.png"),
    "animation.gif": (("export", "--format", "gif", "--no-cache"), "*.gif"),
    "gradient-norm-blue.png": ((*BLUE, "--method", "gradient-norm"), "layer_grid.png"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pictures; only those whose names are given, if any are."""
    wanted = set(sys.argv[1:] if argv is None else argv)
    DOCS.mkdir(exist_ok=True)
    states = [state for state in STATES if not wanted or state[0] in wanted]
    if states:
        photograph(states)
    for name, (arguments, file) in DRAWN.items():
        if not wanted or name in wanted:
            draw(name, arguments, file)
    return 0


def photograph(states: Sequence[tuple[str, int, int, str, str]]) -> None:
    """Write a screenshot of each state of the page."""
    room = ModelRoom()
    room.load(DEMO)
    with tempfile.TemporaryDirectory() as cache, sync_playwright() as playwright:
        page = Page(room, DEMO, store=Store(cache))
        url = serve(page, "127.0.0.1", PORT)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            for name, width, height, scheme, step in states:
                context = browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme="dark" if scheme == "dark" else "light",
                )
                tab = context.new_page()
                tab.goto(url)
                ready(tab)
                if step != "nothing":
                    answer(tab)
                STEPS[step](tab)
                if width < 760:
                    tab.locator("#answering").evaluate("one => one.scrollIntoView()")
                tab.mouse.move(0, 0)
                tab.wait_for_timeout(800)  # until nothing fades any more
                tab.screenshot(path=DOCS / name)
                print(DOCS / name)
                context.close()
        finally:
            browser.close()
            page.blocks.close(verbose=False)


def ready(tab: Tab) -> None:
    """Wait until the page is there."""
    tab.wait_for_function("document.querySelector('#status')?.innerText.includes('ready')")
    tab.wait_for_function("[...document.querySelectorAll('#examples img')].every((one) => one.naturalWidth)")


def answer(tab: Tab) -> None:
    """Ask about the first example, and wait until a map is drawn."""
    tab.locator("#examples button.gallery-item").first.click()
    tab.wait_for_selector("#image img")
    tab.click("#generate")
    tab.wait_for_function("document.querySelector('#viewer .lens-viewer')?.viewer?.state().frames > 0")
    if config.METHOD != "attention":
        tab.wait_for_function(
            "label => document.querySelector('#viewer [data-part=made]').innerText.startsWith(label)",
            arg=METHODS[config.METHOD].label,
        )


def wipe(tab: Tab) -> None:
    """Show another word, the picture on one side of a line and the map on the other."""
    tab.click("#viewer .lens-word:has-text('boat')")
    tab.click("#viewer label:has-text('wipe')")


def heads(tab: Tab) -> None:
    """Show every layer and head."""
    tab.click('#viewer [data-panel="heads"] summary')
    tab.wait_for_function("document.querySelector('#viewer [data-part=headsCanvas]').height > 200")
    tab.locator('#viewer [data-panel="shares"]').evaluate("one => { one.open = true; one.scrollIntoView(); }")


def gradcam(tab: Tab) -> None:
    """Run Grad-CAM on the word that is shown."""
    tab.click("#gradcam_tab-button")
    tab.click("#cam_run")
    tab.wait_for_function("document.querySelector('#cam_overlay img')?.naturalWidth")


def check(tab: Tab) -> None:
    """Check the map of a word, and the words against the picture."""
    tab.click("#viewer .lens-word:has-text('boat')")
    tab.click("#check_tab-button")
    tab.click("#check_map")
    tab.wait_for_function("document.querySelector('#check_curve img')?.naturalWidth")
    tab.click("#check_picture")
    tab.wait_for_selector("#check_table table")


STEPS: dict[str, Callable[[Tab], None]] = {
    "nothing": lambda tab: None,
    "answer": lambda tab: None,
    "wipe": wipe,
    "heads": heads,
    "gradcam": gradcam,
    "check": check,
}


def draw(name: str, arguments: Sequence[str], file: str) -> None:
    """Write what a command of the shell draws of the first example."""
    picture, prompt = examples()[0]
    command, *rest = arguments
    with tempfile.TemporaryDirectory() as folder:
        asked = [command, picture, "--prompt", prompt, "--model", DEMO, *rest, "--output", folder]
        if cli.main(asked) == 0:
            shutil.copy(next(Path(folder).glob(file)), DOCS / name)
            print(DOCS / name)


if __name__ == "__main__":
    sys.exit(main())
