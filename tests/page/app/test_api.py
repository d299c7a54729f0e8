"""The page as it is served: the API."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file  # type: ignore[import-untyped]
from gradio_client.exceptions import AppError  # type: ignore[import-untyped]
from PIL import Image

import visualization
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from methods import METHODS, sink_patches, token_maps, top_heads, without_sinks
from page.site import Page
from records.capture import Capture
from tests.page.app.kit import NEW, generated, soon
from tests.serving import HEADS, PROMPT, noise

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_the_api_has_three_names(client: Client) -> None:
    listed = client.view_api(return_format="dict", print_info=False)
    assert sorted(listed["named_endpoints"]) == ["/generate", "/gradcam", "/heatmap"]
    for name, first in (("heatmap", ["token", "layers", "heads"]), ("gradcam", ["target", "at", "layers"])):
        parameters = listed["named_endpoints"][f"/{name}"]["parameters"]
        assert [parameter["parameter_name"] for parameter in parameters][:3] == first


def test_generate_is_the_extractor(answered: tuple[Client, dict[str, Any]], direct: Capture) -> None:
    answer = answered[1]
    assert answer["text"] == direct.text
    assert answer["tokens"] == list(direct.tokens)
    assert answer["grid"] == [5, 8]
    assert (answer["layers"], answer["heads"]) == ([0, 1, 2], HEADS)
    np.testing.assert_allclose(answer["probabilities"], direct.logprobs.exp(), rtol=1e-5)


@pytest.mark.parametrize(
    ("asked", "tokens", "layers", "heads"),
    [
        ({"token": "3"}, [3], None, None),
        ({"token": "1-2,5", "layers": "1,-1", "heads": "0-2"}, [1, 2, 5], [1, 2], [0, 1, 2]),
        ({"token": "all", "aggregation": "max", "alpha": 1.0, "view": "heatmap"}, range(NEW), None, None),
        ({"token": "2", "colormap": "glow", "cells": "cells", "view": "spotlight"}, [2], None, None),
        (
            {"token": "0", "layers": "2", "cells": "smooth", "view": "side by side", "colormap": "jet"},
            [0],
            [2],
            None,
        ),
    ],
)
def test_heatmap_is_the_processor_and_the_drawing(
    answered: tuple[Client, Any], direct: Capture, asked: Any, tokens: Any, layers: Any, heads: Any
) -> None:
    path, facts = answered[0].predict(**asked, api_name="/heatmap")
    expected = AttentionProcessor(direct).get_attention_heatmap_for_token(
        list(tokens), layers, heads, asked.get("aggregation", "mean")
    )
    np.testing.assert_allclose(facts["map"], expected, rtol=1e-6)
    look: dict[str, Any] = {key: asked[key] for key in ("alpha", "view", "colormap") if key in asked}
    label = {"max": "highest share of attention"}.get(asked.get("aggregation", ""), "share of attention")
    picture = visualization.visualize_attention_on_image(
        visualization.fitted(noise(0), 640, 1280),
        expected,
        smooth=None if "cells" not in asked else asked["cells"] == "smooth",
        scale_label=label,
        **look,
    )
    with Image.open(path) as drawn:
        assert np.array_equal(np.asarray(drawn.convert("RGB")), np.asarray(picture))


def test_heatmap_of_the_question(answered: tuple[Client, Any], direct: Capture) -> None:
    _, facts = answered[0].predict(token="p4", api_name="/heatmap")
    expected = AttentionProcessor(direct).get_attention_heatmap_for_prompt_token(4)
    np.testing.assert_allclose(facts["map"], expected, rtol=1e-6)
    assert facts["caption"].startswith('prompt token 4 "r" · layers 0–2 · heads 0–3 · mean · ')


@pytest.mark.parametrize("method", ["heads-3", "rollout", "tam"])
def test_heatmap_by_another_method_is_computed_once_and_kept(
    answered: tuple[Client, Any], site: tuple[Page, str], direct: Capture, method: str
) -> None:
    client, loaded = answered[0], site[0].room.loaded
    assert loaded is not None
    given = {"model": loaded.model, "processor": loaded.processor, "image": noise(0)}
    expected = token_maps(method, direct, **given)
    if method == "heads-3":
        expected = token_maps("attention", direct, pairs=top_heads(direct, 3))
    path, facts = client.predict(token="1-2", method=method, api_name="/heatmap")
    largest = float(np.abs(expected.maps).max())
    np.testing.assert_allclose(facts["map"], expected.token_map([1, 2]), rtol=1e-4, atol=1e-6 * largest)
    assert (facts["method"], facts["removed"]) == (method, [])
    assert f" · {METHODS[method].label} · " in facts["caption"]
    again = client.predict(token="1-2", method=method, api_name="/heatmap")[1]
    assert again == facts  # the same seconds: it was not read again
    with Image.open(path) as drawn:
        assert drawn.width > drawn.height > 0


def test_heatmap_without_sinks(answered: tuple[Client, Any], direct: Capture) -> None:
    sinks = sink_patches(direct, [1], [0, 1])
    asked: dict[str, Any] = {"layers": "1", "heads": "0-1", "no_sinks": True}
    plain = token_maps("attention", direct, layers=[1], heads=[0, 1])
    _, facts = answered[0].predict(token="3", **asked, api_name="/heatmap")
    np.testing.assert_allclose(facts["map"], without_sinks(plain, sinks).token_map(3), rtol=1e-6)
    assert facts["removed"] == sorted(sink.patch for sink in sinks)
    assert " · Attention without sinks · layers 1 · heads 0-1 · mean · " in facts["caption"]
    assert answered[0].predict(token="p3", **asked, api_name="/heatmap")[1]["removed"] == facts["removed"]


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"token": "99"}, "There is no token 99: there are 6, 0 to 5."),
        ({"token": "p99"}, "There is no prompt token 99: there are 20, 0 to 19."),
        ({"token": "red"}, 'The tokens must be "all", or numbers such as 3 or 0-2,5.'),
        ({"token": "3-1"}, "The range of tokens 3-1 runs backwards."),
        ({"layers": "0-3"}, "There is no layer 3: there are 3, 0 to 2."),
        ({"heads": "4"}, "There is no head 4: there are 4, 0 to 3."),
        ({"alpha": 7}, "alpha must be a number from 0 (picture) to 1 (map); got 7"),
        ({"colormap": "no"}, "unknown colour map"),
        ({"view": "no"}, "view must be one of"),
        ({"aggregation": "sum"}, "aggregation must be one of mean, max, min; got 'sum'"),
        ({"scale": "no"}, "scale must be one of own, shared; got 'no'"),
        ({"method": "magic"}, "The method must be one of attention, heads-3"),
        ({"method": "tam", "token": "p0"}, "Token activation map explains words of the answer, not of the"),
        ({"method": "tam", "no_sinks": True}, "Token activation map has no sinks to leave out"),
    ],
)
def test_heatmap_refuses_in_one_line(
    client: Client, pictures: Path, asked: dict[str, Any], line: str
) -> None:
    generated(client, pictures / "a.png", tokens=NEW)
    with pytest.raises(Exception, match=re.escape(line)) as caught:
        client.predict(**{"token": "0", **asked}, api_name="/heatmap")
    assert len(str(caught.value).splitlines()) == 1


def test_generate_takes_a_way_to_answer_or_an_answer(
    client: Client, site: tuple[Page, str], pictures: Path
) -> None:
    given = generated(client, pictures / "a.png", answer="Written elsewhere.")
    assert given["text"] == "Written elsewhere."
    found = {}
    for name, settings in (("greedy", {"generation": "greedy"}), ("own", {"temperature": 0, "top_p": 1})):
        found[name] = generated(client, pictures / "a.png", **settings)
    assert found["own"]["tokens"] == found["greedy"]["tokens"]


@pytest.mark.parametrize(
    ("file", "prompt", "settings", "line"),
    [
        ("text.png", PROMPT, {}, "The file is not a picture in a format that is read"),
        ("cut.png", PROMPT, {}, "The picture file is damaged or incomplete."),
        ("dot.png", PROMPT, {}, "The picture is too small (1 x 1)"),
        ("line.png", PROMPT, {}, "The picture is too narrow (800 x 8)"),
        ("a.png", "   ", {}, "Type a question first."),
        ("a.png", "x" * 100_000, {}, "The question has 100,000 characters; at most 4,000 are allowed."),
        ("a.png", "a <|image_pad|>", {}, "The prompt may not contain the control token <|image_pad|>"),
        ("a.png", PROMPT, {"temperature": -1}, "The temperature must be a number from 0 to 10."),
        ("a.png", PROMPT, {"top_p": 0}, "Top-p must be above 0."),
        ("a.png", PROMPT, {"seed": "many"}, "The seed must be a number"),
        ("a.png", PROMPT, {"top_k": 1.5}, "Top-k must be a whole number."),
        ("a.png", PROMPT, {"repetition_penalty": 0}, "The repetition penalty must be above 0."),
        ("a.png", PROMPT, {"generation": "beams"}, "generation must be one of checkpoint, greedy, own"),
        ("a.png", PROMPT, {"generation": "greedy", "top_p": 0.5}, "top_p counts only with generation="),
        ("a.png", PROMPT, {"answer": "a <|image_pad|>"}, "The answer may not contain the control token"),
    ],
)
def test_generate_refuses_in_one_line(
    answered: tuple[Client, Any],
    site: tuple[Page, str],
    pictures: Path,
    file: str,
    prompt: str,
    settings: Any,
    line: str,
) -> None:
    kept = len(site[0].sessions)
    with pytest.raises(AppError, match=re.escape(line)) as caught:
        generated(answered[0], pictures / file, prompt, **settings)
    assert len(str(caught.value).splitlines()) == 1
    assert "/" not in str(caught.value)
    assert len(site[0].sessions) <= kept


def test_heatmap_without_an_answer(client: Client) -> None:
    with pytest.raises(AppError, match="Call /generate first"):
        client.predict(token="0", api_name="/heatmap")


def test_each_client_sees_its_own_answer(
    answered: tuple[Client, Any], site: tuple[Page, str], pictures: Path
) -> None:
    one, first = answered
    two = Client(site[1], verbose=False)
    second = generated(two, pictures / "b.png", "What is it?")
    assert first["text"] != second["text"]
    maps = [np.array(client.predict(token="0", api_name="/heatmap")[1]["map"]) for client in (one, two)]
    assert not np.allclose(maps[0], maps[1])
    again = np.array(one.predict(token="0", api_name="/heatmap")[1]["map"])
    assert np.array_equal(again, maps[0])
    two.close()


def test_a_client_that_cancels_frees_the_model(
    site: tuple[Page, str], client: Client, pictures: Path
) -> None:
    page = site[0]
    job = client.submit(handle_file(pictures / "a.png"), PROMPT, 1000, api_name="/generate")
    soon(lambda: job.outputs())
    assert page.room.busy
    job.cancel()
    soon(lambda: not page.room.busy, 30)


def test_a_client_asks_on(client: Client, site: tuple[Page, str], pictures: Path) -> None:
    loaded = site[0].room.loaded
    assert loaded is not None
    extractor = AttentionExtractor(loaded.model, loaded.processor)
    system = "Be brief."
    first = extractor.generate(noise(0), PROMPT, max_new_tokens=NEW, system=system)
    second = extractor.generate(noise(1), "Is it?", max_new_tokens=NEW, history=[first])
    assert generated(client, pictures / "a.png", system=system)["text"] == first.text
    asked = {"max_new_tokens": NEW, "follow": True, "api_name": "/generate"}
    then = client.predict(handle_file(pictures / "b.png"), "Is it?", **asked)
    assert (then["text"], [turn["text"] for turn in then["turns"]]) == (second.text, [first.text])
    assert [one["grid"] for one in then["visuals"]] == [[1, 5, 8], [1, 5, 8]]
    for visual in (0, 1):
        truth = AttentionProcessor(second).get_attention_heatmap_for_token(0, visual=visual)
        found = client.predict(token="0", visual=visual, api_name="/heatmap")[1]["map"]
        np.testing.assert_allclose(found, truth, atol=1e-5)
    with pytest.raises(AppError, match="visual must be a number from 0 to 1"):
        client.predict(token="0", visual=2, api_name="/heatmap")


def test_nobody_asks_on_without_an_answer(client: Client, pictures: Path) -> None:
    with pytest.raises(AppError, match="Call /generate first"):
        generated(client, pictures / "a.png", follow=True)
