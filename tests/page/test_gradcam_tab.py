"""The Grad-CAM tab without a browser: what is asked, for whom it is computed, what is kept and drawn."""

import base64
import io
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file  # type: ignore[import-untyped]
from gradio_client.exceptions import AppError  # type: ignore[import-untyped]
from PIL import Image

import config
import page.cams as cams_room
import visualization
from attention_extractor import AttentionExtractor
from methods.grad_cam import smooth_grad_cam
from model import ModelError
from page.cams import Asked, caption, contrast, layers_of, range_text, style, target_of, tiles
from page.gradcam_tab import STOPPED, GradCamTab
from page.jobs import Job
from page.model_room import ModelRoom
from page.sessions import Run
from page.shown import Pick
from page.site import Page
from records.capture import Capture
from records.grad_cam import GradCam
from records.look import Look
from records.targets import Contrast, Text
from report.layers import Style, layer_grid
from tests.serving import LAYERS, PROMPT, noise
from utils import Stopped

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
NEW = 6  # tokens of the answers
NOISE: dict[str, Any] = {"num_samples": 3, "noise_std": 0.2, "seed": 5}
LOOK: dict[str, Any] = {
    "colormap": "viridis",
    "opacity": 0.6,
    "contrast": 0,
    "view": "overlay",
    "cells": "cells",
    "scale": "own",
}


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pictures") / "a.png"
    noise(0).save(file)
    return file


@pytest.fixture
def tab(site: tuple[Page, str]) -> GradCamTab:
    return site[0].gradcam


@pytest.fixture(scope="module")
def model(site: tuple[Page, str]) -> tuple[Any, Any]:
    loaded = site[0].room.loaded
    assert loaded is not None
    return loaded.model, loaded.processor


@pytest.fixture(scope="module")
def capture(model: tuple[Any, Any]) -> Capture:
    return AttentionExtractor(*model).generate(noise(0), PROMPT, max_new_tokens=NEW)


@pytest.fixture(scope="module")
def cam(model: tuple[Any, Any], capture: Capture) -> GradCam:
    """The map that the page should show for token 1, worked out without the page."""
    return smooth_grad_cam(*model, noise(0), PROMPT, "auto", 1, **NOISE, answer=capture)


@pytest.fixture
def run(capture: Capture) -> Run:
    return Run(capture, noise(0))


@pytest.fixture
def client(site: tuple[Page, str]) -> Iterator[Client]:
    client = Client(site[1], verbose=False)
    yield client
    client.close()


def generated(client: Client, picture: Path) -> None:
    client.predict(handle_file(picture), PROMPT, NEW, api_name="/generate")


# --- What is asked for --------------------------------------------------------------------------------------


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


# --- The callbacks ------------------------------------------------------------------------------------------


def request(visitor: str) -> Any:
    return SimpleNamespace(session_hash=visitor)


def asked(
    kind: str = "word",
    key: Any = "1",
    layers: str = "auto",
    method: Any = "grad-cam",
    samples: Any = 3,
    noise_std: Any = 0.2,
    seed: Any = 5,
) -> list[Any]:
    """What the tab's components hold: nothing typed, the settings of NOISE."""
    return [kind, key, "", "answer", "", layers, method, samples, noise_std, seed]


@pytest.fixture
def kept(tab: GradCamTab, run: Run) -> Iterator[str]:
    """The id of an answer kept for the visitor "me"."""
    yield tab.around.sessions.keep("me", run)
    tab.around.sessions.forget("me")


def begun(tab: GradCamTab, run_id: str, form: Sequence[Any], visitor: str = "me") -> Iterator[dict[Any, Any]]:
    """Press Run: the tab is blank and says that it waits; return what is shown from then on."""
    told = tab.on_run(request(visitor), run_id, *form)
    blank = next(told)
    assert blank[tab.shown].constructor_args["value"] == {"state": "waiting"}
    assert blank[tab.stop].constructor_args["interactive"] is True
    return told


def computed(tab: GradCamTab, run_id: str, form: Sequence[Any]) -> list[dict[Any, Any]]:
    """Run the tab as a click does, and return all that was shown."""
    return list(begun(tab, run_id, form))


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


def pixels(component: Any) -> np.ndarray:
    """The picture (H, W, 3) that an update of an image component carries."""
    return np.asarray(component.constructor_args["value"])


def test_tiles_are_the_thumbnails(run: Run, cam: GradCam) -> None:
    run.cam = cam
    for scale in ("own", "shared"):
        look = Look("magma", 0.7)
        if scale == "shared":
            look = Look("magma", 0.7, vmin=float(cam.maps.min()), vmax=float(cam.maps.max()))
        small = visualization.thumbnails(run.picture, list(cam.maps), look)
        found = tiles(run, style(LOOK | {"colormap": "magma", "opacity": 0.7, "scale": scale}))
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
        return tab.on_draw(request("me"), kept, layer, style(LOOK), LOOK)

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


def test_without_an_answer_or_with_anothers_there_is_nothing_to_explain(
    tab: GradCamTab, run: Run, kept: str, cam: GradCam
) -> None:
    run.cam = cam
    for visitor, run_id, line in (
        ("me", None, "There is no answer to explain yet: press Generate first."),
        ("you", kept, "This answer is no longer kept: press Generate again."),
        ("me", "wrong", "This answer is no longer kept: press Generate again."),
    ):
        assert next(tab.on_run(request(visitor), run_id, *asked()))[tab.problem] == line
    for visitor, run_id in (("you", kept), ("me", "wrong")):
        with pytest.raises(Exception, match="no longer kept"):
            tab.on_draw(request(visitor), run_id, 0, None, LOOK)
    assert tab.on_draw(request("you"), None, 0, None, LOOK) == gr.skip()


# --- Stop ---------------------------------------------------------------------------------------------------


@pytest.fixture
def at_the_first_pass(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set when a computation has begun; it then waits until it is stopped."""
    begun = threading.Event()

    def waiting(
        *arguments: Any, on_progress: Callable[[int, int], None], stop: threading.Event, **rest: Any
    ) -> Any:
        def tell(done: int, count: int) -> None:
            on_progress(done, count)
            begun.set()
            assert stop.wait(60)

        return smooth_grad_cam(*arguments, on_progress=tell, stop=stop, **rest)

    monkeypatch.setattr(cams_room, "smooth_grad_cam", waiting)
    return begun


def at_work(tab: GradCamTab) -> bool:
    return tab.around.room.busy


@pytest.mark.parametrize("end", ["stop", "leave", "generate"])
def test_it_ends_when_it_is_stopped(
    tab: GradCamTab, run: Run, kept: str, at_the_first_pass: threading.Event, end: str
) -> None:
    jobs = tab.around.jobs
    told = begun(tab, kept, asked())
    assert next(one for one in told if one[tab.shown]["count"])[tab.shown]["done"] == 0
    assert at_the_first_pass.wait(60)
    assert at_work(tab)
    newer = jobs.started("me", "answer") if end == "generate" else nullcontext()
    if end == "stop":
        tab.on_stop(request("me"))
    elif end == "leave":
        jobs.end("me", by="nobody")
    with newer as job:
        last = [outputs for outputs in told if outputs != gr.skip()]
        assert [outputs[tab.problem] for outputs in last] == ([STOPPED] if end == "stop" else [])
        assert run.cam is None
        assert not at_work(tab)
        assert jobs.stop("me") == (end == "generate")  # the new question was still there
        assert job is None or not job.left_to
    assert len(jobs) == 0


@pytest.mark.parametrize("newer", ["method", "check"])
def test_something_else_that_begins_leaves_no_half_computed_tab(
    tab: GradCamTab, run: Run, kept: str, at_the_first_pass: threading.Event, newer: Any
) -> None:
    told = begun(tab, kept, asked())
    next(told)
    assert at_the_first_pass.wait(60)
    with tab.around.jobs.started("me", newer):
        last = list(told)[-1]
    assert last[tab.shown].constructor_args["value"] == {"state": "empty"}
    assert last[tab.stop].constructor_args["interactive"] is False
    assert last[tab.problem] == ""
    assert run.cam is None


def test_one_that_waited_while_something_else_was_asked_does_nothing(
    tab: GradCamTab, run: Run, kept: str
) -> None:
    with tab.around.room.queue.turn():
        told = begun(tab, kept, asked())
        with tab.around.jobs.started("me", "answer") as newer:
            assert list(told)[-1] == gr.skip()
            assert not newer.stop.is_set()
        assert run.cam is None
        told = begun(tab, kept, asked())
        tab.on_stop(request("me"))
        assert list(told)[-1][tab.problem] == STOPPED


def test_who_waits_is_told_the_place_and_who_finds_the_line_full_is_refused(
    tab: GradCamTab, run: Run, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = asked(samples=1)
    with tab.around.room.queue.turn():
        told = begun(tab, kept, form)
        assert next(one for one in told if "ahead" in one[tab.shown])[tab.shown]["ahead"] == 1
        monkeypatch.setattr(config, "QUEUE_SIZE", 0)
        other = tab.around.sessions.keep("you", Run(run.capture, run.original))
        refused = begun(tab, other, form, "you")
        full = "Too many people wait for the model. Try again in a minute."
        lines: list[dict[Any, Any]] = []
        with pytest.raises(gr.Error, match=re.escape(full)):
            lines.extend(refused)
        assert lines[-1][tab.problem] == full
        assert not tab.around.jobs.stop("you")
    assert [one[tab.shown]["state"] for one in told][-1] == "done"
    assert run.cam is not None
    tab.around.sessions.forget("you")


def test_another_model_than_the_answers_is_one_line(folders: tuple[Path, Path], run: Run) -> None:
    room = ModelRoom()

    def computed(job: Job) -> GradCam:
        return Asked("auto", None, NOISE).computed(room, run, job)

    with pytest.raises(ModelError, match="and no model is loaded now: press Generate again"):
        computed(Job("me", "grad-cam"))
    room.load(str(folders[1]))
    line = f"This answer was given by {folders[0]}, and {folders[1]} is loaded now: press Generate again."
    with pytest.raises(ModelError, match=re.escape(line)):
        computed(Job("me", "grad-cam"))
    stopped = Job("me", "grad-cam")
    stopped.stop.set()
    with pytest.raises(Stopped):
        computed(stopped)


def test_without_noise_one_pass_is_enough(tab: GradCamTab, kept: str) -> None:
    last = computed(tab, kept, asked(noise_std=0))[-1][tab.shown]
    assert (last["state"], last["count"]) == ("done", 1)


# --- The API ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "layers", "target"),
    [
        ({}, "auto", None),
        ({"target": "1-2,4", "layers": "0"}, (0,), [1, 2, 4]),
        ({"target": "text:ab", "layers": "all"}, "all", Text("ab")),
        ({"target": "text:ab", "at": "2"}, "auto", Text("ab", 2)),
        ({"target": "contrast:a/b", "at": "0"}, "auto", Contrast("a", "b", 0)),
        ({"target": "3", "scale": "shared", "colormap": "magma"}, "auto", 3),
    ],
)
def test_the_api_gives_the_same_maps(
    client: Client,
    picture: Path,
    model: tuple[Any, Any],
    capture: Capture,
    form: Any,
    layers: Any,
    target: Any,
) -> None:
    generated(client, picture)
    path, facts = client.predict(samples=2, noise=0.3, seed=1, **form, api_name="/gradcam")
    expected = smooth_grad_cam(*model, noise(0), PROMPT, layers, target, 2, 0.3, 1, answer=capture)
    np.testing.assert_allclose(facts["maps"], expected.maps, rtol=1e-6)
    np.testing.assert_allclose(facts["scores"], expected.scores, rtol=1e-6)
    assert (facts["target"], facts["layers"]) == (expected.target, list(expected.layers))
    assert facts["finished"] is True
    look = Look(form.get("colormap", config.HEATMAP_COLORMAP), 0.6, "overlay")
    drawing = Style(look, form.get("scale", "own"))
    grid = layer_grid(expected, visualization.fitted(noise(0), 640, 1280), "grid", drawing.look_at(expected))
    with Image.open(path) as drawn:
        np.testing.assert_array_equal(np.asarray(drawn.convert("RGB")), np.asarray(grid))


def test_a_word_by_its_number(client: Client, picture: Path, run: Run) -> None:
    generated(client, picture)
    _, facts = client.predict(target="word:1", samples=1, api_name="/gradcam")
    assert facts["target_tokens"] == list(run.processor.words()[1].tokens)


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ({"layers": str(LAYERS - 1)}, "layer 2 is the last one and has no Grad-CAM: no later layer reads"),
        ({"layers": "most"}, 'The layers must be "all", or numbers such as 3 or 0-2,5.'),
        ({"target": "99"}, "There is no token 99: there are 6, 0 to 5."),
        ({"target": "word:99"}, "There is no word 99"),
        ({"target": "red"}, "'red' is not all, tokens such as 3, 2-5 or 1,4, word:2"),
        ({"target": "1", "at": "2"}, "at belongs to a target text:… or contrast:…"),
        ({"target": "text:a <|image_pad|>"}, "may not contain the control token <|image_pad|>"),
        ({"target": "contrast:zebra/b"}, "the answer does not say 'zebra': name the position"),
        ({"samples": 0}, "Samples must be a number from 1 to 50."),
        ({"colormap": "no"}, "unknown colour map"),
    ],
)
def test_the_api_refuses_in_one_line(client: Client, picture: Path, form: Any, line: str) -> None:
    generated(client, picture)
    with pytest.raises(AppError, match=re.escape(line)) as caught:
        client.predict(**{"samples": 1, **form}, api_name="/gradcam")
    assert len(str(caught.value).splitlines()) == 1


def test_the_api_without_an_answer(client: Client) -> None:
    with pytest.raises(AppError, match="Call /generate first"):
        client.predict(api_name="/gradcam")
