"""The page in a real browser: what a person does, what they see, and that nothing leaves this computer."""

import io
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Download,
    Locator,
    Request,
)
from playwright.sync_api import Page as Tab
from playwright.sync_api import TimeoutError as TooLateError

import page.cams as cams_room
import page.share as share_room
import visualization
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from demo.scenes import HELD_OUT_SEED, make_scene
from methods.grad_cam import smooth_grad_cam
from page.jobs import Job
from page.sessions import Run
from page.shown import choices, first_pick
from page.site import Page
from records.capture import Capture
from tests.seeing import cell_of, colour, pane_of, part, said, slide, state, word
from tests.seeing import choose as choose_one
from tests.serving import HEADS, LAYERS, PROMPT, free_port, noise, served

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
PATIENCE = 60_000  # milliseconds: these tests may share two cores with others
NEW = 9  # tokens of an answer
GRID = (5, 8)
SLIDERS = ("layer_from", "layer_to", "head_from", "head_to")


# --- What is needed -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    noise(0).save(folder / "a.png")
    noise(1).save(folder / "b.png")
    (folder / "text.png").write_text("no picture")
    return folder


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


@pytest.fixture
def watches() -> dict[Tab, Watch]:
    return {}


@pytest.fixture
def open_tab(browser: Browser, site: tuple[Page, str], watches: dict[Tab, Watch]) -> Iterator[OpenTab]:
    """Open tabs of separate visitors; at the end: no error in the console, no request to elsewhere."""
    contexts: list[BrowserContext] = []

    def opened(
        url: str = site[1], within: BrowserContext | None = None, says: str = "ready", **context: Any
    ) -> Tab:
        if within is None:
            within = browser.new_context(**{"viewport": {"width": 1440, "height": 1000}, **context})
            contexts.append(within)
        tab = within.new_page()
        tab.set_default_timeout(PATIENCE)
        watches[tab] = Watch(tab, url)
        tab.goto(url)
        ready(tab, says)
        return tab

    yield opened
    for context in contexts:
        context.close()
    for watch in watches.values():
        assert watch.foreign == []
        assert watch.errors == []


def ready(tab: Tab, says: str = "ready") -> None:
    """Wait until the page is there with its data."""
    tab.wait_for_selector("#aggregation input")
    tab.wait_for_function("text => document.querySelector('#status').innerText.includes(text)", arg=says)


@pytest.fixture
def tab(open_tab: OpenTab) -> Tab:
    return open_tab()


@pytest.fixture(scope="module")
def direct(site: tuple[Page, str]) -> Capture:
    """The answer about the first picture, generated without the page."""
    return answer_to(site[0], noise(0))


@pytest.fixture
def slowly(site: tuple[Page, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model write no faster than a large one does."""
    writes = Job.writes

    def slow(job: Job, text: str, tokens: int) -> None:
        writes(job, text, tokens)
        time.sleep(0.03)

    monkeypatch.setattr(Job, "writes", slow)


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


# --- The main way through -----------------------------------------------------------------------------------


def test_from_a_picture_to_a_map(tab: Tab, files: Path, direct: Capture) -> None:
    assert tab.is_hidden("#viewer .lens-viewer")
    ask(tab, files / "a.png")
    first = first_pick(Run(direct, noise(0)))
    assert first is not None
    assert part(tab, "answer").text_content() == direct.text
    assert part(tab, "prompt").text_content() == PROMPT
    assert picked(tab) == first.key
    listed(tab, labels(direct)[first.key])
    expect_map(tab, direct, first.tokens)
    assert re.fullmatch(rf"{NEW} tokens · \d+\.\d s.*", tab.inner_text("#answering .line"))
    share = 100 * AttentionProcessor(direct).shares(first.tokens)[0]
    assert re.search(rf"\b{share:.1f}|{share:.0f} %", said(part(tab, "caption")))
    assert said(part(tab, "made")).startswith("attention · layers 0–2 · heads 0–3 · mean")
    truth = map_of(direct, first.tokens)
    hottest = divmod(int(truth.argmax()), GRID[1])
    place = f"highest at row {hottest[0]}, column {hottest[1]}."
    assert (part(tab, "canvas").get_attribute("aria-label") or "").endswith(place)
    choose_one(tab, "view", "heatmap")
    drawn = pane_of(tab, "heatmap")
    assert (cell_of(drawn, *hottest, GRID) == colour(1)).all()
    shares = (truth - truth.min()) / np.ptp(truth)
    for row, col in np.ndindex(GRID):
        near = [colour(max(0, shares[row, col] + step)) for step in (-1 / 256, 0, 1 / 256)]
        inside = cell_of(drawn, row, col, GRID)
        assert any((inside == one).all() for one in near), (row, col)


def test_hovering_previews_and_a_click_keeps(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    words = words_of(direct)
    word(tab, 0).click()
    tab.mouse.move(2, 2)
    assert (picked(tab), state(tab)["shown"]) == (key_of(words[0]), key_of(words[0]))
    word(tab, 2).hover()
    assert (picked(tab), state(tab)["shown"]) == (key_of(words[0]), key_of(words[2]))
    expect_map(tab, direct, words[2])
    tab.mouse.move(2, 2)
    expect_map(tab, direct, words[0])
    listed(tab, labels(direct)[key_of(words[0])])
    word(tab, 2).click()
    tab.mouse.move(2, 2)
    expect_map(tab, direct, words[2])
    listed(tab, labels(direct)[key_of(words[2])])
    assert word(tab, 2).get_attribute("aria-pressed") == "true"


def test_viewer_and_list_are_in_step(tab: Tab, files: Path, direct: Capture, watches: Any) -> None:
    ask(tab, files / "a.png")
    named, words = labels(direct), words_of(direct)
    asked = list(watches[tab].asked)
    for tokens in (words[-1], words[0]):
        word(tab, words.index(tokens)).click()
        listed(tab, named[key_of(tokens)])
        expect_map(tab, direct, tokens)
    part(tab, "prompt").locator(".lens-word").first.click()
    listed(tab, named["p0-7"])
    expect_map(tab, direct, range(8), of_prompt=True)
    part(tab, "whole").click()
    listed(tab, named["all"])
    expect_map(tab, direct, range(NEW))
    word(tab, 0).click()
    word(tab, 2).click(modifiers=["Shift"])
    span = range(words[0][0], words[2][-1] + 1)
    listed(tab, named.get(key_of(span), key_of(span)))
    expect_map(tab, direct, span)

    choose(tab, "#token", named["p0-7"])
    becomes(tab, "pick.key", "p0-7")
    choose(tab, "#token", named[key_of(words[1])])
    becomes(tab, "pick.key", key_of(words[1]))
    expect_map(tab, direct, words[1])
    assert word(tab, 1).get_attribute("aria-pressed") == "true"
    typed(tab, "#token", "3-5")
    becomes(tab, "pick.key", "3-5")
    expect_map(tab, direct, [3, 4, 5])
    assert tab.input_value("#token input") == "3-5"
    choose(tab, "#token", "the whole answer")
    becomes(tab, "pick.key", "all")
    assert watches[tab].asked == asked  # all of this without the server


def test_keys_walk_over_the_words(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    named, words = labels(direct), words_of(direct)
    word(tab, 0).focus()
    for _ in words[1:]:
        tab.keyboard.press("ArrowRight")
    becomes(tab, "pick.key", key_of(words[-1]))  # quick keys end at the word that is marked
    listed(tab, named[key_of(words[-1])])
    expect_map(tab, direct, words[-1])
    tab.keyboard.press("Home")
    tab.keyboard.press("Shift+ArrowRight")
    span = range(words[0][0], words[1][-1] + 1)
    becomes(tab, "pick.key", key_of(span))
    listed(tab, named.get(key_of(span), key_of(span)))
    tab.keyboard.press("Escape")
    becomes(tab, "pick.key", "all")
    listed(tab, named["all"])
    expect_map(tab, direct, range(NEW))


def test_with_the_keyboard_alone(tab: Tab, files: Path, direct: Capture) -> None:
    prepare(tab, files / "a.png")

    def tab_to(condition: str, most: int = 40) -> None:
        """Press Tab until the element with the focus is the one."""
        for _ in range(most):
            tab.keyboard.press("Tab")
            if tab.evaluate(f"(() => {{ const at = document.activeElement; return {condition}; }})()"):
                return
        raise AssertionError(f"Tab does not come to {condition}")

    tab.locator("#prompt textarea").focus()
    tab_to("at.closest('#generate')")
    tab.keyboard.press("Enter")
    answered(tab)
    tab_to("at.matches('[data-part=answer] .lens-word')")
    start = picked(tab)
    number = [key_of(one) for one in words_of(direct)].index(start)
    key, step = ("ArrowRight", 1) if number + 1 < len(words_of(direct)) else ("ArrowLeft", -1)
    tab.keyboard.press(key)
    expect_map(tab, direct, words_of(direct)[number + step])
    tab_to("at.closest('[data-choices=view]')")
    tab.keyboard.press("ArrowRight")
    becomes(tab, "look.view", "side by side")
    tab_to("at.matches('[data-part=frame]')")
    tab.keyboard.press("Home")
    truth = map_of(direct, words_of(direct)[number + step])
    row, col = divmod(int(truth.argmax()), GRID[1])
    assert state(tab)["cursor"] == {"row": row, "col": col}
    tab_to("at.closest('[data-panel=heads]') && at.tagName === 'SUMMARY'")
    tab.keyboard.press("Enter")
    tab.wait_for_selector('[data-part="headsCanvas"]')
    tab_to("at.closest('#token')")
    tab.keyboard.press("Control+A")
    tab.keyboard.type("the whole")
    tab.wait_for_function("document.querySelectorAll('#token ul[role=listbox] li').length === 1")
    tab.keyboard.press("Enter")
    becomes(tab, "pick.key", "all")
    tab_to("at.closest('#layer_from')")


def test_stop_keeps_what_is_there(tab: Tab, site: tuple[Page, str], files: Path, slowly: None) -> None:
    prepare(tab, files / "a.png", 1000)
    assert tab.is_disabled("#stop")
    tab.click("#generate")
    tab.wait_for_function("document.querySelector('.answering .said').textContent.length > 3")
    assert tab.locator("#answering progress").is_visible()
    assert re.search(r"\d+ tokens? of at most 1000", tab.inner_text("#answering .line"))
    assert tab.is_hidden("#viewer .lens-viewer")
    tab.click("#stop")
    tab.wait_for_selector(".answering[data-state=stopped]", state="attached")
    answered(tab)
    told = re.match(r"Stopped after (\d+) token", tab.inner_text("#answering .line"))
    assert told is not None
    assert 1 <= int(told[1]) < 900
    choose_one(tab, "granularity", "tokens")
    assert part(tab, "answer").locator(".lens-word").count() == int(told[1])
    assert tab.is_disabled("#stop")
    assert not site[0].room.busy


def test_closing_the_tab_frees_everything(
    open_tab: OpenTab, site: tuple[Page, str], files: Path, slowly: None
) -> None:
    page, tab = site[0], open_tab()
    ask(tab, files / "a.png", tokens=2)
    before = len(page.sessions)
    set_number(tab, "#max_new_tokens", 1000)
    tab.click("#generate")
    tab.wait_for_selector(".answering[data-state=writing]")
    tab.close()
    other = open_tab()
    for _ in range(300):
        if not page.room.busy and len(page.sessions) < before:
            break
        other.wait_for_timeout(100)
    assert not page.room.busy
    assert len(page.sessions) == before - 1


# --- Layers, heads, and how it is drawn ---------------------------------------------------------------------


def test_sliders_restrict_the_maps(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    choose(tab, "#token", 'token 1 "')
    becomes(tab, "pick.key", "1")

    def expect(change: Callable[[], Any], *chosen: Any) -> None:
        map_changes(tab, change)
        expect_map(tab, direct, 1, *chosen)

    expect(lambda: set_number(tab, "#layer_from", 1), [1, 2])
    expect(lambda: set_number(tab, "#head_to", 2), [1, 2], [0, 1, 2])
    expect(lambda: tab.locator("#layer_to input[type=range]").press("ArrowLeft"), [1], [0, 1, 2])
    expect(lambda: tab.click("#aggregation label:has-text('max')"), [1], [0, 1, 2], "max")
    assert said(part(tab, "made")) == "attention · layer 1 · heads 0–2 · max"
    named = labels(direct)
    word(tab, 0).click()  # other words are of the same layers and heads, without asking again
    tokens = words_of(direct)[0]
    listed(tab, named[key_of(tokens)])
    if len(tokens) == 1:
        expect_map(tab, direct, tokens[0], [1], [0, 1, 2], "max")
    part(tab, "all").click()
    for name, end in zip(SLIDERS, (0, LAYERS - 1, 0, HEADS - 1), strict=True):
        shows(tab, f"#{name}", end)
    tab.click("#aggregation label:has-text('mean')")
    tab.wait_for_function(
        "document.querySelector('[data-part=made]').textContent.includes('layers 0–2 · heads 0–3 · mean')"
    )
    expect_map(tab, direct, tokens)


def test_quick_slides_end_where_the_slider_stands(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    slider = tab.locator("#head_to input[type=range]")
    slider.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowLeft", "ArrowRight"):
        tab.keyboard.press(key)
    shows(tab, "#head_to", 1)
    tab.wait_for_function("document.querySelector('[data-part=made]').textContent.includes('heads 0–1')")
    first = first_pick(Run(direct, noise(0)))
    assert first is not None
    expect_map(tab, direct, first.tokens, None, [0, 1])


def test_layers_and_heads_side_by_side(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    choose(tab, "#token", 'token 1 "')
    becomes(tab, "pick.key", "1")
    tab.locator("[data-panel=heads] summary").click()
    canvas = part(tab, "headsCanvas")
    canvas.wait_for()

    def click(row: int, col: int) -> None:
        """Click on a map of the grid: row 0 and column 0 are the means."""
        box = canvas.bounding_box()
        assert box is not None
        x = 40 + (col + 0.4) * (box["width"] - 40) / (1 + HEADS)
        y = 20 + (row + 0.3) * (box["height"] - 20) / (1 + LAYERS)
        canvas.click(position={"x": x, "y": y})

    for (row, col), ends in {
        (2, 3): (1, 1, 2, 2),
        (0, 1): (0, LAYERS - 1, 0, 0),
        (3, 0): (2, 2, 0, HEADS - 1),
    }.items():
        click(row, col)
        for name, end in zip(SLIDERS, ends, strict=True):
            shows(tab, f"#{name}", end)
        becomes(tab, "alone", None)  # the maps of all words have come
        layers, heads = range(ends[0], ends[1] + 1), range(ends[2], ends[3] + 1)
        expect_map(tab, direct, 1, list(layers), list(heads))
        share = 100 * AttentionProcessor(direct).shares(1, list(layers), list(heads))[0]
        assert re.search(rf"{share:.1f}|{share:.0f} % of its attention", said(part(tab, "caption")))
    choose(tab, "#token", "the whole answer")
    note = f"The whole answer ({NEW} tokens)"
    tab.wait_for_function(
        "note => document.querySelector('[data-part=headsNote]').textContent === note", arg=note
    )
    part(tab, "all").click()
    for name, end in zip(SLIDERS, (0, LAYERS - 1, 0, HEADS - 1), strict=True):
        shows(tab, f"#{name}", end)
    becomes(tab, "alone", None)
    expect_map(tab, direct, range(NEW))


def test_another_look_asks_the_server_for_nothing(
    tab: Tab, files: Path, direct: Capture, watches: dict[Tab, Watch]
) -> None:
    ask(tab, files / "a.png")
    choose(tab, "#token", 'token 1 "')
    becomes(tab, "pick.key", "1")
    asked, truth = list(watches[tab].asked), map_of(direct, 1)
    hottest = divmod(int(truth.argmax()), GRID[1])
    coldest = divmod(int(truth.argmin()), GRID[1])

    choose_one(tab, "view", "heatmap")
    part(tab, "colormap").select_option("magma")
    assert (cell_of(pane_of(tab, "heatmap"), *hottest, GRID) == colour(1, "magma")).all()
    assert (cell_of(pane_of(tab, "heatmap"), *coldest, GRID) == colour(0, "magma")).all()
    choose_one(tab, "scale", "shared")
    low, high = attention_range(direct)
    assert state(tab)["range"] == pytest.approx([low, high], rel=1e-5)
    at = (truth.max() - low) / (high - low)
    assert np.abs(cell_of(pane_of(tab, "heatmap"), *hottest, GRID) - colour(at, "magma")).max() <= 6
    choose_one(tab, "scale", "own")
    slide(tab, "contrast", 1)
    assert said(part(tab, "contrastValue")) == "γ = 2.00"
    choose_one(tab, "cells", "smooth")
    slide(tab, "opacity", 0.25)
    becomes(tab, "look.opacity", 0.25)
    choose_one(tab, "view", "wipe")
    part(tab, "divider").focus()
    tab.mouse.move(2, 2)  # no cell is pointed at
    before = pane_of(tab, "wipe")
    tab.keyboard.press("End")
    picture = pane_of(tab, "wipe")
    tab.keyboard.press("Home")
    mapped = pane_of(tab, "wipe")
    middle, halves = before.shape[1] // 2, (before.astype(int), picture.astype(int), mapped.astype(int))
    left, right = (
        [one[:, side] for one in halves] for side in (slice(0, middle - 1), slice(middle + 1, None))
    )
    assert np.abs(left[0] - left[1]).max() <= 1  # the picture
    assert np.abs(right[0] - right[2]).max() <= 1  # under the map
    for _, plain, under in (left, right):
        assert np.abs(plain - under).max() > 20
    choose_one(tab, "view", "side by side")
    assert {pane["kind"] for pane in state(tab)["panes"]} == {"picture", "overlay"}
    tab.mouse.move(2, 2)
    assert watches[tab].asked == asked


def attention_range(capture: Capture) -> tuple[float, float]:
    """The lowest and highest value of every token's map, of answer and prompt."""
    maps = [map_of(capture, token) for token in range(len(capture.token_ids))]
    maps += [map_of(capture, token, of_prompt=True) for token in range(len(capture.prompt_token_ids))]
    return min(float(one.min()) for one in maps), max(float(one.max()) for one in maps)


def test_a_word_is_drawn_in_the_very_next_frame(tab: Tab, files: Path, watches: dict[Tab, Watch]) -> None:
    ask(tab, files / "a.png")
    asked = list(watches[tab].asked)
    late = tab.evaluate(
        """async () => {
             const { viewer } = document.querySelector('.lens-viewer');
             const words = [...document.querySelectorAll('[data-part="answer"] .lens-word')];
             const next = () => new Promise((done) => requestAnimationFrame(done));
             let late = 0;
             words[words.length - 1].click();
             await next();
             await next();
             for (let i = 0; i < 30; i++) {
               const before = viewer.state().frames;
               words[i % words.length].click();
               await next();
               late += viewer.state().frames === before;
             }
             return late;
           }"""
    )
    assert late == 0
    assert watches[tab].asked == asked


def test_settings_before_an_answer_wait_for_it(tab: Tab, files: Path, direct: Capture) -> None:
    with tab.expect_response(re.compile("/gradio_api/run/predict")) as told:
        tab.locator("#head_to input[type=range]").press("ArrowLeft")
    assert told.value.status == 200
    assert tab.locator(".toast-body").count() == 0
    tab.click("#share_make")
    tab.wait_for_function(
        "document.querySelector('#share_line').innerText.includes('no answer to share yet')"
    )
    ask(tab, files / "a.png")
    first = first_pick(Run(direct, noise(0)))
    assert first is not None
    expect_map(tab, direct, first.tokens, None, [0, 1, 2])


# --- Grad-CAM -----------------------------------------------------------------------------------------------


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


def test_every_layer_of_a_word(
    tab: Tab, site: tuple[Page, str], files: Path, direct: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(tab, files / "a.png")
    choose(tab, "#token", 'token 1 "')
    becomes(tab, "pick.key", "1")
    explain(tab)
    loaded = site[0].room.loaded
    assert loaded is not None
    cam = smooth_grad_cam(loaded.model, loaded.processor, noise(0), PROMPT, target=1, answer=direct)
    monkeypatch.setattr(cams_room, "smooth_grad_cam", None)  # from here on nothing is computed

    def expected(layer: int, **settings: Any) -> np.ndarray:
        picture = visualization.fitted(noise(0), 640, 1280)
        one = visualization.visualize_attention_on_image(
            picture, cam.layer_map(layer), scale_label="Grad-CAM", unit="", **settings
        )
        return np.asarray(one)

    assert layers_shown(tab) == list(cam.layers) == [0, 1]
    assert re.fullmatch(r"Done: token 1 .* · 10 passes · \d+\.\d s", tab.inner_text("#cam .line"))
    assert tab.inner_text("#cam .notes").startswith("Layer 2, the last, is left out")
    names = [one.split("\n")[0] for one in tab.locator("#cam .tile").all_inner_texts()]
    assert names == ["layer 0", "layer 1"]
    for layer in (0, 1):
        alt = tab.get_attribute(f"#cam .tile[data-layer='{layer}'] img", "alt")
        assert alt == f"The picture under the Grad-CAM of layer {layer}"
    assert np.array_equal(cam_picture(tab), expected(1))
    assert np.array_equal(cam_change(tab, tab.locator("#cam .tile").first.click), expected(0))
    assert "layer 0 of 0–2 · Smooth Grad-CAM, 10 samples, noise 0.15" in tab.inner_text("#cam_caption")
    assert np.array_equal(cam_change(tab, lambda: tab.keyboard.press("ArrowRight")), expected(1))
    assert tab.evaluate("document.activeElement.dataset.layer") == "1"
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert not tab.is_visible("#layer_from")
    weaker = int(cam.maps[1].max() < cam.maps[0].max())  # the one that a shared scale changes
    if weaker == 0:
        cam_change(tab, lambda: tab.keyboard.press("ArrowLeft"))

    tab.click("#attention_tab-button")
    assert tab.is_visible("#layer_from")
    small = tab.get_attribute("#cam .tile img", "src")
    drawing: dict[str, Any] = {"colormap": "magma"}
    pixels = cam_change(tab, lambda: part(tab, "colormap").select_option("magma"))
    assert np.array_equal(pixels, expected(weaker, **drawing))
    tab.wait_for_function("src => document.querySelector('#cam .tile img').src !== src", arg=small)
    drawing["smooth"] = True
    pixels = cam_change(tab, lambda: choose_one(tab, "cells", "smooth"))
    assert np.array_equal(pixels, expected(weaker, **drawing))
    drawing |= {"vmin": float(cam.maps.min()), "vmax": float(cam.maps.max())}
    pixels = cam_change(tab, lambda: choose_one(tab, "scale", "shared"))
    assert np.array_equal(pixels, expected(weaker, **drawing))
    tab.click("#gradcam_tab-button")
    tab.locator("#cam .tile").nth(weaker).focus()
    pixels = cam_change(tab, lambda: tab.keyboard.press("ArrowLeft" if weaker else "ArrowRight"))
    assert np.array_equal(pixels, expected(1 - weaker, **drawing))
    assert layers_shown(tab) == [0, 1]
    assert (state(tab)["look"]["colormap"], picked(tab)) == ("magma", "1")

    tab.click("#attention_tab-button")
    generate(tab)
    tab.wait_for_selector("#cam .cam[data-state=empty]", state="attached")
    tab.click("#gradcam_tab-button")
    assert layers_shown(tab) == []
    assert tab.locator("#cam_overlay img").count() == 0


def test_what_is_explained_can_be_chosen(tab: Tab, files: Path) -> None:
    boxes = ["#cam_text", "#cam_place", "#cam_other"]
    tab.click("#gradcam_tab-button")
    tab.click("#cam_run")
    refused(tab, "There is no answer to explain yet: press Generate first.")
    tab.click("#attention_tab-button")
    ask(tab, files / "a.png")
    choose(tab, "#token", 'token 1 "')
    becomes(tab, "pick.key", "1")
    tab.click("#gradcam_tab-button")
    for label, visible in {
        "the whole answer": [],
        "the word picked above": [],
        "a text of my own": boxes[:2],
        "one word rather than another": boxes[2:],
    }.items():
        tab.click(f"#cam_target label:has-text('{label}')")
        assert [box for box in boxes if tab.is_visible(box)] == visible
    tab.click("#cam_run")
    refused(tab, "Type the word that the picked one is compared with.")
    tab.fill("#cam_other textarea, #cam_other input", "<b>x</b>")
    typed(tab, "#cam_layers", "2")
    tab.click("#cam_run")
    refused(tab, "layer 2 is the last one and has no Grad-CAM")
    typed(tab, "#cam_layers", "0")
    explain(tab)
    assert layers_shown(tab) == [0]
    assert "rather than “<b>x</b>” at token 1 · layer 0" in tab.inner_text("#cam_caption")
    assert tab.inner_text("#cam_problem").strip() == ""


def refused(tab: Tab, line: str) -> None:
    """Wait until the tab says the line, and nothing else."""
    tab.wait_for_function(
        "line => document.querySelector('#cam_problem').innerText.startsWith(line)", arg=line
    )
    assert "\n" not in tab.inner_text("#cam_problem").strip()
    assert layers_shown(tab) == []


def test_gradcam_can_be_stopped(
    tab: Tab, site: tuple[Page, str], files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waiting(*arguments: Any, on_progress: Any, stop: threading.Event, **rest: Any) -> Any:
        def tell(done: int, count: int) -> None:
            on_progress(done, count)
            stop.wait(120)

        return smooth_grad_cam(*arguments, on_progress=tell, stop=stop, **rest)

    ask(tab, files / "a.png", tokens=3)
    monkeypatch.setattr(cams_room, "smooth_grad_cam", waiting)
    tab.click("#gradcam_tab-button")
    for end in ("#cam_stop", "#generate"):
        assert tab.is_disabled("#cam_stop")
        tab.click("#cam_run")
        tab.wait_for_function("/^0 of 10 passes · /.test(document.querySelector('#cam .line').innerText)")
        assert tab.locator("#cam progress").is_visible()
        tab.click(end)
        tab.wait_for_selector("#cam .cam[data-state=empty]")
        if end == "#cam_stop":
            refused(tab, "Stopped: there is no map.")
    tab.wait_for_selector(".answering[data-state=done]", state="attached")
    tab.wait_for_function("document.querySelector('#cam_stop').disabled")
    assert tab.get_attribute("#cam .cam", "data-state") == "empty"
    assert tab.inner_text("#cam_problem").strip() == ""
    assert not site[0].room.busy


# --- What cannot be done ------------------------------------------------------------------------------------


def problem(tab: Tab, line: str) -> None:
    tab.wait_for_function("line => document.querySelector('#problem').innerText.startsWith(line)", arg=line)


def test_what_cannot_be_answered_is_one_line(tab: Tab, files: Path) -> None:
    def refused(line: str) -> None:
        tab.click("#generate")
        problem(tab, line)
        toast = tab.locator(".toast-body", has_text=line).last
        toast.wait_for()
        for text in (tab.inner_text("#problem"), toast.inner_text()):
            assert "Traceback" not in text
            assert str(files) not in text
        assert "\n" not in tab.inner_text("#problem").strip()

    refused("Choose a picture first.")
    upload(tab, files / "a.png")
    tab.fill("#prompt textarea", "")
    refused("Type a question first.")
    tab.fill("#prompt textarea", "x" * 100_000)
    refused("The question has 100,000 characters; at most 4,000 are allowed.")
    tab.fill("#prompt textarea", "what is <|image_pad|> here?")
    refused("The prompt may not contain the control token <|image_pad|>")
    assert tab.is_hidden("#viewer .lens-viewer")
    upload(tab, files / "text.png")
    tab.fill("#prompt textarea", PROMPT)
    refused("The file is not a picture in a format that is read")


def test_text_never_becomes_html(tab: Tab, files: Path) -> None:
    nasty = "<img src=x onerror=alert(1)> ${alert(2)} {{7*7}} `x` </script>"
    dialogs: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    tab.on("dialog", on_dialog)
    tab.fill("#prompt textarea", nasty)
    ask(tab, files / "a.png", tokens=2)
    assert part(tab, "prompt").text_content() == nasty
    assert recent(tab).locator(".prompt").first.text_content() == nasty
    part(tab, "prompt").locator(".lens-word").first.click()
    tab.locator("[data-panel=leaned] summary").click()
    state(tab)
    choose(tab, "#model", "Qwen/Qwen2.5-VL-7B-Instruct")
    typed(tab, "#model", "<img src=x onerror=alert(3)>${alert(4)}{{7*7}}")
    tab.click("#load")
    tab.wait_for_function("document.querySelector('#status').innerText.includes('still in use')")
    assert (
        tab.locator("#status img, .toast-body img[src=x], .lens-viewer img, .recent img[src=x]").count() == 0
    )
    assert dialogs == []


# --- Models and visitors ------------------------------------------------------------------------------------


def test_another_model_and_one_that_is_none(
    open_tab: OpenTab, folders: tuple[Path, Path], files: Path
) -> None:
    with served(str(folders[0])) as (_, url):
        tab = open_tab(url)
        ask(tab, files / "a.png", tokens=3)
        for selector, last in (("#layer_to", LAYERS - 1), ("#head_to", HEADS - 1)):
            assert tab.get_attribute(f"{selector} input[type=range]", "max") == str(last)

        def load(name: str) -> None:
            typed(tab, "#model", name)
            tab.click("#load")

        load(str(folders[1]))
        tab.wait_for_function("document.querySelector('#status').innerText.includes('2 layers × 6 heads')")
        tab.wait_for_function("document.querySelector('#head_to input[type=range]').max === '5'")
        assert tab.get_attribute("#layer_to input[type=range]", "max") == "1"
        shows(tab, "#head_to", 5)
        tab.wait_for_selector("#viewer .lens-viewer", state="hidden")
        load(str(files))
        tab.wait_for_function("document.querySelector('#status').innerText.includes('still in use')")
        assert "\n" not in tab.inner_text("#status").strip()
        generate(tab)
        assert "heads 0–5" in said(part(tab, "made"))
        recent(tab).nth(1).click()  # of the first model: its sliders come back
        shows(tab, "#head_to", HEADS - 1)
        tab.wait_for_function("document.querySelector('[data-part=made]').textContent.includes('heads 0–3')")


def test_two_visitors_wait_for_their_turn_and_each_see_their_own(
    open_tab: OpenTab, site: tuple[Page, str], files: Path, slowly: None
) -> None:
    one, two = open_tab(), open_tab()
    prepare(one, files / "a.png", 999)
    prepare(two, files / "b.png", NEW + 1)
    one.click("#generate")
    one.wait_for_selector(".answering[data-state=writing]")
    ahead = "document.querySelector('#answering .line').innerText.includes('1 ahead of you')"
    two.click("#generate")
    two.wait_for_function(ahead)
    two.click("#stop")  # who waits need not
    problem(two, "Stopped before the answer began.")
    two.click("#generate")
    two.wait_for_function(ahead)
    assert two.inner_text("#answering .line").startswith("Waiting for the model: 1 ahead of you · ")
    assert two.locator("#answering progress").is_visible()
    assert one.get_attribute(".answering", "data-state") == "writing"
    one.click("#stop")
    answered(two)
    answered(one)
    expected = answer_to(site[0], noise(1), tokens=NEW + 1)
    assert part(two, "answer").text_content() == expected.text
    choose(two, "#token", 'token 0 "')
    becomes(two, "pick.key", "0")
    expect_map(two, expected, 0)
    before, pick = state(two)["values"], picked(two)
    word(one, 1).click()
    set_number(one, "#layer_from", 1)
    one.wait_for_function("document.querySelector('[data-part=made]').textContent.includes('layers 1–2')")
    assert (state(two)["values"], picked(two)) == (before, pick)
    assert "layers 0–2" in said(part(two, "made"))
    for each in (one, two):
        assert recent(each).count() == 1


# --- What is kept -------------------------------------------------------------------------------------------


def test_the_same_question_answers_at_once(
    tab: Tab, site: tuple[Page, str], files: Path, direct: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(tab, files / "a.png")
    calls: list[str] = []
    generate_answer = AttentionExtractor.generate

    def counted(*arguments: Any, **settings: Any) -> Capture:
        calls.append(arguments[2])
        return generate_answer(*arguments, **settings)

    monkeypatch.setattr(AttentionExtractor, "generate", counted)
    generate(tab)
    assert "kept from before" in tab.inner_text("#answering .line")
    assert calls == []
    tab.uncheck("#reuse input")
    generate(tab)
    assert "kept from before" not in tab.inner_text("#answering .line")
    assert calls == [PROMPT]
    assert part(tab, "answer").text_content() == direct.text
    assert recent(tab).count() == 1


def test_recent_answers_survive_a_reload_and_a_restart_without_a_model(
    open_tab: OpenTab, folders: tuple[Path, Path], files: Path, direct: Capture
) -> None:
    port = free_port()
    with served(str(folders[0]), port) as (_, url):
        tab = open_tab(url)
        ask(tab, files / "a.png")
        ask(tab, files / "b.png", tokens=4)
        context = tab.context
        tab.reload()
        ready(tab)
        assert recent(tab).count() == 2
        recent(tab).nth(1).click()
        answered(tab)
        assert part(tab, "answer").text_content() == direct.text
        other = open_tab(url)
        other.locator("#recent_panel button").first.click()
        other.wait_for_selector(".recent .none")
        assert other.locator(".recent .entry").count() == 0
        other.close()
        tab.close()
    with served(None, port) as (_, url):
        tab = open_tab(url, within=context, says="is not loaded yet: press Load")
        assert recent(tab).count() == 2
        entry = recent(tab).first
        assert entry.locator(".made").inner_text().startswith(str(folders[0]))
        recent(tab).nth(1).click()  # the older one: to reopen it has made it no newer
        answered(tab)
        assert part(tab, "answer").text_content() == direct.text
        assert tab.input_value("#prompt textarea") == PROMPT
        tab.wait_for_selector("#image img")
        assert "kept from before" in tab.inner_text("#answering .line")
        choose(tab, "#token", 'token 1 "')
        becomes(tab, "pick.key", "1")
        map_changes(tab, lambda: set_number(tab, "#layer_to", 1))
        expect_map(tab, direct, 1, [0, 1])
        tab.locator("[data-panel=heads] summary").click()
        part(tab, "headsCanvas").wait_for()
        tab.click("#generate")
        problem(tab, "No model is loaded: press Load first.")
        assert part(tab, "answer").text_content() == direct.text  # what is there stays


# --- Files to share -----------------------------------------------------------------------------------------


def made(tab: Tab, kind: str) -> Download:
    """Make a file, and return what the browser downloaded."""
    choose(tab, "#share_kind", kind)
    with tab.expect_download() as told:
        tab.click("#share_make")
    return told.value


def test_files_to_share(
    browser: Browser, tab: Tab, site: tuple[Page, str], files: Path, direct: Capture, tmp_path: Path
) -> None:
    ask(tab, files / "a.png")
    typed(tab, "#token", "3-5")
    becomes(tab, "pick.key", "3-5")
    part(tab, "colormap").select_option("magma")
    download = made(tab, "Picture (PNG)")
    name = re.fullmatch(r"(attention-[0-9a-f]{8})-tokens-003-005\.png", download.suggested_filename)
    assert name is not None
    assert re.match(r"Picture, [\d.]+ [kM]B, ", tab.inner_text("#share_line"))
    download.save_as(tmp_path / "shared.png")
    with Image.open(tmp_path / "shared.png") as picture:
        assert picture.info["Answer"] == direct.text
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    hot, cold = colour(1, "magma"), colour(0, "magma")
    assert (pixels == hot).all(1).any() or (np.abs(pixels.astype(int) - hot).max(1) <= 2).any()
    assert (np.abs(pixels.astype(int) - cold).max(1) <= 2).any()

    download = made(tab, "Interactive page (HTML)")
    assert download.suggested_filename == f"{name[1]}.html"
    report = tmp_path / "report.html"
    download.save_as(report)
    context = browser.new_context(viewport={"width": 1024, "height": 800})
    context.set_offline(True)
    offline = context.new_page()
    offline.set_default_timeout(PATIENCE)
    watch = Watch(offline, report.as_uri())
    offline.goto(report.as_uri())
    offline.wait_for_function("document.querySelector('.lens-viewer').viewer?.state().values")
    assert part(offline, "answer").text_content() == direct.text
    word(offline, 0).click()
    offline.mouse.move(2, 2)
    expect_map(offline, direct, words_of(direct)[0])
    assert state(offline)["look"]["colormap"] == "magma"
    assert offline.evaluate("document.documentElement.scrollWidth") <= 1024
    assert watch.asked == [f"GET {report.as_uri()}"]
    assert (watch.errors, watch.foreign) == ([], [])
    context.close()
    assert state(tab)["pick"]["key"] == "3-5"


def test_a_file_that_is_being_made_can_be_stopped(
    tab: Tab, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = share_room.export

    def waiting(kind: str, subject: Any, image: Any, folder: Path, watch: Any) -> Any:
        watch.tell(0, 7)
        assert watch.stop.wait(120)
        return write(kind, subject, image, folder, watch)

    ask(tab, files / "a.png")
    monkeypatch.setattr(share_room, "export", waiting)
    choose(tab, "#share_kind", "Pictures (ZIP)")
    assert tab.is_hidden("#share_stop")
    tab.click("#share_make")
    tab.wait_for_function("document.querySelector('#share_line').innerText.startsWith('0 of 7')")
    assert tab.is_disabled("#share_make")
    word(tab, 1).click()  # the viewer works meanwhile
    tab.click("#share_stop")
    tab.wait_for_function("document.querySelector('#share_line').innerText === 'Stopped: no file was made.'")
    tab.wait_for_selector("#share_stop", state="hidden")
    assert tab.is_enabled("#share_make")
    assert tab.is_hidden("#share_file")


# --- Looks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_the_page_fits_and_can_be_read(open_tab: OpenTab, files: Path, width: int, scheme: str) -> None:
    tab = open_tab(viewport={"width": width, "height": 844}, color_scheme=scheme)

    def fits() -> bool:
        return bool(tab.evaluate("document.documentElement.scrollWidth") <= width)

    assert fits()
    for name in ("model", "load", "status", "image", "prompt", "generate", "stop", "token", "share_make"):
        assert tab.locator(f"#{name}").count() == 1
    assert contrast(tab, "#generate") > 4.5
    assert contrast(tab, ".answering .hint") > 4.5
    ask(tab, files / "a.png")
    tab.evaluate("document.querySelectorAll('#viewer details').forEach((one) => { one.open = true; })")
    part(tab, "headsCanvas").wait_for()
    for view in ("side by side", "wipe"):
        choose_one(tab, "view", view)
        state(tab)
        assert fits(), view
    for selector in ('[data-part="caption"]', '[data-part="answer"] .lens-word', '[data-part="legend"]'):
        assert contrast(tab, selector) > 4.5, selector
    assert recent(tab).count() == 1
    tab.click("#gradcam_tab-button")
    assert fits()


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


# --- The bundled model --------------------------------------------------------------------------------------


def test_two_clicks_to_a_picture_that_makes_sense(open_tab: OpenTab, tmp_path: Path) -> None:
    """The bundled model as a newcomer meets it: an example, Generate, a map; and a right answer."""
    with served("demo") as (_, url):
        tab = open_tab(url)
        tab.locator("#examples button.gallery-item").first.click()
        tab.wait_for_selector("#image img")
        generate(tab)
        assert re.fullmatch(r"An? [a-z, ]+\.", part(tab, "answer").text_content() or "")
        assert len(set(state(tab)["values"])) > 4

        scene = make_scene(HELD_OUT_SEED + 2, n_objects=1)
        scene.image.save(tmp_path / "scene.png")
        upload(tab, tmp_path / "scene.png")
        tab.fill("#prompt textarea", "Describe this image.")
        generate(tab)
        assert part(tab, "answer").text_content() == scene.caption
        thing = scene.objects[0]
        button = part(tab, "answer").locator(".lens-word", has_text=re.compile(rf"^{thing.name}$"))
        button.click()
        tab.wait_for_function(
            "name => document.querySelector('[data-part=caption]').textContent.includes(name)",
            arg=f"“{thing.name}”",
        )
        assert button.get_attribute("aria-pressed") == "true"
