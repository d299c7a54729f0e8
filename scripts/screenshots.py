"""`python -m scripts.screenshots`: the README's pictures, docs/*.png, of the bundled model and its examples.

Needs Chromium (Debian's package) and playwright. Starts the page on a free port of its own, and ends it.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from playwright.sync_api import FilePayload, sync_playwright
from playwright.sync_api import Page as Tab

import cli
import config
from model import DEMO
from page.jobs import Job
from page.model_room import ModelRoom
from page.network import Network
from page.serve import serve
from page.site import Page
from page.sources import examples
from records.store import Store
from scripts.chromium import chromium_path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PORT = 7899
# file, width, height, colour scheme, and what is done after the page is open: one of STEPS
STATES: tuple[tuple[str, int, int, str, str], ...] = (
    ("page.png", 1440, 900, "light", "nothing"),
    ("page-dark.png", 1440, 900, "dark", "point"),
    ("page-tablet.png", 1024, 768, "light", "nothing"),
    ("page-phone.png", 390, 844, "light", "nothing"),
    ("page-phone-dark.png", 390, 844, "dark", "nothing"),
    ("page-methods.png", 1440, 900, "light", "compare"),
    ("page-attention.png", 1440, 900, "light", "attention"),
    ("page-wipe.png", 1440, 900, "light", "wipe"),
    ("page-spotlight.png", 1440, 900, "light", "spotlight"),
    ("page-stale.png", 1440, 900, "light", "stale"),
    ("page-language.png", 1440, 900, "light", "language"),
    ("page-hidden.png", 1440, 900, "light", "hide"),
    ("page-writing.png", 1440, 900, "light", "write"),
    ("page-portrait.png", 1440, 900, "light", "portrait"),
    ("page-several.png", 1440, 900, "light", "several"),
    ("page-follow.png", 1440, 900, "light", "follow"),
    ("page-closer.png", 1440, 900, "light", "closer"),
    ("page-boxes.png", 1440, 900, "light", "boxes"),
    ("page-error.png", 1440, 900, "light", "refuse"),
    ("gradcam.png", 1440, 900, "light", "gradcam"),
)
BOXES = """[
  {"bbox_2d": [130, 11, 175, 41], "label": "fish"},
  {"bbox_2d": [279, 62, 329, 110], "label": "boat"}
]"""
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
    chromium = chromium_path()
    if chromium is None:
        raise SystemExit("Chromium is needed for the pictures of the page: apt install chromium")
    with tempfile.TemporaryDirectory() as cache, sync_playwright() as playwright:
        page = Page(room, DEMO, store=Store(cache))
        url = serve(page, Network(port=PORT))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            for name, width, height, scheme, step in states:
                context = browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme="dark" if scheme == "dark" else "light",
                )
                tab = context.new_page()
                tab.set_default_timeout(180_000)
                tab.goto(f"{url}?__theme={scheme}")
                reached(tab, "answered")
                tab.mouse.move(0, 0)
                STEPS[step](tab)
                tab.wait_for_timeout(800)  # until nothing fades any more
                tab.screenshot(path=DOCS / name)
                print(DOCS / name)
                context.close()
        finally:
            browser.close()
            page.blocks.close(verbose=False)


def reached(tab: Tab, phase: str) -> None:
    """Wait until the answer is in this phase, and drawn."""
    tab.wait_for_selector(f'.lens-viewer[data-phase="{phase}"]', state="attached")
    tab.wait_for_function("document.querySelector('.lens-viewer').viewer.state().frames > 0")


def finished(tab: Tab) -> None:
    """Wait until all maps of an answer are there, and the model has nothing to do."""
    reached(tab, "answered")
    tab.wait_for_function(
        f"document.querySelector('.lens-viewer').dataset.method === '{config.METHOD}'"
        " && document.querySelector('[data-part=work]').hidden"
    )


def point(tab: Tab) -> None:
    """Point at the boat, with every head's map beside it."""
    tab.click('[data-tab="heads"]')
    tab.wait_for_function("document.querySelector('[data-part=headsCanvas]').height > 100")
    drag(tab, (0.86, 0.36), (0.96, 0.62))


def drag(tab: Tab, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over a part of the picture, from one place to another, in parts of its sides."""
    box = tab.locator('[data-part="picture"]').bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    tab.mouse.move(*places[0])
    tab.mouse.down()
    tab.mouse.move(*places[1], steps=4)
    tab.mouse.up()


def compare(tab: Tab) -> None:
    """Work out the map of one word by every method."""
    tab.click(".lens-words .lens-word:has-text('boat')")
    tab.click('[data-tab="methods"]')
    tiles = tab.locator(".lens-tile")
    for number in range(tiles.count()):
        if tiles.nth(number).get_attribute("data-known") is None:
            tiles.nth(number).click()
            tab.wait_for_selector(f".lens-tile:nth-child({number + 1})[data-known]", timeout=120_000)


def wipe(tab: Tab) -> None:
    """Show another word, the picture on one side of a line and the map on the other."""
    tab.click(".lens-words .lens-word:has-text('boat')")
    tab.click("label:has-text('Wipe')")


def hide(tab: Tab) -> None:
    """Hide what the word came from, and ask again."""
    tab.click(".lens-next button:has-text('Hide')")
    tab.wait_for_selector('.lens-words:not(:has-text("heart"))')
    finished(tab)


def write(tab: Tab) -> None:
    """Catch an answer while it is written."""
    written = Job.writes

    def slowly(job: Job, text: str, tokens: int) -> None:
        written(job, text, tokens)
        time.sleep(0.1)

    setattr(Job, "writes", slowly)  # noqa: B010
    tab.click(".sources .thumb:nth-child(2)")
    tab.click("#generate")
    reached(tab, "writing")
    tab.wait_for_function("document.querySelector('.lens-words').innerText.split(' ').length > 9")
    setattr(Job, "writes", written)  # noqa: B010


def ask(tab: Tab, number: int) -> None:
    """Ask about an example, by its place in the row."""
    tab.click(f".sources .thumb:nth-child({number})")
    tab.click("#generate")
    finished(tab)


def several(tab: Tab) -> None:
    """Ask about three examples at once."""
    tab.click("#image .several")
    for number in (3, 4):
        tab.click(f".sources .thumb:nth-child({number})")
    tab.fill("#prompt textarea", "What is the boat?")
    tab.click("#generate")
    finished(tab)
    tab.mouse.move(0, 0)


def follow(tab: Tab) -> None:
    """Ask a question after the example."""
    tab.click(".lens-follow")
    tab.fill("#prompt textarea", "What is the boat?")
    tab.click("#generate")
    tab.wait_for_selector(".lens-turns li:nth-child(2)")
    tab.wait_for_selector('.lens-words:not(:has-text("heart"))')
    finished(tab)
    tab.mouse.move(0, 0)


def boxes(tab: Tab) -> None:
    """Have an answer with boxes explained, as Qwen2.5-VL writes them: in pixels of the resized picture."""
    tab.click('[data-menu="settings_menu"]')
    tab.fill("#given textarea", BOXES)
    tab.keyboard.press("Escape")
    tab.fill("#prompt textarea", "Locate the fish and the boat.")
    tab.click("#generate")
    tab.wait_for_selector(".lens-boxes:not([hidden])")
    finished(tab)


def closer(tab: Tab) -> None:
    """Look closer at the boat, and draw the map of the crop in its place."""
    tab.fill("#prompt textarea", "What is the boat?")
    tab.click("#generate")
    tab.wait_for_selector('.lens-words:not(:has-text("heart"))')
    finished(tab)
    drag(tab, (0.77, 0.35), (0.98, 0.62))
    tab.click('[data-part="closer"]')
    tab.wait_for_selector(".lens-visual-place", state="attached")
    finished(tab)
    tab.click(".lens-words .lens-word:has-text('boat')")
    tab.click(".lens-visual-place button")
    tab.mouse.move(0, 0)


def refuse(tab: Tab) -> None:
    """Choose a file that is no picture, and ask nothing."""
    file = FilePayload(name="notes.png", mimeType="image/png", buffer=b"no picture")
    tab.locator("#image input[type=file]").set_input_files(files=[file])
    tab.wait_for_selector(".sources-line:has-text('notes.png')")
    tab.fill("#prompt textarea", "")
    tab.click("#generate")
    tab.wait_for_selector('.lens-notice[data-kind="error"]')


def gradcam(tab: Tab) -> None:
    """Run Grad-CAM on the word that is shown."""
    tab.click('[data-tab="methods"]')
    tab.locator("#cam_run").scroll_into_view_if_needed()
    tab.click("#cam_run")
    tab.wait_for_function("document.querySelector('#cam_overlay img')?.naturalWidth")


STEPS: dict[str, Callable[[Tab], None]] = {
    "nothing": lambda tab: None,
    "point": point,
    "compare": compare,
    "attention": lambda tab: tab.click('[data-tab="shares"]'),
    "wipe": wipe,
    "spotlight": lambda tab: tab.click("label:has-text('Spotlight')"),
    "stale": lambda tab: tab.click(".sources .thumb:nth-child(4)"),
    "language": lambda tab: tab.click(".lens-words .lens-word:has-text('at')"),
    "hide": hide,
    "write": write,
    "portrait": lambda tab: ask(tab, 2),
    "several": several,
    "follow": follow,
    "boxes": boxes,
    "closer": closer,
    "refuse": refuse,
    "gradcam": gradcam,
}


def draw(name: str, arguments: Sequence[str], file: str) -> None:
    """Write what a command of the shell draws of the first example."""
    picture, prompt = examples()[0]
    command, *rest = arguments
    with tempfile.TemporaryDirectory() as folder:
        asked = [command, str(picture), "--prompt", prompt, "--model", DEMO, *rest, "--output", folder]
        if cli.main(asked) == 0:
            shutil.copy(next(Path(folder).glob(file)), DOCS / name)
            print(DOCS / name)


if __name__ == "__main__":
    sys.exit(main())
