"""`python -m scripts.screenshots`: the README's pictures, docs/*.png, of the bundled model and its examples.

Needs Chromium (Debian's package) and playwright. Starts the page on a free port of its own, and ends it.
"""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from model import DEMO

from playwright.sync_api import Page as Tab
from playwright.sync_api import sync_playwright

import cli
from app import Page, serve
from page.layout import examples
from page.runs import ModelRoom

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CHROMIUM = "/usr/bin/chromium"
PORT = 7899
# file, width, height, colour scheme, and 0 as it opens, 1 after Generate, 2 with other settings, 3 Grad-CAM
STATES: tuple[tuple[str, int, int, str, int], ...] = (
    ("page.png", 1440, 1000, "light", 1),
    ("page-start.png", 1440, 800, "light", 0),
    ("page-settings.png", 1440, 1000, "light", 2),
    ("gradcam.png", 1440, 1400, "light", 3),
    ("page-dark.png", 1024, 900, "dark", 1),
    ("page-phone.png", 390, 844, "light", 1),
)
BLUE = ("gradcam", "--layer-range", "all", "--target", "word:1")
# file, a command of the shell, and which of the files that it writes
DRAWN: dict[str, tuple[tuple[str, ...], str]] = {
    "words.png": (("attention", "--tokens", "words"), "overview.png"),
    "gradcam-blue.png": (BLUE, "layer_grid.png"),
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


def photograph(states: Sequence[tuple[str, int, int, str, int]]) -> None:
    """Write a screenshot of each state of the page."""
    room = ModelRoom()
    room.load(DEMO)
    page = Page(room, DEMO)
    url = serve(page, "127.0.0.1", PORT)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            for name, width, height, scheme, clicks in states:
                context = browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme="dark" if scheme == "dark" else "light",
                )
                tab = context.new_page()
                tab.goto(url)
                bring_to(tab, clicks)
                if width < 760 and clicks:
                    tab.locator("#reading").evaluate("one => one.scrollIntoView()")
                tab.screenshot(path=DOCS / name)
                print(DOCS / name)
                context.close()
            browser.close()
    finally:
        page.blocks.close(verbose=False)


def bring_to(tab: Tab, clicks: int) -> None:
    """Wait until the page is ready, and click so many times."""
    tab.wait_for_function("document.querySelector('#status')?.innerText.includes('ready')")
    tab.wait_for_selector("#scale input")
    tab.wait_for_function("[...document.querySelectorAll('#examples img')].every((one) => one.naturalWidth)")
    if clicks == 0:
        return
    tab.locator("#examples button.gallery-item").first.click()
    tab.wait_for_selector("#image img")
    tab.click("#generate")
    tab.wait_for_function("document.querySelector('#overlay img')?.naturalWidth")
    if clicks == 2:
        before = tab.get_attribute("#overlay img", "src")
        tab.click("#view label:has-text('side by side')")
        tab.wait_for_function("src => document.querySelector('#overlay img').src !== src", arg=before)
    if clicks == 3:
        tab.click("#gradcam_tab-button")
        tab.click("#cam_run")
        tab.wait_for_function("document.querySelector('#cam_overlay img')?.naturalWidth")
    tab.mouse.move(0, 0)
    tab.wait_for_timeout(800)  # until nothing fades any more


def draw(name: str, arguments: Sequence[str], file: str) -> None:
    """Write what a command of the shell draws of the first example."""
    picture, prompt = examples()[0]
    command, *rest = arguments
    with tempfile.TemporaryDirectory() as folder:
        asked = [command, picture, "--prompt", prompt, "--model", DEMO, *rest, "--output", folder]
        if cli.main(asked) == 0:
            shutil.copy(Path(folder) / file, DOCS / name)
            print(DOCS / name)


if __name__ == "__main__":
    sys.exit(main())
