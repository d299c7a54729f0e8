"""The shell: several pictures in one question."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import commands.run.answers
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from cli import main
from drawing.characters import isolated
from drawing.outline import whole_of
from methods import token_maps
from methods.grad_cam import smooth_grad_cam
from records.capture import Capture
from records.pictures import open_image
from tests.commands.kit import TOKENS, names, pixels
from visualization import MAX_SIDE, MIN_SIDE, visualize_attention_on_image

PROMPT = "Is <image> redder than <image>?"
GRIDS = [(4, 6), (5, 3)]


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Two pictures of GRIDS visual tokens."""
    found = []
    for number, (h, w) in enumerate(GRIDS):
        values = np.random.default_rng(number).integers(0, 256, (h * 28, w * 28, 3), dtype=np.uint8)
        path = tmp_path / f"{number}.png"
        Image.fromarray(values).save(path)
        found.append(str(path))
    return found


@pytest.fixture
def call(
    pictures: list[str], out: Path, checkpoint: Path, loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run a command about both pictures in this process, with the checkpoint that is loaded already."""
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: loaded)
    given = ["--prompt", PROMPT, "--model", str(checkpoint), "--max-new-tokens", str(TOKENS)]
    return lambda command, *more: main([command, *pictures, *given, "--output", str(out), *more])


@pytest.fixture
def direct(loaded: tuple[Any, Any], pictures: list[str]) -> Capture:
    images = [open_image(path) for path in pictures]
    return AttentionExtractor(*loaded).generate(images, PROMPT, max_new_tokens=TOKENS)


def test_each_picture_has_its_maps(
    call: Callable[..., int], pictures: list[str], out: Path, direct: Capture, capsys: Any
) -> None:
    assert call("attention", "--layers", "0,2") == 0
    told = capsys.readouterr()
    assert told.out == direct.text + "\n"
    processor = AttentionProcessor(direct)
    shares = processor.visual_shares(range(TOKENS), [0, 2])
    for number, (path, share) in enumerate(zip(pictures, shares, strict=True)):
        line = next(one for one in told.err.splitlines() if one.startswith(f"picture {number + 1} of 2, "))
        assert line.startswith(f"picture {number + 1} of 2, {path}: ")
        assert abs(float(line.split()[-4]) - 100 * share) <= 0.5
    drawn = {f"token_{token:03d}.png" for token in range(TOKENS)}
    assert names(out) == {"answer.txt", "picture_1", "picture_2"}
    for number, grid in enumerate(GRIDS):
        folder = out / f"picture_{number + 1}"
        assert names(folder) == drawn | {"original.png", "overview.png", "maps.npz"}
        with np.load(folder / "maps.npz") as made:
            assert made["maps"].shape == (TOKENS, *grid)
            for token in range(TOKENS):
                expected = processor.get_attention_heatmap_for_token(token, [0, 2], visual=number)
                np.testing.assert_array_equal(made["maps"][token], expected)
                share = processor.visual_shares(token, [0, 2])[number]
                np.testing.assert_allclose(made["picture_shares"][token], share, rtol=1e-6)
            assert made["grid"].tolist() == list(grid)
            assert str(made["image_hash"]) == direct.visuals[number].hash
        given = np.asarray(open_image(pictures[number]))
        np.testing.assert_array_equal(pixels(folder / "original.png"), given)
    assert told.err.splitlines()[-1] == f"Wrote {2 * (TOKENS + 3) + 1} files to {out}"


@pytest.mark.parametrize("colormap", ["glow", "viridis"])
def test_a_words_maps_are_drawn_by_one_measure(
    call: Callable[..., int], pictures: list[str], out: Path, direct: Capture, colormap: str
) -> None:
    assert call("attention", "--tokens", "3", "--colormap", colormap) == 0
    whole = token_maps("attention", direct).mean_map(3)
    for number, path in enumerate(pictures):
        heat = AttentionProcessor(direct).get_attention_heatmap_for_token(3, visual=number)
        ends: Any = {"vmin": whole.min(), "vmax": whole.max()}
        measure = {"whole": whole_of(whole.astype(np.float64))} if colormap == "glow" else ends
        expected = visualize_attention_on_image(
            open_image(path), heat, colormap, min_side=640, title=" ", subtitle=" ", **measure
        )
        box = expected.info["picture_box"]
        with Image.open(out / f"picture_{number + 1}" / "token_003.png") as drawn:
            np.testing.assert_array_equal(np.asarray(drawn.crop(box)), np.asarray(expected.crop(box)))


def test_a_check_is_of_the_picture_where_most_of_the_map_is(
    call: Callable[..., int], out: Path, direct: Capture, capsys: Any
) -> None:
    shares = AttentionProcessor(direct).visual_shares(2)
    assert call("check", "--target", "2", "--repeats", "2", "--no-cache") == 0
    assert f"Picture {int(np.argmax(shares)) + 1} of 2, " in capsys.readouterr().err
    found = json.loads((out / "check.json").read_text("utf-8"))
    assert (found["picture"], found["prompt"]) == (int(np.argmax(shares)) + 1, PROMPT)
    for which, (h, w) in enumerate(GRIDS, start=1):
        assert call("check", "--target", "2", "--repeats", "2", "--which", str(which), "--no-cache") == 0
        found = json.loads((out / "check.json").read_text("utf-8"))
        assert (found["picture"], found["map"]["patches_in_all"]) == (which, h * w)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["check", "--target", "2", "--which", "3"], "error: there is no picture 3: 2 were named"),
        (["check", "--target", "2", "--which", "0"], "must be a whole number of at least 1; got 0"),
        (
            ["attention", "--prompt", "Is <image> red?"],
            "The prompt says <image> once and is about 2 pictures",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    call: Callable[..., int], out: Path, capsys: Any, given: list[str], line: str
) -> None:
    assert call(*given) == 2
    assert line in capsys.readouterr().err.splitlines()[-1]
    assert names(out) == set()


def test_a_broken_picture_among_several_is_named(
    call: Callable[..., int], pictures: list[str], out: Path, capsys: Any
) -> None:
    Path(pictures[1]).write_text("no picture")
    assert call("attention") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: picture 2 ({pictures[1]}): ")


def test_it_is_kept_and_found_again(
    call: Callable[..., int], pictures: list[str], out: Path, answers: list[str]
) -> None:
    assert call("attention") == 0
    assert call("attention") == 0
    assert len(answers) == 1  # the second was taken from the cache
    pictures.reverse()
    assert call("attention") == 0
    assert len(answers) == 2  # the order counts


def test_what_an_earlier_run_wrote_goes_with_it(
    call: Callable[..., int], pictures: list[str], out: Path
) -> None:
    whole = {"original.png", "overview.png", "maps.npz", "token_001.png"}
    assert call("attention", "--tokens", "1") == 0
    (out / "picture_2" / "mine.txt").write_text("kept")
    first, second = pictures
    pictures[:] = [first]
    assert call("attention", "--tokens", "1", "--prompt", "Red?") == 0
    assert names(out) == {*whole, "answer.txt", "picture_2"}
    assert names(out / "picture_2") == {"mine.txt"}
    pictures[:] = [first, second]
    assert call("attention", "--tokens", "1") == 0
    assert names(out) == {"answer.txt", "picture_1", "picture_2"}
    assert (names(out / "picture_1"), names(out / "picture_2")) == (whole, {*whole, "mine.txt"})


def test_gradcam_draws_the_layers_on_each_picture(
    call: Callable[..., int], pictures: list[str], out: Path, loaded: tuple[Any, Any], direct: Capture
) -> None:
    settings = ("--layers", "0,1", "--num-samples", "1", "--noise-std", "0", "--target", "1")
    assert call("gradcam", *settings) == 0
    images = [open_image(path) for path in pictures]
    truth = smooth_grad_cam(*loaded, images, PROMPT, [0, 1], 1, 1, 0.0, answer=direct)
    assert names(out) == {"answer.txt", "picture_1", "picture_2"}
    for number, grid in enumerate(GRIDS):
        folder = out / f"picture_{number + 1}"
        with np.load(folder / "maps.npz") as made:
            assert made["maps"].shape == (2, *grid)
            for layer in (0, 1):
                expected = truth.layer_map(layer, number)
                np.testing.assert_allclose(made["maps"][layer], expected, rtol=1e-4, atol=1e-7)
            assert str(made["image_hash"]) == direct.visuals[number].hash
            target = str(made["target"])
        assert target.endswith(f" on picture {number + 1} of 2")
        drawn = visualize_attention_on_image(
            images[number],
            truth.layer_map(0, number),
            whole=whole_of(truth.maps[0].astype(np.float64)),  # both pictures by one measure
            view="overlay",
            title="layer 0 of 0 to 2",
            subtitle=f"{isolated(target)} · Grad-CAM",
            scale_label="Grad-CAM",
            unit="",
            min_side=MIN_SIDE,
            max_side=MAX_SIDE,
        )
        far = np.abs(pixels(folder / "layer_0_superimposed.png").astype(int) - np.asarray(drawn))
        assert far.max() <= 2  # the maps were computed twice
