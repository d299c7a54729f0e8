"""The shell: gradcam."""

import json
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cli
import commands.run.answers
import commands.run.attention
import commands.run.evaluate
import commands.run.export
import commands.run.gradcam
from attention_processor import AttentionProcessor
from cli import main
from commands.terminal import counter
from methods import METHODS, token_maps, top_heads
from methods.catalog import LAYERED
from methods.grad_cam import smooth_grad_cam
from records.capture import Capture
from records.grad_cam import LABELS
from records.pictures import open_image
from records.targets import Contrast, Text
from tests.commands.kit import (
    ALWAYS,
    GRADCAM_REFUSALS,
    PROMPT,
    TOKENS,
    arrays,
    layer_files,
    left_behind,
    names,
    pixels,
)
from visualization import fitted, visualize_attention_on_image


@pytest.mark.parametrize("method", ["gradient-attention", "heads-3", "tam"])
def test_attention_by_another_method(
    run: Callable[..., int],
    out: Path,
    picture: Path,
    loaded: tuple[Any, Any],
    reference: Capture,
    method: str,
) -> None:
    assert run("--method", method) == 0
    if method == "heads-3":
        found = token_maps("attention", reference, pairs=top_heads(reference, 3))
    else:
        given = {"model": loaded[0], "processor": loaded[1], "image": open_image(picture)}
        found = token_maps(method, reference, **given)
    np.testing.assert_allclose(arrays(out)["maps"], found.maps, rtol=1e-5, atol=1e-12)
    assert METHODS[method].label in str(arrays(out)["method"])
    assert str(arrays(out)["caveat"]) == METHODS[method].caveat


def test_attention_without_sinks_says_so(run: Callable[..., int], out: Path, reference: Capture) -> None:
    assert run("--no-sinks") == 0
    assert "sinks" in str(arrays(out)["method"])
    assert arrays(out)["maps"].shape == (TOKENS, *reference.grid)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--method", "magic"], "argument --method"),
        (
            ["--method", "tam", "--layers", "1"],
            "--layers, --heads and --no-sinks do not belong to --method tam",
        ),
        (["--method", "tam", "--prompt-words"], "--prompt-words belongs to --method attention"),
    ],
)
def test_what_does_not_belong_to_a_method_is_one_line(
    run: Callable[..., int], out: Path, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert line in capsys.readouterr().err
    assert not out.exists()


def test_gradcam_files_equal_the_same_call_in_python(
    checkpoint: Path,
    picture: Path,
    out: Path,
    loaded: tuple[Any, Any],
    reference: Capture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--model", str(checkpoint), "--max-new-tokens", str(TOKENS), "--output", str(out)]
    look = [
        "--num-samples",
        "3",
        "--noise-std",
        "0.4",
        "--seed",
        "7",
        "--colormap",
        "magma",
        "--alpha",
        "0.4",
    ]
    code = main(["gradcam", str(picture), "--prompt", PROMPT, *given, *look, "--target", "2-4"])
    told = capsys.readouterr()
    assert code == 0
    assert told.out == reference.text + "\n"
    lines = [line.split("\r")[-1] for line in told.err.splitlines()]
    assert lines[-1] == f"Wrote 8 files to {out}"
    assert lines[-2].startswith("note: Layer 2, the last, is left out: no later layer reads")
    for bar in ("Answer: 100%", "Samples: 100%", "Pictures: 100%"):
        assert bar in told.err
    assert names(out) == layer_files(0, 1) | ALWAYS | {"layer_grid.png"}
    assert (out / "answer.txt").read_text(encoding="utf-8") == reference.text + "\n"

    image = open_image(picture)
    cam = smooth_grad_cam(*loaded, image, PROMPT, "all", [2, 3, 4], 3, 0.4, 7, answer=reference)
    made = arrays(out)
    np.testing.assert_array_equal(made["maps"], cam.maps)
    np.testing.assert_array_equal(made["scores"], cam.scores)
    assert made["layers"].tolist() == [0, 1]
    assert made["target_tokens"].tolist() == [2, 3, 4]
    assert (str(made["prompt"]), str(made["answer"]), str(made["target"])) == (
        PROMPT,
        reference.text,
        cam.target,
    )
    np.testing.assert_array_equal(pixels(out / "original.png"), np.asarray(image))
    expected = visualize_attention_on_image(
        fitted(image, 640), cam.maps[1], "magma", 0.4, title=" ", subtitle=" ", unit=""
    )
    box = expected.info["picture_box"]
    with Image.open(out / "layer_1_superimposed.png") as drawn:
        np.testing.assert_array_equal(np.asarray(drawn.crop(box)), np.asarray(expected.crop(box)))


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        ([], layer_files(0, 1) | {"layer_grid.png"}),
        (["--layers", "-3--2"], layer_files(0, 1) | {"layer_grid.png"}),
        (["--layer-range", "late"], layer_files(1) | {"layer_grid.png"}),
        (["--mode", "multi", "--layers", "1"], layer_files(1) | {"layer_grid.png"}),
        (["--mode", "comparative"], layer_files(0, 1) | {"layer_grid.png"}),
        (["--mode", "single"], layer_files(1)),
        (["--mode", "single", "--layer", "-3"], layer_files(0)),
    ],
)
def test_gradcam_modes(gradcam: Callable[..., int], out: Path, arguments: list[str], files: set[str]) -> None:
    assert gradcam(*arguments) == 0
    assert names(out) == files | ALWAYS


@pytest.mark.parametrize(
    ("arguments", "target", "answered"),
    [
        (["--target", "3"], 3, True),
        (["--target", "text:a red boat"], Text("a red boat"), False),
        (["--target", "text:red", "--at", "2"], Text("red", 2), True),
        (["--target", "contrast:red/blue", "--at", "2"], Contrast("red", "blue", 2), True),
        (["--target", "contrast:red/blue", "--at", "0"], Contrast("red", "blue", 0), False),
    ],
)
def test_gradcam_targets(
    gradcam: Callable[..., int],
    out: Path,
    picture: Path,
    loaded: tuple[Any, Any],
    reference: Capture,
    arguments: list[str],
    target: Any,
    answered: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert gradcam("--mode", "single", *arguments) == 0
    told = capsys.readouterr()
    assert ("Answer" in told.err) is answered
    cam = smooth_grad_cam(
        *loaded, open_image(picture), PROMPT, -2, target, 2, answer=reference if answered else None
    )
    assert told.out == (reference.text if answered else cam.text) + "\n"
    np.testing.assert_array_equal(arrays(out)["maps"], cam.maps)
    assert (out / "answer.txt").read_text(encoding="utf-8") == cam.text + "\n"


def test_gradcam_takes_the_method(
    gradcam: Callable[..., int], out: Path, picture: Path, loaded: tuple[Any, Any], reference: Capture
) -> None:
    assert gradcam("--method", "gradient-norm", "--layers", "1") == 0
    cam = smooth_grad_cam(
        *loaded, open_image(picture), PROMPT, 1, num_samples=2, method="gradient-norm", answer=reference
    )
    np.testing.assert_array_equal(arrays(out)["maps"], cam.maps)
    assert json.loads(str(arrays(out)["settings"]))["gradcam"]["method"] == "gradient-norm"
    assert tuple(LABELS) == LAYERED


def test_gradcam_of_a_word(gradcam: Callable[..., int], out: Path, reference: Capture) -> None:
    words = AttentionProcessor(reference).words()
    assert gradcam("--mode", "single", "--target", f"word:{len(words) - 1}") == 0
    assert arrays(out)["target_tokens"].tolist() == list(words[-1].tokens)


def test_gradcam_without_noise_takes_one_sample(
    gradcam: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gradcam("--noise-std", "0") == 0
    assert "Samples: 100%|██████████| 1/1" in capsys.readouterr().err
    settings = json.loads(str(arrays(out)["settings"]))
    assert settings["gradcam"]["noise_std"] == 0


@pytest.mark.parametrize(("arguments", "message"), GRADCAM_REFUSALS, ids=lambda value: str(value)[:40])
def test_a_gradcam_refusal_is_one_line_and_leaves_nothing(
    gradcam: Callable[..., int],
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = left_behind(tmp_path)
    assert gradcam(*arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    line = told.err.split("\r")[-1]
    assert line.startswith("error: ")
    assert message in line
    assert left_behind(tmp_path) == before


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("2-50", f"there is no token 50: the answer has {TOKENS} tokens"),
        ("word:99", "there is no word 99: the answer has "),
        ("contrast:zebra/blue", "the answer does not say 'zebra': name the position"),
    ],
)
def test_a_target_beyond_the_answer_is_refused_once_the_answer_is_known(
    gradcam: Callable[..., int],
    tmp_path: Path,
    reference: Capture,
    target: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = left_behind(tmp_path)
    assert gradcam("--target", target) == 2
    told = capsys.readouterr()
    assert told.out == reference.text + "\n"
    assert f"error: {message}" in told.err.splitlines()[-1]
    assert left_behind(tmp_path) == before


def test_commands_replace_each_others_pictures(
    gradcam: Callable[..., int], run: Callable[..., int], out: Path
) -> None:
    assert run("--tokens", "1") == 0
    assert gradcam() == 0
    assert names(out) == layer_files(0, 1) | ALWAYS | {"layer_grid.png"}
    assert gradcam("--mode", "single") == 0
    assert names(out) == layer_files(1) | ALWAYS
    assert run("--tokens", "1") == 0
    assert names(out) == {"token_001.png", "overview.png"} | ALWAYS


def test_ctrl_c_ends_the_samples(
    gradcam: Callable[..., int],
    tmp_path: Path,
    loaded: tuple[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain: Any = counter
    heard: list[tuple[int, int]] = []

    def interrupted(progress: Any) -> Callable[[int, int], None]:
        count = plain(progress)

        def listen(done: int, total: int) -> None:
            count(done, total)
            heard.append((done, total))
            signal.raise_signal(signal.SIGINT)

        return listen

    monkeypatch.setattr(commands.run.gradcam, "counter", interrupted)
    before = left_behind(tmp_path)
    assert gradcam() == 130
    assert heard == [(0, 2)]
    assert capsys.readouterr().err.endswith("\nStopped: nothing was written.\n")
    assert left_behind(tmp_path) == before
    assert not any(module._forward_hooks for module in loaded[0].modules())
    assert all(weight.requires_grad for weight in loaded[0].parameters())


def test_gradcam_help_shows_examples_that_can_be_parsed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["gradcam", "--help"])
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    examples = [line for line in shown if line.startswith("python cli.py gradcam photo")]
    assert len(examples) == 3
    parsed = [cli.parser().parse_args(shlex.split(line)[2:]) for line in examples]
    assert [args.target for args in parsed] == [
        ("all", None),
        ("text", "a red boat"),
        ("contrast", ("red", "blue")),
    ]
