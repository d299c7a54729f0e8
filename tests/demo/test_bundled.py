"""The answers that come with the program: opened without a model, and equal to what it answers now."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from demo.bundled import FIRST, FOLDER, bundled_example, bundled_names
from demo.make_examples import BEST, EXAMPLES, WORD
from evaluation.removal import check_map
from evaluation.without_picture import logprobs_without
from methods import TokenMaps, token_maps
from model import load_model
from page.sessions import Run
from records.entries import Kept
from tests.numerics import assert_same

ROOT = Path(__file__).parent.parent.parent
LOGITS = 30.0  # about the largest of the bundled model's


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    return load_model("demo")


def opened(name: str) -> Kept:
    kept = bundled_example(name)
    assert kept is not None
    return kept


def test_they_open_without_a_model() -> None:
    code = """
import sys
from demo.bundled import bundled_example
print(bundled_example().capture.text)
print(sorted({'model', 'transformers', 'gradio', 'internals', 'demo.make_examples'} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    text, loaded = done.stdout.splitlines()
    assert text.startswith("A blue heart at the top left")
    assert loaded == "[]"


def test_every_example_has_one_and_they_are_small() -> None:
    assert set(bundled_names()) == {example.name for example in EXAMPLES}
    assert bundled_example("nothing") is None
    files = [file for name in bundled_names() for file in (FOLDER / name).iterdir()]
    assert sum(file.stat().st_size for file in files) < 1_500_000
    assert {file.suffix for file in files} == {".json", ".safetensors"}


@pytest.mark.numeric
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_it_is_what_the_bundled_model_answers_now(example: Any, loaded: tuple[Any, Any]) -> None:
    kept = opened(example.name)
    capture, image = kept.capture, kept.image
    now = AttentionExtractor(*loaded).generate(image, example.prompt)
    for name in ("token_ids", "text", "grid", "layers", "image_hash", "model_name", "prompt"):
        assert getattr(now, name) == getattr(capture, name), name
    assert_same(now.logprobs, capture.logprobs, terms=[LOGITS])
    np.testing.assert_allclose(now.attention.float(), capture.attention.float(), atol=1e-3)
    assert kept.without is not None
    assert_same(logprobs_without(*loaded, capture), kept.without, terms=[LOGITS])
    maps = token_maps(BEST, capture, model=loaded[0], processor=loaded[1], image=image)
    assert kept.maps[BEST].key == maps.key
    assert kept.maps[BEST].tokens == maps.tokens
    assert_same(kept.maps[BEST].maps, maps.maps)


@pytest.mark.numeric
def test_the_first_comes_with_two_tests(loaded: tuple[Any, Any]) -> None:
    kept = opened(FIRST)
    (tokens,) = (word.tokens for word in AttentionProcessor(kept.capture).words() if word.text == WORD)
    shown: list[TokenMaps] = [kept.maps[BEST], token_maps("attention", kept.capture)]
    assert {one.map_key for one in kept.checks} == {one.key for one in shown}
    for maps in shown:
        (check,) = (one for one in kept.checks if one.map_key == maps.key)
        again = check_map(*loaded, kept.image, kept.capture, tokens, maps.token_map(tokens))
        np.testing.assert_allclose(check.hottest, again.hottest, atol=1e-4)
        np.testing.assert_allclose(check.random, again.random, atol=1e-4)
        np.testing.assert_array_equal(check.hottest_cells, again.hottest_cells)
        assert check.verdict == "Holds up"
        assert check.sentences == (
            "Hide its 2 hottest patches: “heart” falls from 1.00 to 0.10.",
            "Hide 2 random ones instead: 0.98 (0.91 to 1.00 in 8 tries).",
            "This map points at what counts.",
        )


def test_the_page_takes_it_as_an_answer_that_is_in_no_store() -> None:
    kept = opened(FIRST)
    run = Run.of(kept)
    assert (run.kept, run.reused) == (None, True)
    assert run.missing(BEST) == ()
    assert run.without is kept.without
    (word,) = {tokens for _, tokens in run.checks}
    assert word == "2"
    needed = (run.capture.logprobs.numpy() - kept.without) / np.log(10)
    assert needed[2] > 1.9  # "heart": a hundred times likelier with the picture
    assert abs(needed[3]) < 0.2  # "at" is not
