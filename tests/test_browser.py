"""The page in a real browser: what a person does, what they see, and that nothing leaves this computer."""

import io
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Locator, Request, sync_playwright
from playwright.sync_api import Page as Tab

import page.runs as runs_room
import visualization
from app import Page
from attention_extractor import AttentionExtractor, Capture
from attention_processor import AttentionProcessor
from demo.scenes import HELD_OUT_SEED, make_scene
from gradcam import smooth_grad_cam
from page.reading import SCALE_LABELS, first_pick
from page.runs import Run
from tests.serving import HEADS, LAYERS, PROMPT, noise, saved, served

CHROMIUM = Path("/usr/bin/chromium")
if not CHROMIUM.exists() and not os.environ.get("CI"):
    pytest.skip(f"needs {CHROMIUM} (Debian's package chromium)", allow_module_level=True)

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
PATIENCE = 60_000  # milliseconds: these tests may share two cores with others
NEW = 9  # tokens of an answer


# --- What is needed -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return saved(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    noise(0).save(folder / "a.png")
    noise(1).save(folder / "b.png")
    (folder / "text.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def site(folders: tuple[Path, Path]) -> Iterator[tuple[Page, str]]:
    with served(str(folders[0])) as page_and_url:
        yield page_and_url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


class Watch:
    """What went on behind a tab's back."""

    def __init__(self, tab: Tab, url: str) -> None:
        self.local = (url, "data:", "blob:" + url)
        self.foreign: list[str] = []
        self.errors: list[str] = []
        tab.on("request", self.on_request)
        tab.on("console", self.on_console)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))

    def on_request(self, request: Request) -> None:
        if not request.url.startswith(self.local):
            self.foreign.append(request.url)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)


OpenTab = Callable[..., Tab]


@pytest.fixture
def open_tab(browser: Browser, site: tuple[Page, str]) -> Iterator[OpenTab]:
    """Open tabs of separate visitors; at the end: no error in the console, no request to elsewhere."""
    tabs: list[tuple[Tab, Watch]] = []

    def opened(url: str = site[1], **context: Any) -> Tab:
        tab = browser.new_context(**{"viewport": {"width": 1440, "height": 1000}, **context}).new_page()
        tab.set_default_timeout(PATIENCE)
        tabs.append((tab, Watch(tab, url)))
        tab.goto(url)
        tab.wait_for_selector("#scale input")
        tab.wait_for_function("document.querySelector('#status').innerText.includes('ready')")
        return tab

    yield opened
    for tab, watch in tabs:
        tab.context.close()
        assert watch.foreign == []
        assert watch.errors == []


@pytest.fixture
def tab(open_tab: OpenTab) -> Tab:
    return open_tab()


@pytest.fixture(scope="module")
def direct(site: tuple[Page, str]) -> Capture:
    """The answer about the first picture, generated without the page."""
    return answer_to(site[0], noise(0))


def answer_to(page: Page, picture: Image.Image, prompt: str = PROMPT) -> Capture:
    loaded = page.room.loaded
    assert loaded is not None
    return AttentionExtractor(loaded.model, loaded.processor).generate(picture, prompt, max_new_tokens=NEW)


def upload(tab: Tab, file: Path) -> None:
    if tab.locator("#image img").count():
        tab.click("#image button[aria-label*='lear'], #image button[aria-label*='emove']")
    tab.set_input_files("#image input[type=file]", str(file))
    tab.wait_for_selector("#image img")


def set_number(tab: Tab, selector: str, value: float) -> None:
    field, slider = (tab.locator(f"{selector} input[type={kind}]") for kind in ("number", "range"))
    for _ in range(10):  # what is typed while the accordion is still opening can get lost
        field.fill(str(value))
        field.press("Tab")
        tab.wait_for_timeout(300)
        if float(slider.input_value()) == value:
            return
    raise AssertionError(f"{selector} does not take {value}")


def ask(tab: Tab, file: Path, tokens: int = NEW) -> None:
    """Upload, generate, and wait for the first picture."""
    upload(tab, file)
    tab.locator("#generation button").first.click()
    set_number(tab, "#max_new_tokens", tokens)
    tab.click("#generate")
    tab.wait_for_selector("#overlay img")


def shown(tab: Tab, place: str = "#overlay") -> np.ndarray:
    """The pixels of the overlay (H, W, 3), as the browser was given them."""
    tab.wait_for_function(f"document.querySelector('{place} img').naturalWidth > 0")
    address = str(tab.evaluate(f"document.querySelector('{place} img').src"))
    picture = Image.open(io.BytesIO(tab.request.get(address).body()))
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGB"))


def after_change(tab: Tab, change: Callable[[], Any], place: str = "#overlay") -> np.ndarray:
    """Do something that draws an overlay anew, and return its pixels."""
    before = tab.locator(f"{place} img").evaluate("one => one.src")
    change()
    tab.wait_for_function(
        "([place, before]) => document.querySelector(`${place} img`)?.src !== before", arg=[place, before]
    )
    return shown(tab, place)


def drawn(capture: Capture, tokens: Any, *, of_prompt: bool = False, **settings: Any) -> np.ndarray:
    """The overlay that the page should show, worked out directly."""
    layers, heads = settings.pop("layers", None), settings.pop("heads", None)
    aggregation = settings.pop("aggregation", "mean")
    processor = AttentionProcessor(capture)
    fold = processor.get_attention_heatmap_for_token
    if of_prompt:
        fold = processor.get_attention_heatmap_for_prompt_token
    picture = visualization.visualize_attention_on_image(
        visualization.fitted(noise(0), 640, 1280),
        fold(tokens, layers, heads, aggregation),
        scale_label=SCALE_LABELS[aggregation],
        **settings,
    )
    return np.asarray(picture)


def word(tab: Tab, number: int) -> Locator:
    return tab.locator("#answer .word").nth(number)


def picked(tab: Tab) -> list[str]:
    """The keys of the words that are marked."""
    return list(
        tab.eval_on_selector_all(".word[aria-pressed=true]", "all => all.map(one => one.dataset.pick)")
    )


def choose(tab: Tab, selector: str, text: str) -> None:
    """Pick an entry of a dropdown."""
    tab.click(f"{selector} input")
    tab.locator("ul[role=listbox] li", has_text=text).first.click()


# --- The main way through -----------------------------------------------------------------------------------


def test_from_a_picture_to_a_map(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    run = Run(direct, noise(0))
    first = first_pick(run)
    assert first is not None
    assert tab.locator("#answer").evaluate("one => one.textContent") == direct.text
    assert picked(tab) == [first.key]
    assert np.array_equal(shown(tab), drawn(direct, first.tokens))
    assert "largest share of its attention" in tab.inner_text("#reading .line")
    assert tab.inner_text("#caption").startswith("token")
    assert tab.get_attribute("#overlay img", "alt")


def test_words_and_list_are_in_step(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    words = AttentionProcessor(direct).words()
    numbers = [index for index, one in enumerate(words) if len(one.tokens) == 1][-2:]
    for number in numbers:
        (token,) = words[number].tokens
        pixels = after_change(tab, word(tab, number).click)
        assert np.array_equal(pixels, drawn(direct, token))
        tab.wait_for_function(f"document.querySelector('#token input').value.startsWith('token {token} ')")
        assert str(token) in picked(tab)

    pixels = after_change(tab, lambda: choose(tab, "#token", "the whole answer"))
    assert np.array_equal(pixels, drawn(direct, range(NEW)))
    assert len(picked(tab)) == tab.locator("#answer .word").count()

    pixels = after_change(tab, tab.locator("#asked .word").first.click)
    assert np.array_equal(pixels, drawn(direct, range(8), of_prompt=True))
    assert tab.input_value("#token input") == 'prompt tokens 0–7 "Describe"'
    assert picked(tab) == ["p0-7"]

    (token,) = words[numbers[0]].tokens
    pixels = after_change(tab, lambda: choose(tab, "#token", f"token {token} "))
    assert np.array_equal(pixels, drawn(direct, token))
    assert picked(tab) == [str(token)]


def test_every_setting_draws_anew(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    after_change(tab, lambda: choose(tab, "#token", "token 1 "))
    settings: dict[str, Any] = {}

    def expect(change: Callable[[], Any], **changed: Any) -> None:
        settings.update(changed)
        assert np.array_equal(after_change(tab, change), drawn(direct, 1, **settings))

    expect(lambda: set_number(tab, "#layer_from", 1), layers=[1, 2])
    expect(lambda: set_number(tab, "#head_to", 2), heads=[0, 1, 2])
    expect(lambda: tab.locator("#layer_to input[type=range]").press("ArrowLeft"), layers=[1])
    expect(lambda: tab.click("#aggregation label:has-text('max')"), aggregation="max")
    expect(lambda: choose(tab, "#colormap", "magma"), colormap="magma")
    expect(lambda: set_number(tab, "#alpha", 0.9), alpha=0.9)
    expect(lambda: tab.click("#cells label:has-text('smooth')"), smooth=True)
    expect(lambda: tab.click("#view label:has-text('side by side')"), view="side by side")
    expect(lambda: tab.click("#view label:has-text('heatmap')"), view="heatmap")

    processor = AttentionProcessor(direct)
    one, of_prompt = (
        processor.get_attention_heatmap_for_token,
        processor.get_attention_heatmap_for_prompt_token,
    )
    chosen: Any = ([1], [0, 1, 2], "max")
    maps = [one(token, *chosen) for token in range(NEW)]
    maps += [of_prompt(token, *chosen) for token in range(len(direct.prompt_token_ids))]
    expect(
        lambda: tab.click("#scale label:has-text('one for all')"),
        vmin=min(float(each.min()) for each in maps),
        vmax=max(float(each.max()) for each in maps),
    )
    assert " · layer 1 · heads 0–2 · max · " in tab.inner_text("#caption")


def test_settings_before_an_answer_wait_for_it(tab: Tab) -> None:
    with tab.expect_response(re.compile("/gradio_api/run/predict")) as told:
        tab.click("#cells label:has-text('smooth')")
    assert told.value.status == 200
    assert tab.locator(".toast-body").count() == 0


def test_with_the_keyboard_alone(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    start = tab.locator("#answer .word[tabindex='0']")
    start.focus()
    at = tab.evaluate("[...document.querySelectorAll('#answer .word')].indexOf(document.activeElement)")
    words = AttentionProcessor(direct).words()
    key, to = ("ArrowRight", at + 1) if at + 1 < len(words) else ("ArrowLeft", at - 1)
    pixels = after_change(tab, lambda: tab.keyboard.press(key))
    assert np.array_equal(pixels, drawn(direct, words[to].tokens))
    assert tab.evaluate("document.activeElement.dataset.pick") in picked(tab)

    tab.locator("#token input").focus()
    tab.keyboard.press("Control+A")
    tab.keyboard.type("the whole")
    tab.wait_for_function("document.querySelectorAll('#token ul[role=listbox] li').length === 1")
    pixels = after_change(tab, lambda: tab.keyboard.press("Enter"))
    assert np.array_equal(pixels, drawn(direct, range(NEW)))

    tab.locator("#prompt textarea").focus()
    reached = set()
    for _ in range(12):
        tab.keyboard.press("Tab")
        reached.add(str(tab.evaluate("document.activeElement.closest('[id]')?.id")))
    assert {"generate"} <= reached


def test_quick_keys_end_at_the_word_that_is_marked(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    words = AttentionProcessor(direct).words()
    word(tab, 0).focus()
    for _ in words[1:]:
        tab.keyboard.press("ArrowRight")
    last = words[-1].tokens
    tab.wait_for_function(
        "start => document.querySelector('#caption').innerText.search(start) === 0",
        arg=rf"tokens? {last[0]}\b",
    )
    tab.wait_for_function(
        "start => document.querySelector('#token input').value.search(start) === 0",
        arg=rf"tokens? {last[0]}\b",
    )
    assert np.array_equal(shown(tab), drawn(direct, last))


def test_stop_keeps_what_is_there(tab: Tab, site: tuple[Page, str], files: Path) -> None:
    upload(tab, files / "a.png")
    tab.locator("#generation button").first.click()
    set_number(tab, "#max_new_tokens", 1000)
    assert tab.is_disabled("#stop")
    tab.click("#generate")
    tab.wait_for_function("document.querySelector('#answer').textContent.length > 3")
    assert tab.locator("#reading progress").is_visible()
    assert re.search(r"\d+ tokens? of at most 1000", tab.inner_text("#reading .line"))
    tab.click("#stop")
    tab.wait_for_selector(".reading[data-state=stopped]")
    tab.wait_for_selector("#overlay img")
    told = re.match(r"Stopped after (\d+) token", tab.inner_text("#reading .line"))
    assert told is not None
    assert 1 <= int(told[1]) < 900
    assert tab.locator("#answer .word").count() >= 1
    assert tab.is_disabled("#stop")
    assert not site[0].room.busy


def test_closing_the_tab_frees_everything(open_tab: OpenTab, site: tuple[Page, str], files: Path) -> None:
    page, tab = site[0], open_tab()
    ask(tab, files / "a.png", tokens=2)
    before = len(page.visitors)
    set_number(tab, "#max_new_tokens", 1000)
    tab.click("#generate")
    tab.wait_for_selector(".reading[data-state=writing]")
    tab.close()
    other = open_tab()
    for _ in range(300):
        if not page.room.busy and len(page.visitors) < before:
            break
        other.wait_for_timeout(100)
    assert not page.room.busy
    assert len(page.visitors) == before - 1


# --- Grad-CAM -----------------------------------------------------------------------------------------------


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
    after_change(tab, lambda: choose(tab, "#token", "token 1 "))
    explain(tab)
    loaded = site[0].room.loaded
    assert loaded is not None
    cam = smooth_grad_cam(loaded.model, loaded.processor, noise(0), PROMPT, target=1, answer=direct)
    monkeypatch.setattr(runs_room, "smooth_grad_cam", None)  # from here on nothing is computed

    def expected(layer: int, **settings: Any) -> np.ndarray:
        picture = visualization.fitted(noise(0), 640, 1280)
        one = visualization.visualize_attention_on_image(
            picture, cam.layer_map(layer), scale_label="Grad-CAM", unit="", **settings
        )
        return np.asarray(one)

    assert layers_shown(tab) == list(cam.layers) == [0, 1]
    assert re.fullmatch(r"Done: token 1 .* · 10 passes · \d+\.\d s", tab.inner_text("#cam .line"))
    assert tab.inner_text("#cam .notes").startswith("Layer 2, the last, is left out")
    assert [one.split("\n")[0] for one in tab.locator("#cam .tile").all_inner_texts()] == [
        "layer 0",
        "layer 1",
    ]
    for layer in (0, 1):
        alt = tab.get_attribute(f"#cam .tile[data-layer='{layer}'] img", "alt")
        assert alt == f"The picture under the Grad-CAM of layer {layer}"
    assert np.array_equal(shown(tab, "#cam_overlay"), expected(1))

    def changed(change: Callable[[], Any]) -> np.ndarray:
        return after_change(tab, change, "#cam_overlay")

    assert np.array_equal(changed(tab.locator("#cam .tile").first.click), expected(0))
    assert "layer 0 of 0–2 · Smooth Grad-CAM, 10 samples, noise 0.15" in tab.inner_text("#cam_caption")
    assert np.array_equal(changed(lambda: tab.keyboard.press("ArrowRight")), expected(1))
    assert tab.evaluate("document.activeElement.dataset.layer") == "1"
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    small = tab.get_attribute("#cam .tile img", "src")
    assert np.array_equal(changed(lambda: choose(tab, "#colormap", "magma")), expected(1, colormap="magma"))
    tab.wait_for_function("src => document.querySelector('#cam .tile img').src !== src", arg=small)
    shared: dict[str, Any] = {
        "colormap": "magma",
        "vmin": float(cam.maps.min()),
        "vmax": float(cam.maps.max()),
    }
    tab.locator("#cam .tile").first.focus()
    assert np.array_equal(changed(lambda: tab.keyboard.press("Enter")), expected(0, colormap="magma"))
    weaker = int(cam.maps[1].max() < cam.maps[0].max())  # the one that a shared scale changes
    if weaker:
        changed(lambda: tab.keyboard.press("End"))
    pixels = changed(lambda: tab.click("#scale label:has-text('one for all')"))
    assert np.array_equal(pixels, expected(weaker, **shared))
    assert layers_shown(tab) == [0, 1]

    assert not tab.is_visible("#layer_from")
    tab.click("#attention_tab-button")
    assert tab.is_visible("#layer_from")
    assert np.array_equal(shown(tab), drawn(direct, 1, colormap="magma", **attention_range(direct)))
    tab.click("#generate")
    tab.wait_for_selector("#cam .cam[data-state=empty]", state="attached")
    tab.click("#gradcam_tab-button")
    assert layers_shown(tab) == []
    assert tab.locator("#cam_overlay img").count() == 0


def attention_range(capture: Capture) -> dict[str, Any]:
    """The lowest and highest value of every token's map, of answer and prompt."""
    processor = AttentionProcessor(capture)
    maps = [processor.get_attention_heatmap_for_token(token) for token in range(len(capture.token_ids))]
    prompt = range(len(capture.prompt_token_ids))
    maps += [processor.get_attention_heatmap_for_prompt_token(token) for token in prompt]
    return {
        "vmin": min(float(one.min()) for one in maps),
        "vmax": max(float(one.max()) for one in maps),
    }


def test_what_is_explained_can_be_chosen(tab: Tab, files: Path) -> None:
    boxes = ["#cam_text", "#cam_place", "#cam_other"]
    tab.click("#gradcam_tab-button")
    tab.click("#cam_run")
    refused(tab, "There is no answer to explain yet: press Generate first.")
    tab.click("#attention_tab-button")
    ask(tab, files / "a.png")
    after_change(tab, lambda: choose(tab, "#token", "token 1 "))
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
    tab.fill("#cam_layers input", "2")
    tab.keyboard.press("Enter")
    tab.click("#cam_run")
    refused(tab, "layer 2 is the last one and has no Grad-CAM")
    tab.fill("#cam_layers input", "0")
    tab.keyboard.press("Enter")
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
    monkeypatch.setattr(runs_room, "smooth_grad_cam", waiting)
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
    tab.wait_for_selector(".reading[data-state=done]")
    tab.wait_for_function("document.querySelector('#cam_stop').disabled")
    assert tab.get_attribute("#cam .cam", "data-state") == "empty"
    assert tab.inner_text("#cam_problem").strip() == ""
    assert not site[0].room.busy


# --- What cannot be done ------------------------------------------------------------------------------------


def test_what_cannot_be_answered_is_one_line(tab: Tab, files: Path) -> None:
    def refused(line: str) -> None:
        tab.click("#generate")
        tab.wait_for_function(
            "line => document.querySelector('#problem').innerText.startsWith(line)", arg=line
        )
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
    assert tab.locator("#answer .word").count() == 0


def test_a_file_that_is_no_picture_is_one_line(tab: Tab, files: Path) -> None:
    tab.set_input_files("#image input[type=file]", str(files / "text.png"))
    tab.wait_for_function("document.querySelector('#image img')")
    tab.click("#generate")
    line = "The file is not a picture in a format that is read"
    tab.wait_for_function("line => document.querySelector('#problem').innerText.startsWith(line)", arg=line)


def test_text_never_becomes_html(tab: Tab, files: Path) -> None:
    nasty = "<img src=x onerror=alert(1)> ${alert(2)} {{7*7}} `x`"
    dialogs: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    tab.on("dialog", on_dialog)
    tab.fill("#prompt textarea", nasty)
    ask(tab, files / "a.png", tokens=2)
    assert tab.locator("#asked").evaluate("one => one.textContent") == nasty
    choose(tab, "#model", "Qwen/Qwen2.5-VL-7B-Instruct")
    tab.fill("#model input", "<img src=x onerror=alert(3)>${alert(4)}{{7*7}}")
    tab.keyboard.press("Enter")
    tab.click("#load")
    tab.wait_for_function("document.querySelector('#status').innerText.includes('still in use')")
    assert tab.locator("#status img, .toast-body img[src=x]").count() == 0
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
            tab.fill("#model input", name)
            tab.keyboard.press("Enter")
            tab.click("#load")

        load(str(folders[1]))
        tab.wait_for_function("document.querySelector('#status').innerText.includes('2 layers × 6 heads')")
        tab.wait_for_function("document.querySelector('#head_to input[type=range]').max === '5'")
        assert tab.get_attribute("#layer_to input[type=range]", "max") == "1"
        assert tab.input_value("#head_to input[type=number]") == "5"
        assert tab.locator("#overlay img").count() == 0
        load(str(files))
        tab.wait_for_function("document.querySelector('#status').innerText.includes('still in use')")
        assert "\n" not in tab.inner_text("#status").strip()
        tab.click("#generate")
        tab.wait_for_selector("#overlay img")
        assert "heads 0–5" in tab.inner_text("#caption")


def test_two_visitors_each_see_their_own(open_tab: OpenTab, site: tuple[Page, str], files: Path) -> None:
    one, two = open_tab(), open_tab()
    for tab, file in ((one, "a.png"), (two, "b.png")):
        upload(tab, files / file)
        tab.locator("#generation button").first.click()
        set_number(tab, "#max_new_tokens", NEW)
    one.click("#generate")
    two.click("#generate")  # waits for the first
    texts = []
    for tab in (one, two):
        tab.wait_for_selector("#overlay img")
        texts.append(tab.locator("#answer").evaluate("one => one.textContent"))
    assert texts == [answer_to(site[0], noise(number)).text for number in (0, 1)]
    before = shown(two)
    after_change(one, word(one, 1).click)
    assert np.array_equal(shown(two), before)
    assert not np.array_equal(shown(one), before)


# --- Looks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "scheme"), [(1440, "light"), (1440, "dark"), (1024, "dark"), (390, "light"), (390, "dark")]
)
def test_the_page_fits_and_can_be_read(open_tab: OpenTab, width: int, scheme: str) -> None:
    tab = open_tab(viewport={"width": width, "height": 844}, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for part in (
        "#model",
        "#load",
        "#status",
        "#image",
        "#prompt",
        "#generate",
        "#stop",
        "#answer",
        "#token",
    ):
        assert tab.locator(part).count() == 1
    assert contrast(tab, "#generate") > 4.5
    assert contrast(tab, ".reading .hint") > 4.5


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
        tab.click("#generate")
        tab.wait_for_selector("#overlay img")
        assert re.fullmatch(r"An? [a-z, ]+\.", tab.locator("#answer").evaluate("one => one.textContent"))

        scene = make_scene(HELD_OUT_SEED + 2, n_objects=1)
        scene.image.save(tmp_path / "scene.png")
        upload(tab, tmp_path / "scene.png")
        tab.fill("#prompt textarea", "Describe this image.")
        tab.click("#generate")
        tab.wait_for_function(
            "text => document.querySelector('#answer').textContent === text", arg=scene.caption
        )
        thing = scene.objects[0]
        tab.wait_for_selector("#overlay img")
        tab.locator("#answer .word", has_text=re.compile(rf"^{thing.name}$")).click()
        tab.wait_for_function(f"document.querySelector('#caption').innerText.includes('{thing.name}')")
        assert tab.locator(".word[aria-pressed=true]", has_text=thing.name).count() == 1
