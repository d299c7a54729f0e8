"""What several tests here share."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import (
    ConsoleMessage,
    Download,
    Locator,
    Request,
)
from playwright.sync_api import Page as Tab
from playwright.sync_api import TimeoutError as TooLateError

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from page.sessions import Run
from page.shown import choices
from page.site import Page
from records.capture import Capture
from tests.seeing import state
from tests.serving import PROMPT, noise

PATIENCE = 60_000  # milliseconds: these tests may share two cores with others
NEW = 9  # tokens of an answer
GRID = (5, 8)
SLIDERS = ("layer_from", "layer_to", "head_from", "head_to")


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


def ready(tab: Tab, says: str = "ready") -> None:
    """Wait until the page is there with its data."""
    tab.wait_for_selector("#aggregation input")
    tab.wait_for_function("text => document.querySelector('#status').innerText.includes(text)", arg=says)


def answer_to(page: Page, picture: Image.Image, prompt: str = PROMPT, tokens: int = NEW) -> Capture:
    loaded = page.room.loaded
    assert loaded is not None
    return AttentionExtractor(loaded.model, loaded.processor).generate(picture, prompt, max_new_tokens=tokens)


def upload(tab: Tab, file: Path) -> None:
    if tab.locator("#image img").count():
        tab.click("#image button[aria-label*='lear'], #image button[aria-label*='emove']")
    tab.set_input_files("#image input[type=file]", str(file))
    tab.wait_for_selector("#image img")


def set_number(tab: Tab, selector: str, value: float) -> None:
    field = tab.locator(f"{selector} input[type=number]")
    for _ in range(10):  # what is typed while the accordion is still opening can get lost
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


def prepare(tab: Tab, file: Path, tokens: int = NEW) -> None:
    """Choose a picture, and how long the answer may be."""
    upload(tab, file)
    if not tab.is_visible("#max_new_tokens"):
        tab.locator("#generation button").first.click()
    set_number(tab, "#max_new_tokens", tokens)


def ask(tab: Tab, file: Path, tokens: int = NEW) -> None:
    """Choose a picture, generate, and wait for the first map."""
    prepare(tab, file, tokens)
    generate(tab)


def generate(tab: Tab) -> None:
    tab.evaluate("() => { document.querySelector('.answering').dataset.state = 'asked'; }")
    tab.click("#generate")
    answered(tab)


def answered(tab: Tab) -> None:
    """Wait until the answer is there and its first word is drawn."""
    try:
        tab.wait_for_selector(".answering:is([data-state=done], [data-state=stopped])", state="attached")
    except TooLateError:
        says = [tab.get_attribute(".answering", "data-state"), tab.inner_text("#answering .line")]
        raise AssertionError(f"no answer: the page says {says}, {tab.inner_text('#problem')!r}") from None
    tab.wait_for_selector("#viewer .lens-viewer")
    tab.wait_for_function("document.querySelector('#viewer .lens-viewer').viewer?.state().values")


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


def shown(tab: Tab) -> np.ndarray:
    """The map (h, w) that is drawn."""
    return np.reshape(state(tab)["values"], GRID)


def map_of(capture: Capture, tokens: Any, *chosen: Any, of_prompt: bool = False) -> np.ndarray:
    """The map (h, w) that should be drawn, worked out directly."""
    processor = AttentionProcessor(capture)
    if of_prompt:
        return processor.get_attention_heatmap_for_prompt_token(tokens, *chosen)
    return processor.get_attention_heatmap_for_token(tokens, *chosen)


def expect_map(tab: Tab, capture: Capture, tokens: Any, *chosen: Any, of_prompt: bool = False) -> None:
    """Compare what is drawn with the processor's map, as exactly as the browser was told it."""
    one_by_one = [tokens] if isinstance(tokens, int) else list(tokens)
    maps = [map_of(capture, token, *chosen, of_prompt=of_prompt) for token in one_by_one]
    step = max(float(np.ptp(one)) for one in maps) / 65535
    truth = map_of(capture, tokens, *chosen, of_prompt=of_prompt)
    if len(one_by_one) == 1 or (chosen and chosen[-1] == "mean") or len(chosen) < 3:
        assert np.abs(shown(tab) - truth).max() <= step + 1e-8
    else:
        raise AssertionError("the mean of maximums is not the maximum of means: compare one token")


def map_changes(tab: Tab, change: Callable[[], Any]) -> None:
    """Do something after which other values are drawn."""
    before = state(tab)["values"]
    change()
    tab.wait_for_function(
        "before => `${document.querySelector('.lens-viewer').viewer.state().values}` !== before",
        arg=",".join(map(str, before)),
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
    if not tab.is_visible(".recent"):
        tab.locator("#recent_panel button").first.click()
    tab.wait_for_selector(".recent .entry")
    return tab.locator(".recent .entry")


def labels(capture: Capture) -> dict[str, str]:
    """What the list of words says for each pick."""
    return {key: label for label, key in choices(Run(capture, noise(0)))}


def words_of(capture: Capture) -> list[tuple[int, ...]]:
    return [word.tokens for word in AttentionProcessor(capture).words()]


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
    tab.click("#gradcam_tab-button")
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
    tab.wait_for_function("line => document.querySelector('#problem').innerText.startsWith(line)", arg=line)


def made(tab: Tab, kind: str) -> Download:
    """Make a file, and return what the browser downloaded."""
    choose(tab, "#share_kind", kind)
    with tab.expect_download() as told:
        tab.click("#share_make")
    return told.value


def contrast(tab: Tab, selector: str) -> float:
    """The contrast of a text with what is behind it, as WCAG defines it."""
    found = tab.evaluate(
        """selector => {
            const pixel = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
            const rgba = (css) => {
                pixel.clearRect(0, 0, 1, 1);
                pixel.fillStyle = css;
                pixel.fillRect(0, 0, 1, 1);
                return [...pixel.getImageData(0, 0, 1, 1).data];
            };
            let one = document.querySelector(selector);
            const text = rgba(getComputedStyle(one).color);
            while (one && rgba(getComputedStyle(one).backgroundColor)[3] < 255) one = one.parentElement;
            return [text, one ? rgba(getComputedStyle(one).backgroundColor) : [255, 255, 255, 255]];
        }""",
        selector,
    )
    light, dark = sorted((luminance(colour[:3]) for colour in found), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(rgb: list[int]) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
