"""The page in a browser: files to share."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import (
    Browser,
)
from playwright.sync_api import Page as Tab

import page.share as share_room
from page.site import Page
from records.capture import Capture
from tests.page.browser.kit import (
    PATIENCE,
    Watch,
    ask,
    becomes,
    choose,
    expect_map,
    look_menu,
    made,
    menu,
    typed,
    words_of,
)
from tests.seeing import colour, part, state, word

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_files_to_share(
    browser: Browser, tab: Tab, site: tuple[Page, str], files: Path, direct: Capture, tmp_path: Path
) -> None:
    ask(tab, files / "a.png")
    typed(tab, "#token", "3-5")
    becomes(tab, "pick.key", "3-5")
    look_menu(tab)
    part(tab, "colormap").select_option("magma")
    download = made(tab, "Picture (PNG)")
    name = re.fullmatch(r"(attention-[0-9a-f]{8})-tokens-003-005\.png", download.suggested_filename)
    assert name is not None
    assert re.match(r"Picture, [\d.]+ [kM]B, ", tab.inner_text("#share_line .text"))
    download.save_as(tmp_path / "shared.png")
    with Image.open(tmp_path / "shared.png") as picture:
        assert picture.info["Answer"] == direct.text
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    hot, cold = colour(1, "magma"), colour(0, "magma")
    assert (pixels == hot).all(1).any() or (np.abs(pixels.astype(int) - hot).max(1) <= 2).any()
    assert (np.abs(pixels.astype(int) - cold).max(1) <= 2).any()

    download = made(tab, "Interactive page (HTML)")
    assert download.suggested_filename == f"{name[1]}-tokens-003-005.html"
    report = tmp_path / "report.html"
    download.save_as(report)
    context = browser.new_context(viewport={"width": 1024, "height": 800})
    context.set_offline(True)
    offline = context.new_page()
    offline.set_default_timeout(PATIENCE)
    watch = Watch(offline, report.as_uri())
    offline.goto(report.as_uri())
    offline.wait_for_function("document.querySelector('.lens-viewer').viewer?.state().values")
    assert part(offline, "words").text_content() == direct.text
    assert state(offline)["pick"]["key"] == "3-5"  # it opens on what was picked
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
    menu(tab, "share")
    choose(tab, "#share_kind", "Pictures (ZIP)")
    assert tab.is_hidden("#share_stop")
    tab.click("#share_make")
    tab.wait_for_function("document.querySelector('#share_line').innerText.startsWith('0 of 7')")
    assert tab.is_disabled("#share_make")
    word(tab, 1).click()  # the viewer works meanwhile
    menu(tab, "share")
    tab.click("#share_stop")
    tab.wait_for_function("document.querySelector('#share_line').innerText === 'Stopped: no file was made.'")
    tab.wait_for_selector("#share_stop", state="hidden")
    assert tab.is_enabled("#share_make")
    assert tab.is_hidden("#share_file")
