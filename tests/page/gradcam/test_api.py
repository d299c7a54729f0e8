"""The Grad-CAM tab: the API."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client  # type: ignore[import-untyped]
from gradio_client.exceptions import AppError  # type: ignore[import-untyped]
from PIL import Image

import visualization
from methods.grad_cam import smooth_grad_cam
from page.sessions import Run
from records.capture import Capture
from records.look import Look
from records.targets import Contrast, Text
from report.layers import Style, layer_grid
from tests.page.gradcam.kit import generated
from tests.serving import LAYERS, PROMPT, noise

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


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
    look = Look(form.get("colormap"), view="overlay")
    drawing = Style(look, form.get("scale", "own"))
    grid = layer_grid(expected, visualization.fitted(noise(0), 640, 1280), "grid", drawing.looks_at(expected))
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
        ({"target": "red"}, "'red' is not all, answer, tokens such as 3, 2-5 or 1,4, word:2"),
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
