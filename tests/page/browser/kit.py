"""What several tests here share."""

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import ConsoleMessage, Download, Locator, Request
from playwright.sync_api import Page as Tab
from playwright.sync_api import TimeoutError as TooLateError

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from evaluation.without_picture import logprobs_without
from page.sessions import Run
from page.shown import choices
from page.site import Page
from records.capture import Capture
from tests.seeing import draws, part, state
from tests.serving import HEADS, LAYERS, PROMPT, noise

PATIENCE = 60_000  # milliseconds: these tests may share two cores with others
NEW = 9  # tokens of an answer
GRID = (5, 8)


class Watch:
    """What went on behind a tab's back."""

    def __init__(self, tab: Tab, url: str) -> None:
        self.local = (url, "data:", "blob:" + url)
        self.foreign: list[str] = []
        self.errors: list[str] = []
        self.asked: list[str] = []
        tab.on("request", self.on_request)
        tab.on("console", self.on_console)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))

    def on_request(self, request: Request) -> None:
        if not request.url.startswith(self.local):
            self.foreign.append(request.url)
        if not request.url.startswith(("data:", "blob:")) and "heartbeat" not in request.url:
            self.asked.append(f"{request.method} {request.url}")

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)


OpenTab = Callable[..., Tab]
# From now on: the phases of an answer, how often its words are written, and how much was asked in the queue.
LISTEN = """() => {
  Object.assign(window, { phases: [], written: 0 });
  performance.clearResourceTimings();
  const asked = () => performance.getEntriesByType('resource').map((one) => one.name);
  window.queued = () => asked().filter((name) => name.includes('queue/join')).length;
  window.listening?.disconnect();
  const viewer = document.querySelector('.lens-viewer');
  window.listening = new MutationObserver((records) => {
    if (viewer.dataset.phase !== window.phases.at(-1)) window.phases.push(viewer.dataset.phase);
    window.written += records.filter((one) => one.type === 'childList').length;
  });
  window.listening.observe(viewer, { attributeFilter: ['data-phase'] });
  window.listening.observe(document.querySelector('[data-part=words]'), { childList: true });
}"""
THERE = """document.querySelector('.lens-viewer').dataset.phase === 'answered'
  && document.querySelector('.lens-viewer').viewer.state().values !== null"""


def ready(tab: Tab, says: str = "ready", phase: str = "answered") -> None:
    """Wait until the page is there, with the example where there is one."""
    tab.wait_for_selector(f'.lens-viewer[data-phase="{phase}"]')
    tab.wait_for_function("text => document.querySelector('#status').innerText.includes(text)", arg=says)


def answer_to(page: Page, picture: Image.Image, prompt: str = PROMPT, tokens: int = NEW) -> Capture:
    loaded = page.room.loaded
    assert loaded is not None
    return AttentionExtractor(loaded.model, loaded.processor).generate(picture, prompt, max_new_tokens=tokens)


def upload(tab: Tab, file: Path) -> None:
    """Choose a picture of one's own, and wait until it is the one that is asked about."""
    tab.set_input_files("#image input[type=file]", str(file))
    tab.wait_for_selector("#image .tile:not([aria-busy])")
    tab.wait_for_selector(f'#image .thumb[title="{file.name}"][aria-pressed=true]', state="attached")


def menu(tab: Tab, name: str) -> Locator:
    """Open one of the page's menus: "recent", "help", "share" or "settings"."""
    place = tab.locator(f"#{name}_menu")
    if not place.is_visible():
        tab.click(f"[data-menu={name}_menu]")
        place.wait_for()
    return place


def panel(tab: Tab, name: str) -> Locator:
    """Open one of the viewer's tabs: "test", "heads", "shares" or "methods"."""
    tab.click(f"[data-tab={name}]")
    place = tab.locator(f"[data-panel={name}]")
    place.wait_for()
    return place


def look_menu(tab: Tab) -> None:
    """Open what says how the map is drawn."""
    if not tab.is_visible("[data-popover=look]"):
        tab.click("[data-opens=look]")


def draw_alone(tab: Tab, colormap: str = "viridis") -> None:
    """Draw the map without the picture, in flat cells of a colour map."""
    look_menu(tab)
    part(tab, "colormap").select_option(colormap)
    part(tab, "alone").check()
    becomes(tab, "look.cells", "cells")
    becomes(tab, "look.view", "heatmap")


def set_number(tab: Tab, selector: str, value: float) -> None:
    """Type a number beside a slider."""
    field = tab.locator(f"{selector} input[type=number]")
    for _ in range(10):  # what is typed while the menu is still opening can get lost
        field.fill(str(value))
        field.press("Tab")
        try:
            shows(tab, selector, value, 2_000)
        except TooLateError:
            continue
        return
    raise AssertionError(f"{selector} does not take {value}")


def shows(tab: Tab, selector: str, value: float, patience: int = PATIENCE) -> None:
    """Wait until a slider stands there."""
    tab.wait_for_function(
        "([place, value]) => Number(document.querySelector(`${place} input[type=range]`).value) === value",
        arg=[selector, value],
        timeout=patience,
    )


def restrict(tab: Tab, axis: str, numbers: str) -> None:
    """Type which layers or heads the maps are made of; the tab with these is open."""
    field = tab.locator(f"[data-axis={axis}]")
    field.fill(numbers)
    field.press("Enter")


def restricted(tab: Tab, **fields: str) -> None:
    """Wait until the fields of layers and heads say this."""
    for axis, numbers in fields.items():
        tab.wait_for_function(
            "([axis, numbers]) => document.querySelector(`[data-axis=${axis}]`).value === numbers",
            arg=[axis, numbers],
        )


def click_head(tab: Tab, row: int, col: int) -> None:
    """Click on a map of the tab with all layers and heads: row 0 and column 0 are the means."""
    canvas = part(tab, "headsCanvas")
    box = canvas.bounding_box()
    assert box is not None
    x = 58 + (col + 0.4) * (box["width"] - 58) / (1 + HEADS)
    y = 22 + (row + 0.3) * (box["height"] - 22) / (1 + LAYERS)
    canvas.click(position={"x": x, "y": y})


def says(tab: Tab, name: str, text: str) -> None:
    """Wait until a part of the viewer says something with this text in it."""
    tab.wait_for_function(
        """([name, text]) => document.querySelector(`[data-part=${name}]`)
             .textContent.replaceAll('\\xa0', ' ').includes(text)""",
        arg=[name, text],
    )


def reads(tab: Tab, text: str) -> None:
    """Wait until this is the answer that is there."""
    tab.wait_for_function(
        "text => document.querySelector('[data-part=words]').textContent === text", arg=text
    )


def prepare(tab: Tab, file: Path, tokens: int = NEW) -> None:
    """Choose a picture, and how long the answer may be."""
    upload(tab, file)
    allow(tab, tokens)


def allow(tab: Tab, tokens: int) -> None:
    """Set how long an answer may be."""
    menu(tab, "settings")
    set_number(tab, "#max_new_tokens", tokens)
    tab.keyboard.press("Escape")
    tab.wait_for_selector("#settings_menu", state="hidden")


def ask(tab: Tab, file: Path, tokens: int = NEW) -> None:
    """Choose a picture, ask, and wait for the first map."""
    prepare(tab, file, tokens)
    generate(tab)


def generate(tab: Tab) -> None:
    tab.evaluate(LISTEN)
    tab.click("#generate")
    answered(tab)


def answered(tab: Tab, asks: int = 3) -> None:
    """Wait until an answer is there with its underlines, and drawn.

    `asks` of the answer, its underlines and the maps of config's method were asked for after LISTEN.
    """
    try:
        tab.wait_for_function("() => window.written")
        tab.wait_for_function(THERE)
        tab.wait_for_selector("[data-part=words]:not([data-unknown])")
        tab.wait_for_function("asks => window.queued() >= asks", arg=asks)
    except TooLateError:
        told = [tab.evaluate("window.phases"), tab.inner_text(".lens-left")]
        raise AssertionError(f"no answer: the page says {told}") from None
    tab.wait_for_selector("#generate")
    state(tab)


def becomes(tab: Tab, expression: str, value: Any) -> None:
    """Wait until what the viewer's state says is equal to something: "pick.key", "look.view"."""
    tab.wait_for_function(
        """([path, value]) => {
             const found = path.split('.').reduce((at, name) => at?.[name],
                                                  document.querySelector('.lens-viewer').viewer.state());
             return JSON.stringify(found) === JSON.stringify(value);
           }""",
        arg=[expression, value],
    )


def picked(tab: Tab) -> str:
    return str(state(tab)["pick"]["key"])


def map_of(capture: Capture, tokens: Any, *chosen: Any, of_prompt: bool = False) -> np.ndarray:
    """The map (h, w) that should be drawn, worked out directly."""
    processor = AttentionProcessor(capture)
    if of_prompt:
        return processor.get_attention_heatmap_for_prompt_token(tokens, *chosen)
    return processor.get_attention_heatmap_for_token(tokens, *chosen)


def expect_map(tab: Tab, capture: Capture, tokens: Any, *chosen: Any, of_prompt: bool = False) -> None:
    """Wait until what is drawn is the processor's map, as exactly as the browser was told it."""
    one_by_one = [tokens] if isinstance(tokens, int) else list(tokens)
    if len(one_by_one) > 1 and len(chosen) == 3 and chosen[-1] != "mean":
        raise AssertionError("the mean of maximums is not the maximum of means: compare one token")
    maps = [map_of(capture, token, *chosen, of_prompt=of_prompt) for token in one_by_one]
    step = max(float(np.ptp(one)) for one in maps) / 65535
    draws(tab, map_of(capture, tokens, *chosen, of_prompt=of_prompt), step + 1e-8)


def map_changes(tab: Tab, change: Callable[[], Any]) -> None:
    """Do something after which other values are drawn."""
    values = "`${document.querySelector('.lens-viewer').viewer.state().values}`"
    before = tab.evaluate(values)
    change()
    tab.wait_for_function(f"before => {values} !== before", arg=before)


def forgotten(tab: Tab) -> None:
    """Wait until no error stands above the words any more; a note of the answer may."""
    tab.wait_for_selector(
        "[data-part=notice]:not([data-kind=error]), [data-part=notice][hidden]", state="attached"
    )


def listed(tab: Tab, text: str) -> None:
    """Wait until the list of words shows this."""
    tab.wait_for_function("text => document.querySelector('#token input').value === text", arg=text)


def choose(tab: Tab, selector: str, text: str) -> None:
    """Pick an entry of a dropdown."""
    tab.click(f"{selector} input")
    tab.locator("ul[role=listbox] li", has_text=text).first.click()


def typed(tab: Tab, selector: str, text: str) -> None:
    """Type into a dropdown."""
    tab.fill(f"{selector} input", text)
    tab.keyboard.press("Enter")


def recent(tab: Tab) -> Locator:
    """The recent answers, newest first; at least one is there."""
    menu(tab, "recent")
    tab.wait_for_selector(".recent .entry")
    return tab.locator(".recent .entry")


def labels(capture: Capture) -> dict[str, str]:
    """What the list of words says for each pick."""
    return {key: label for label, key in choices(Run(capture, (noise(0),)))}


def words_of(capture: Capture) -> list[tuple[int, ...]]:
    return [word.tokens for word in AttentionProcessor(capture).words()]


def first_pick(page: Page, capture: Capture) -> tuple[int, ...]:
    """The word of an answer that is picked first: it needed the picture, and its map is hot at one place.

    The answer may have no function words of three letters or more.
    """
    loaded = page.room.loaded
    assert loaded is not None
    powers = capture.logprobs.double().numpy() - logprobs_without(loaded.model, loaded.processor, capture)
    spoken = [word for word in AttentionProcessor(capture).words() if re.search(r"[^\W_]", word.text)]
    needs = [max(0.0, powers[list(word.tokens)].sum() / np.log(10)) for word in spoken]
    low, high = min(needs), min(2.0, max(needs))
    assert high - low > 0.3
    scores: dict[tuple[int, ...], float] = {}
    for word, need in zip(spoken, needs, strict=True):
        if len(re.findall(r"[^\W\d_]", word.text)) >= 3:
            heat = map_of(capture, word.tokens)
            scores[word.tokens] = min(1.0, (need - low) / (high - low)) * heat.max() / heat.sum()
    return max(scores, key=scores.__getitem__)


def key_of(tokens: Sequence[int]) -> str:
    return f"{tokens[0]}-{tokens[-1]}" if len(tokens) > 1 else f"{tokens[0]}"


def attention_range(capture: Capture) -> tuple[float, float]:
    """The lowest and highest value of every token's map, of answer and prompt."""
    maps = [map_of(capture, token) for token in range(len(capture.token_ids))]
    maps += [map_of(capture, token, of_prompt=True) for token in range(len(capture.prompt_token_ids))]
    return min(float(one.min()) for one in maps), max(float(one.max()) for one in maps)


def cam_picture(tab: Tab) -> np.ndarray:
    """The pixels of the enlarged layer (H, W, 3), as the browser was given them."""
    tab.wait_for_function("document.querySelector('#cam_overlay img').naturalWidth > 0")
    address = str(tab.evaluate("document.querySelector('#cam_overlay img').src"))
    picture = Image.open(io.BytesIO(tab.request.get(address).body()))
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGB"))


def cam_change(tab: Tab, change: Callable[[], Any]) -> np.ndarray:
    """Do something that draws the enlarged layer anew, and return its pixels."""
    before = tab.locator("#cam_overlay img").evaluate("one => one.src")
    change()
    tab.wait_for_function("before => document.querySelector('#cam_overlay img')?.src !== before", arg=before)
    return cam_picture(tab)


def layers_shown(tab: Tab) -> list[int]:
    return list(tab.eval_on_selector_all("#cam .tile", "all => all.map(one => Number(one.dataset.layer))"))


def explain(tab: Tab) -> None:
    """Open the tab, press Run, and wait for the enlarged picture."""
    panel(tab, "methods")
    tab.click("#cam_run")
    tab.wait_for_selector("#cam .cam[data-state=done]")
    tab.wait_for_selector("#cam_overlay img")


def refused(tab: Tab, line: str) -> None:
    """Wait until the tab says the line, and nothing else."""
    tab.wait_for_function(
        "line => document.querySelector('#cam_problem').innerText.startsWith(line)", arg=line
    )
    assert "\n" not in tab.inner_text("#cam_problem").strip()
    assert layers_shown(tab) == []


def problem(tab: Tab, line: str) -> None:
    """Wait until the line above the words begins like this."""
    tab.wait_for_function(
        "line => document.querySelector('[data-part=notice]').innerText.startsWith(line)", arg=line
    )


def made(tab: Tab, kind: str) -> Download:
    """Make a file, and return what the browser downloaded."""
    menu(tab, "share")
    choose(tab, "#share_kind", kind)
    with tab.expect_download() as told:
        tab.click("#share_make")
    return told.value
