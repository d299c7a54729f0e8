"""The Grad-CAM tab: what is asked for; the callbacks."""

import base64
import io
import re
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import visualization
from attention_extractor import AttentionExtractor
from drawing.outline import whole_of
from methods.grad_cam import smooth_grad_cam
from page.cams import caption, contrast, layers_of, range_text, style, target_of, tiles
from page.gradcam_tab import GradCamTab
from page.sessions import Run
from page.shown import Pick
from records.grad_cam import GradCam
from records.look import Look
from records.targets import Contrast, Text
from tests.numerics import assert_same
from tests.page.gradcam.kit import (
    LOOK,
    NEW,
    NOISE,
    asked,
    begun,
    computed,
    pixels,
)
from tests.page.kit import memory_full
from tests.page.telling import refused, request
from tests.serving import PROMPT, noise

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


# --- What is asked for ---


def test_targets_of_the_form(run: Run) -> None:
    def asked(kind: str, key: Any = "1-2", text: str = "", place: str = "answer", other: str = "") -> Any:
        return target_of(run, kind, key, text, place, other)

    assert asked("all", None) is None
    assert asked("word") == (1, 2)
    assert asked("word", "all") == tuple(range(NEW))
    assert asked("text", None, " a fish ") == Text("a fish", 0)
    assert asked("text", "3", "a fish", "word") == Text("a fish", 3)
    assert asked("contrast", "3", other=" blue ") == Contrast(run.capture.token_ids[3], "blue", 3)


def test_a_word_of_several_tokens_is_contrasted_as_text(run: Run) -> None:
    spans = run.capture.token_spans
    text = run.capture.text[spans[2][0] : spans[4][1]].strip()
    assert contrast(run, Pick((2, 3, 4)), "blue") == Contrast(text, "blue", 2)


@pytest.mark.parametrize(
    ("form", "line"),
    [
        (("word", None, "", "answer", ""), "Pick a word of the answer first."),
        (("word", "p0-7", "", "answer", ""), "The word picked above is one of your question: pick one of"),
        (("word", "77", "", "answer", ""), "There is no token 77: there are 6, 0 to 5."),
        (("text", "1", "  ", "answer", ""), "Type the text to explain."),
        (
            ("text", "1", "x" * 5000, "answer", ""),
            "The text has 5,000 characters; at most 4,000 are allowed.",
        ),
        (("text", "p0", "fish", "word", ""), "The word picked above is one of your question"),
        (("contrast", "1", "", "answer", None), "Type the word that the picked one is compared with."),
        (
            ("everything", "1", "", "answer", ""),
            "What is explained must be one of all, word, text, contrast.",
        ),
    ],
)
def test_what_cannot_be_explained_is_one_line(run: Run, form: Any, line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)):
        target_of(run, *form)


def test_layers_are_names_or_numbers(run: Run) -> None:
    assert layers_of(run, " auto ") == "auto"
    assert layers_of(run, "all") == "all"
    assert layers_of(run, "-3--2") == (0, 1)
    for wrong, line in {
        "2": "layer 2 is the last one and has no Grad-CAM: no later layer reads its features",
        "0-2": "layer 2 is the last one",
        "7": "There is no layer 7: there are 3, 0 to 2.",
        "middle": "'middle' is no layer of a model with 3 layers",
        "some": "The layers must be",
        "": "Choose layers: auto, early, middle, late, all, or numbers such as 3 or 0-2,5.",
    }.items():
        with pytest.raises(ValueError, match=re.escape(line)):
            layers_of(run, wrong)


# --- The callbacks ---


def test_the_map_is_the_one_computed_without_the_page(
    tab: GradCamTab, run: Run, kept: str, cam: GradCam
) -> None:
    last = computed(tab, kept, asked())[-1][tab.shown]
    assert (last["state"], last["count"], last["target"]) == ("done", 3, cam.target)
    assert last["notes"] == cam.notes
    assert last["notes"][0].startswith("Layer 2, the last, is left out: no later layer reads")
    assert run.cam is not None
    np.testing.assert_array_equal(run.cam.maps, cam.maps)
    np.testing.assert_array_equal(run.cam.scores, cam.scores)
    assert not tab.around.jobs.stop("me")  # nothing is left to stop


def test_the_gradient_norm_is_the_one_computed_without_the_page(
    tab: GradCamTab, run: Run, kept: str, cam: GradCam, model: tuple[Any, Any]
) -> None:
    form = asked(method="gradient-norm")
    computed(tab, kept, form)
    expected = smooth_grad_cam(
        *model,
        noise(0),
        PROMPT,
        "auto",
        cam.target_tokens,
        **NOISE,
        method="gradient-norm",
        answer=run.capture,
    )
    assert run.cam is not None
    np.testing.assert_array_equal(run.cam.maps, expected.maps)
    assert "Smooth gradient norm, 3 samples" in caption(run.cam, 1)


def test_settings_draw_the_kept_maps_again_without_the_model(
    tab: GradCamTab, run: Run, kept: str, cam: GradCam, model: tuple[Any, Any]
) -> None:
    run.cam = cam

    def refuse(*_: Any) -> None:
        raise AssertionError("the model was called")

    handle = model[0].register_forward_pre_hook(refuse)
    try:
        changes: list[dict[str, Any]] = [
            {},
            {"colormap": "magma", "opacity": 0.9, "view": "heatmap", "cells": "smooth", "scale": "shared"},
            {"scale": "shared"},
            {"contrast": -1},
            {"view": "wipe"},  # nothing to wipe here: the map is over the picture
        ]
        for change in changes:
            look = LOOK | change
            drawn = tab.on_draw(request("me"), kept, None, None, look)
            low, high = (cam.maps.min(), cam.maps.max()) if look["scale"] == "shared" else (None, None)
            layer = 1  # the one in the middle
            expected = visualization.visualize_attention_on_image(
                visualization.fitted(noise(0), 640, 1280),
                cam.layer_map(layer),
                look["colormap"],
                look["opacity"],
                "overlay" if look["view"] == "wipe" else look["view"],
                look["cells"] == "smooth",
                None if low is None else float(low),
                None if high is None else float(high),
                gamma=2.0 ** look["contrast"],
                scale_label="Grad-CAM",
                unit="",
            )
            np.testing.assert_array_equal(pixels(drawn[tab.overlay]), np.asarray(expected))
            small = drawn[tab.shown].constructor_args["tiles"]
            assert [one["layer"] for one in small] == [0, 1]
            assert drawn[tab.shown].constructor_args["picked"] == layer
            assert tab.on_draw(request("me"), kept, 0, drawn[tab.drawn], look).keys() == {
                tab.overlay,
                tab.caption,
            }  # the small pictures are drawn like this already
    finally:
        handle.remove()


def test_tiles_are_the_thumbnails(run: Run, cam: GradCam) -> None:
    run.cam = cam
    for scale in ("own", "shared"):
        look = Look("magma", 0.7)
        if scale == "shared":
            look = Look("magma", 0.7, vmin=float(cam.maps.min()), vmax=float(cam.maps.max()))
        small = visualization.thumbnails(run.picture, list(cam.maps), look)
        found = tiles(cam, run.picture, style(LOOK | {"colormap": "magma", "opacity": 0.7, "scale": scale}))
        assert [one["layer"] for one in found] == list(cam.layers) == [0, 1]
        for one, values, expected in zip(found, cam.maps, small, strict=True):
            assert one["range"] == range_text(values)
            head, data = one["src"].split(",")
            assert head == "data:image/jpeg;base64"
            with Image.open(io.BytesIO(base64.b64decode(data))) as shown:
                difference = np.abs(np.asarray(shown, dtype=int) - np.asarray(expected, dtype=int))
            assert difference.mean() < 6  # JPEG of noise; another map differs by much more
        assert np.abs(np.asarray(small[0], dtype=int) - np.asarray(small[1], dtype=int)).mean() > 12


def test_ranges_are_numbers() -> None:
    assert range_text(np.array([[0.0, 0.5], [1.25, 0.1]])) == "0 to 1.25"
    assert range_text(np.zeros((2, 3))) == "0 everywhere"


def test_a_click_enlarges_and_a_layer_that_is_none_is_one_line(
    tab: GradCamTab, run: Run, kept: str, cam: GradCam
) -> None:
    def click(layer: Any) -> dict[Any, Any]:
        return tab.on_draw(request("me"), kept, layer, (style(LOOK), cam.target), LOOK)

    assert click(0) == gr.skip()  # nothing is computed yet
    run.cam = cam
    found = click(0)
    assert found[tab.caption] == caption(cam, 0)
    assert "layer 0" in found[tab.overlay].alt_text
    assert tab.shown not in found  # the small pictures stay
    assert click("0")[tab.caption] == caption(cam, 1)
    with pytest.raises(Exception, match="layer 9 is not among those computed: 0, 1"):
        click(9)


def test_the_caption_names_target_layer_method_and_score(cam: GradCam) -> None:
    mean, spread = cam.scores.mean(), cam.scores.std()
    assert caption(cam, 1) == (
        f"{cam.target} · layer 1 of 0–2 · Smooth Grad-CAM, 3 samples, noise 0.2 · "
        f"score {mean:.2f} ± {spread:.2f}"
    )


@pytest.mark.parametrize(
    ("form", "line"),
    [
        (asked(layers="2"), "layer 2 is the last one and has no Grad-CAM"),
        (asked(key="99"), "There is no token 99"),
        (asked(method="magic"), "The method must be one of grad-cam, gradient-norm."),
        (asked(samples=0), "Samples must be a number from 1 to 50."),
        (asked(samples=51), "Samples must be a number from 1 to 50."),
        (asked(noise_std="much"), "The noise must be a number from 0 to 10."),
        (asked(seed=-1), "The seed must be a number from 0"),
    ],
)
def test_refusals_come_before_the_queue(tab: GradCamTab, kept: str, form: Any, line: str) -> None:
    told = tab.on_run(request("me"), kept, *form)
    assert next(told)[tab.problem].startswith(line)
    with pytest.raises(Exception, match=re.escape(line)):
        next(told)
    assert not tab.around.jobs.stop("me")


def test_memory_that_runs_out_in_the_backward_pass_is_said_and_run_works_again(
    tab: GradCamTab, kept: str, run: Run, cam: GradCam
) -> None:
    with memory_full(tab.around.room, backward=True):
        told = begun(tab, kept, asked())
        outputs, reason = refused(told)
    assert reason == "There is not enough memory. A smaller picture or fewer new tokens need less."
    assert outputs[-1][tab.problem].startswith(reason)
    assert not tab.around.room.busy
    missing = run.cam
    computed(tab, kept, asked())
    found = run.cam
    assert missing is None
    assert found is not None
    assert_same(found.maps, cam.maps)


def test_without_an_answer_or_with_anothers_there_is_nothing_to_explain(
    tab: GradCamTab, run: Run, kept: str, cam: GradCam
) -> None:
    run.cam = cam
    for visitor, run_id, line in (
        ("me", None, "There is no answer to explain yet: ask something first."),
        ("you", kept, "This answer is no longer kept: ask again."),
        ("me", "wrong", "This answer is no longer kept: ask again."),
    ):
        assert next(tab.on_run(request(visitor), run_id, *asked()))[tab.problem] == line
    for visitor, run_id in (("you", kept), ("me", "wrong")):
        with pytest.raises(Exception, match="no longer kept"):
            tab.on_draw(request(visitor), run_id, 0, None, LOOK)
    assert tab.on_draw(request("you"), None, 0, None, LOOK) == gr.skip()


def test_of_several_pictures_the_shown_one_has_its_part(tab: GradCamTab, model: tuple[Any, Any]) -> None:
    images = [noise(0), noise(1, (84, 140))]
    answer = AttentionExtractor(*model).generate(images, PROMPT, max_new_tokens=NEW)
    run_id = tab.around.sessions.keep("me", Run(answer, tuple(images)))
    computed(tab, run_id, asked())
    cam = smooth_grad_cam(*model, images, PROMPT, "auto", 1, **NOISE, answer=answer)
    for plane in (0, 1, None):
        number = plane if plane is not None else cam.hottest[0]
        drawn = tab.on_draw(request("me"), run_id, None, None, LOOK | {"plane": plane})
        tiles_ = drawn[tab.shown].constructor_args["tiles"]
        values = [cam.layer_map(layer, number) for layer in cam.layers]
        assert [one["range"] for one in tiles_] == [range_text(one) for one in values]
        assert f"on picture {number + 1} of 2" in drawn[tab.caption]
        expected = visualization.visualize_attention_on_image(
            visualization.fitted(images[number], 640, 1280),
            values[1],
            LOOK["colormap"],
            LOOK["opacity"],
            "overlay",
            False,
            whole=whole_of(cam.maps[1].astype(np.float64)),
            scale_label="Grad-CAM",
            unit="",
        )
        far = np.abs(pixels(drawn[tab.overlay]).astype(int) - np.asarray(expected).astype(int))
        assert far.max() <= 2  # the maps were computed twice
    tab.around.sessions.forget("me")
