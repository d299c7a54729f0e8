"""Methods and checks in a real browser: another map is chosen, waited for, stopped, shared and checked."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser
from playwright.sync_api import Page as Tab

import config
import methods.selected
import page.explorer as explorer_room
from evaluation.removal import check_map
from evaluation.without_picture import NOTE, without_image
from methods import METHODS, Sink, TokenMaps, token_maps, top_heads, without_sinks
from page.explorer import told_of
from page.selection import ATTENTION
from page.sessions import Run
from page.shown import first_pick
from page.site import Page
from records.capture import Capture
from tests.page.browser.kit import (
    GRID,
    NEW,
    PATIENCE,
    Watch,
    answer_to,
    ask,
    becomes,
    choose,
    generate,
    made,
    map_changes,
    map_of,
    ready,
    shown,
    typed,
    words_of,
)
from tests.page.methods.kit import loaded_of
from tests.seeing import cell_of, pane_of, part, said, state, word
from tests.seeing import choose as choose_one
from tests.serving import noise
from utils import Stopped

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
CONTROLS = ("#layer_from", "#layer_to", "#head_from", "#head_to", "#aggregation", "#no_sinks")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pictures") / "a.png"
    noise(0).save(file)
    return file


@pytest.fixture(autouse=True)
def attention_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with attention, whatever config's method is."""
    monkeypatch.setattr(config, "METHOD", ATTENTION)


@pytest.fixture
def tab(browser: Browser, site: tuple[Page, str]) -> Iterator[Tab]:
    """A page of a visitor; at the end: no error in the console, no request to elsewhere."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE)
    watch = Watch(tab, site[1])
    tab.goto(site[1])
    ready(tab)
    yield tab
    context.close()
    assert watch.foreign == []
    assert watch.errors == []
    assert all(f" {site[1]}/" in one for one in watch.asked)


@pytest.fixture(scope="module")
def direct(site: tuple[Page, str]) -> Capture:
    """The answer about the picture, generated without the page."""
    return answer_to(site[0], noise(0))


def computed(site: tuple[Page, str], capture: Capture, way: str) -> TokenMaps:
    """Return a method's maps, without the page."""
    return token_maps(way, capture, image=noise(0), **loaded_of(site[0].room))


def chosen(tab: Tab, way: str) -> None:
    """Choose a method, and wait until its line stands there."""
    choose(tab, "#method", METHODS[way].label)
    told(tab, "#method_line", told_of(METHODS[way]))


def told(tab: Tab, place: str, text: str) -> None:
    """Wait until a line says this."""
    tab.wait_for_function(
        "([place, text]) => document.querySelector(`${place} .text`).textContent === text", arg=[place, text]
    )


def expect_shown(tab: Tab, maps: np.ndarray, tokens: list[int]) -> None:
    """Compare what is drawn with the mean of some maps (token, h, w), as exactly as the browser was told."""
    becomes(tab, "pick.tokens", tokens)
    step = max(float(np.ptp(maps[token])) for token in tokens) / 65535
    truth = maps[tokens].astype(np.float64).mean(axis=0)
    assert np.abs(shown(tab) - truth).max() <= step + 1e-8


def expect_controls(tab: Tab, visible: bool) -> None:
    for control in CONTROLS:
        tab.wait_for_selector(control, state="visible" if visible else "hidden")


def picked_first(direct: Capture) -> list[int]:
    pick = first_pick(Run(direct, noise(0)))
    assert pick is not None
    return list(pick.tokens)


class Held:
    """A method that waits in the middle of its work, and hears a stop there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.original = threading.Event(), explorer_room.token_maps
        monkeypatch.setattr(explorer_room, "token_maps", self.token_maps)

    def token_maps(self, method: str, capture: Capture, **given: Any) -> TokenMaps:
        if method == "occlusion":
            given["on_progress"](3, 11)
            while not self.go.wait(0.02):
                if given["stop"].is_set():
                    raise Stopped
        return self.original(method, capture, **given)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    one = Held(monkeypatch)
    yield one
    one.go.set()


# --- Methods ------------------------------------------------------------------------------------------------


def test_methods_are_chosen_shown_and_kept(
    tab: Tab, site: tuple[Page, str], picture: Path, direct: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(tab, picture, NEW)
    first = picked_first(direct)
    expect_controls(tab, True)
    local = token_maps(ATTENTION, direct, pairs=top_heads(direct, 3))
    tam = computed(site, direct, "tam")

    map_changes(tab, lambda: chosen(tab, "heads-3"))
    expect_shown(tab, local.maps, first)
    expect_controls(tab, False)
    assert "3 most local heads" in said(part(tab, "made"))

    map_changes(tab, lambda: chosen(tab, "tam"))
    expect_shown(tab, tam.maps, first)
    expect_controls(tab, False)
    assert tab.is_hidden("#method_stop")
    assert said(part(tab, "caveat")) == METHODS["tam"].caveat
    assert said(part(tab, "scaleName")).startswith(METHODS["tam"].scale_label)
    words = words_of(direct)
    assert max(map(len, words)) > 1
    for index, tokens in enumerate(words):
        word(tab, index).click()
        expect_shown(tab, tam.maps, list(tokens))
    part(tab, "whole").click()
    expect_shown(tab, tam.maps, list(range(NEW)))

    map_changes(tab, lambda: chosen(tab, ATTENTION))
    expect_controls(tab, True)
    becomes(tab, "pick.key", "all")
    assert np.abs(shown(tab) - map_of(direct, range(NEW))).max() < 1e-5

    monkeypatch.setattr(explorer_room, "token_maps", None)  # from here on nothing is computed
    map_changes(tab, lambda: chosen(tab, "tam"))
    expect_shown(tab, tam.maps, list(range(NEW)))

    generate(tab)  # a new answer begins with attention
    told(tab, "#method_line", told_of(METHODS[ATTENTION]))
    assert tab.input_value("#method input") == "Attention"
    expect_controls(tab, True)
    expect_shown(tab, np.stack([map_of(direct, token) for token in range(NEW)]), list(range(NEW)))


def test_occlusion_tells_how_far_it_is_and_can_be_stopped(
    tab: Tab, site: tuple[Page, str], picture: Path, direct: Capture, held: Held
) -> None:
    ask(tab, picture, NEW)
    first = picked_first(direct)
    attention = np.stack([map_of(direct, token) for token in range(NEW)])
    choose(tab, "#method", METHODS["occlusion"].label)
    told(tab, "#method_line", "3 of 11 passes …")
    assert tab.is_visible("#method_stop")
    expect_shown(tab, attention, first)  # until the other is there
    tab.click("#method_stop")
    told(tab, "#method_line", "Stopped: attention is shown.")
    tab.wait_for_function("document.querySelector('#method input').value === 'Attention'")
    assert tab.is_hidden("#method_stop")
    expect_shown(tab, attention, first)
    expect_controls(tab, True)
    assert not site[0].room.busy

    choose(tab, "#method", METHODS["occlusion"].label)
    told(tab, "#method_line", "3 of 11 passes …")
    held.go.set()
    told(tab, "#method_line", told_of(METHODS["occlusion"]))
    expect_shown(tab, computed(site, direct, "occlusion").maps, first)
    expect_controls(tab, False)
    assert state(tab)["range"][0] < 0  # a word can become likelier
    assert said(part(tab, "ticks")).startswith("−")
    assert "nats" in said(part(tab, "ticks"))


def test_another_method_chosen_meanwhile_is_the_one_that_stays(
    tab: Tab, site: tuple[Page, str], picture: Path, direct: Capture, held: Held
) -> None:
    ask(tab, picture, NEW)
    first = picked_first(direct)
    choose(tab, "#method", METHODS["occlusion"].label)
    told(tab, "#method_line", "3 of 11 passes …")
    map_changes(tab, lambda: choose(tab, "#method", METHODS["heads-5"].label))
    held.go.set()
    told(tab, "#method_line", told_of(METHODS["heads-5"]))
    tab.wait_for_function("() => document.querySelector('#method_stop')?.offsetParent == null")
    for _ in range(100):
        if not site[0].room.busy:
            break
        tab.wait_for_timeout(50)
    tab.wait_for_timeout(600)  # for what must not come
    told(tab, "#method_line", told_of(METHODS["heads-5"]))
    local = token_maps(ATTENTION, direct, pairs=top_heads(direct, 5))
    expect_shown(tab, local.maps, first)
    expect_controls(tab, False)


def test_sinks_are_left_out_and_crossed_out(
    tab: Tab, picture: Path, direct: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sinks = (Sink(13, 9.0), Sink(30, 5.0))  # row 1 column 5, row 3 column 6
    monkeypatch.setattr(methods.selected, "sink_patches", lambda *_: sinks)
    ask(tab, picture, NEW)
    first = picked_first(direct)
    choose_one(tab, "view", "heatmap")
    before = pane_of(tab, "heatmap")
    map_changes(tab, lambda: tab.check("#no_sinks input"))
    expect_shown(tab, without_sinks(token_maps(ATTENTION, direct), sinks).maps, first)
    assert "2 sinks left out: row 1 column 5 (9 ×), row 3 column 6 (5 ×)" in said(part(tab, "made"))
    crossed = pane_of(tab, "heatmap")
    assert before.shape == crossed.shape
    for row, col in np.ndindex(GRID):
        inside = cell_of(crossed, row, col, GRID)
        if row * GRID[1] + col in (13, 30):
            white, black = (inside >= 235).all(axis=1), (inside <= 20).all(axis=1)
            assert white.mean() > 0.01
            assert black.mean() > 0.01
        else:
            assert (inside == inside[0]).all()
    map_changes(tab, lambda: tab.uncheck("#no_sinks input"))
    assert (pane_of(tab, "heatmap") == before).all()


# --- Share and check ----------------------------------------------------------------------------------------


def test_what_is_shared_is_the_method_that_is_shown(
    tab: Tab, site: tuple[Page, str], picture: Path, direct: Capture, tmp_path: Path
) -> None:
    ask(tab, picture, NEW)
    chosen(tab, "gradient-norm")
    maps = computed(site, direct, "gradient-norm").maps
    expect_shown(tab, maps, picked_first(direct))
    made(tab, "Numbers (NPZ)").save_as(tmp_path / "maps.npz")
    with np.load(tmp_path / "maps.npz") as arrays:
        np.testing.assert_array_equal(arrays["maps"], maps)
        assert str(arrays["caveat"]) == METHODS["gradient-norm"].caveat
    typed(tab, "#token", "3-5")
    becomes(tab, "pick.key", "3-5")
    made(tab, "Picture (PNG)").save_as(tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as drawn:
        facts: dict[str, str] = drawn.text  # type: ignore[attr-defined]
        assert (facts["Method"], facts["Values"]) == ("Gradient norm", "gradient norm")


def test_a_map_and_the_words_are_checked(
    tab: Tab, site: tuple[Page, str], picture: Path, direct: Capture
) -> None:
    ask(tab, picture, NEW)
    chosen(tab, "tam")
    typed(tab, "#token", "1")
    becomes(tab, "pick.key", "1")
    tab.click("#check_tab-button")
    tab.click("#check_map")
    loaded = loaded_of(site[0].room)
    both = (loaded["model"], loaded["processor"], noise(0), direct)
    tab.wait_for_function("document.querySelector('#check_curve img')?.naturalWidth > 400")
    tam = computed(site, direct, "tam").maps  # the page has done with the model
    check = check_map(*both, 1, tam[1])
    assert said(tab.locator("#check_line .text")) == check.sentence(check.telling)
    assert tab.get_attribute("#check_curve img", "alt") == check.sentence(check.telling)
    assert tab.is_disabled("#check_stop")

    tab.click("#check_picture")
    told(tab, "#check_picture_line", NOTE)
    rows = without_image(*both).rows()
    grid = tab.locator("#check_table [role=row]:has([role=gridcell])")
    grid.nth(len(rows) - 1).wait_for()
    found = [[said(cell).strip() for cell in row.locator("[role=gridcell]").all()] for row in grid.all()]
    assert found == [[cell.strip() for cell in row] for row in rows]

    tab.click("#attention_tab-button")
    chosen(tab, ATTENTION)
    typed(tab, "#token", "p0")
    becomes(tab, "pick.key", "p0")
    tab.click("#check_tab-button")
    tab.click("#check_map")
    told(tab, "#check_line", "Pick a word of the answer first.")
