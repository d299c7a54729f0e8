"""The page in a browser: grad-CAM."""

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page as Tab

import page.cams as cams_room
import visualization
from methods.grad_cam import smooth_grad_cam
from page.site import Page
from records.capture import Capture
from tests.page.browser.kit import (
    ask,
    becomes,
    cam_change,
    cam_picture,
    choose,
    explain,
    generate,
    layers_shown,
    look_menu,
    panel,
    picked,
    refused,
    typed,
)
from tests.seeing import choose as choose_one
from tests.seeing import part, state
from tests.serving import PROMPT, noise

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


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
        """Return the layer drawn without the page."""
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
    weaker = int(cam.maps[1].max() < cam.maps[0].max())  # the one that a shared scale changes
    if weaker == 0:
        cam_change(tab, lambda: tab.keyboard.press("ArrowLeft"))

    look_menu(tab)
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
    tab.locator("#cam .tile").nth(weaker).focus()
    pixels = cam_change(tab, lambda: tab.keyboard.press("ArrowLeft" if weaker else "ArrowRight"))
    assert np.array_equal(pixels, expected(1 - weaker, **drawing))
    assert layers_shown(tab) == [0, 1]
    assert (state(tab)["look"]["colormap"], picked(tab)) == ("magma", "1")

    generate(tab)
    tab.wait_for_selector("#cam .cam[data-state=empty]", state="attached")
    assert layers_shown(tab) == []
    assert tab.locator("#cam_overlay img").count() == 0


def test_what_is_explained_can_be_chosen(tab: Tab, files: Path) -> None:
    boxes = ["#cam_text", "#cam_place", "#cam_other"]
    ask(tab, files / "a.png")
    choose(tab, "#token", 'token 1 "')
    becomes(tab, "pick.key", "1")
    panel(tab, "methods")
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
    panel(tab, "methods")
    for end in ("#cam_stop", "#generate"):
        assert tab.is_disabled("#cam_stop")
        tab.click("#cam_run")
        tab.wait_for_function("/^0 of 10 passes · /.test(document.querySelector('#cam .line').innerText)")
        assert tab.locator("#cam progress").is_visible()
        tab.click(end)
        tab.wait_for_selector("#cam .cam[data-state=empty]")
        if end == "#cam_stop":
            refused(tab, "Stopped: there is no map.")
    tab.wait_for_selector(".lens-viewer[data-phase=answered]", state="attached")
    tab.wait_for_function("document.querySelector('#cam_stop').disabled")
    assert tab.get_attribute("#cam .cam", "data-state") == "empty"
    assert tab.inner_text("#cam_problem").strip() == ""
    assert not site[0].room.busy
