"""The command line: files against the same calls in Python, one-line errors, and nothing half-written."""

import argparse
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

import cli
import commands.run.answers
import commands.run.attention
import commands.run.evaluate
import commands.run.export
import commands.run.gradcam
import config
import model as model_room
import records.pictures as pictures_room
import visualization
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from cli import main
from commands.arguments import numbers, ranges
from commands.evaluate import MEASURED
from commands.files import DRAWN_NAME, earlier_pictures
from commands.run.answers import default_model
from commands.run.check import tokens_meant
from commands.terminal import UsageError, counter, printable, stop_on_interrupt
from evaluation.removal import check_map
from evaluation.without_picture import without_image
from internals import exclusive
from methods import METHODS, token_maps, top_heads
from methods.catalog import LAYERED
from methods.grad_cam import smooth_grad_cam
from records.capture import Capture
from records.grad_cam import LABELS
from records.pictures import open_image
from records.targets import Contrast, Text
from tests.tiny import save_tiny
from visualization import fitted, shared_range, visualize_attention_on_image

ROOT = Path(cli.__file__).parent
PROMPT = "What is 这里 here?"
LAYERS, HEADS, TOKENS = 3, 4, 7  # of the tiny model; of its answers here


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("checkpoint"), layers=LAYERS, heads=HEADS)


@pytest.fixture(scope="module")
def loaded(checkpoint: Path) -> tuple[Any, Any]:
    return model_room.load_model(checkpoint)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of 168 x 112 pixels: 4 x 6 visual tokens."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).resize((168, 112), Image.Resampling.NEAREST).save(path)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "made" / "out"


@pytest.fixture
def run(
    picture: Path, out: Path, checkpoint: Path, loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run `attention` in this process, with the checkpoint that is loaded already."""
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: loaded)

    def call(*arguments: str, prompt: str = PROMPT) -> int:
        given = [
            "attention",
            str(picture),
            "--prompt",
            prompt,
            "--model",
            str(checkpoint),
            "--max-new-tokens",
            str(TOKENS),
            "--output",
            str(out),
        ]
        return main([*given, *arguments])

    return call


@pytest.fixture
def reference(loaded: tuple[Any, Any], picture: Path) -> Capture:
    """The same question, asked in Python."""
    return AttentionExtractor(*loaded).generate(open_image(picture), PROMPT, max_new_tokens=TOKENS)


def arrays(folder: Path) -> dict[str, Any]:
    with np.load(folder / "maps.npz", allow_pickle=False) as file:
        return dict(file)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.mode == "RGB"
        return np.asarray(image)


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} if folder.exists() else set()


def left_behind(tmp_path: Path) -> list[str]:
    return sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*"))


# --- what is written ---


def test_files_equal_the_same_calls_in_python(
    checkpoint: Path,
    picture: Path,
    out: Path,
    reference: Capture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [
        "--model",
        str(checkpoint),
        "--layers",
        "0,-1",
        "--heads",
        "1-3",
        "--max-new-tokens",
        str(TOKENS),
    ]
    code = main(["attention", str(picture), "--prompt", PROMPT, "--output", str(out), *given])
    told = capsys.readouterr()
    assert code == 0
    assert told.out == reference.text + "\n"
    assert told.err.splitlines()[-1] == f"Wrote {TOKENS + 4} files to {out}"
    assert "Answer: 100%" in told.err
    assert "Pictures: 100%" in told.err
    tokens = [f"token_{token:03d}.png" for token in range(TOKENS)]
    assert names(out) == {*tokens, "original.png", "overview.png", "answer.txt", "maps.npz"}
    assert (out / "answer.txt").read_text(encoding="utf-8") == reference.text + "\n"

    processor, made = AttentionProcessor(reference), arrays(out)
    assert made["maps"].shape == (TOKENS, 4, 6)
    assert made["maps"].dtype == np.float32
    for token in range(TOKENS):
        expected = processor.get_attention_heatmap_for_token(token, [0, 2], [1, 2, 3], "mean")
        np.testing.assert_array_equal(made["maps"][token], expected)
        np.testing.assert_array_equal(made["shares"][token], processor.shares(token, [0, 2], [1, 2, 3]))
    assert made["token_positions"].tolist() == list(range(TOKENS))
    assert made["token_ids"].tolist() == list(reference.token_ids)
    assert made["tokens"].tolist() == list(reference.tokens)
    np.testing.assert_allclose(made["logprobs"], reference.logprobs.numpy(), atol=1e-6)
    assert (made["layers"].tolist(), made["heads"].tolist()) == ([0, 2], [1, 2, 3])
    assert (made["grid"].tolist(), made["image_size"].tolist()) == ([4, 6], [112, 168])
    facts = [str(made[name]) for name in ("prompt", "answer", "model", "aggregation", "image_hash")]
    assert facts == [PROMPT, reference.text, str(checkpoint), "mean", reference.image_hash]
    assert json.loads(str(made["axes"]))["maps"] == ["token", "h", "w"]
    assert json.loads(str(made["settings"]))["generation"]["max_new_tokens"] == TOKENS

    original = open_image(picture)
    np.testing.assert_array_equal(pixels(out / "original.png"), np.asarray(original))
    with Image.open(out / "token_002.png") as drawn:
        expected_picture = visualize_attention_on_image(
            original, made["maps"][2], min_side=640, title=" ", subtitle=" "
        )
        assert drawn.size == expected_picture.size
        box = expected_picture.info["picture_box"]
        assert (box[2] - box[0], box[3] - box[1]) == (640, 427)
        np.testing.assert_array_equal(np.asarray(drawn.crop(box)), np.asarray(expected_picture.crop(box)))


def test_every_named_axis_is_there(run: Callable[..., int], out: Path) -> None:
    assert run("--tokens", "words", "--prompt-words", "--layers", "1-2") == 0
    made = arrays(out)
    sizes: dict[str, int] = {"h": 4, "w": 6, "part": 3, "layer": 2, "head": HEADS, "token": TOKENS}
    for name, axes in json.loads(str(made["axes"])).items():
        assert len(axes) == made[name].ndim, name
        for axis, size in zip(axes, made[name].shape, strict=True):
            assert sizes.setdefault(axis, size) == size, (name, axis)


def test_words_and_the_words_of_the_prompt(run: Callable[..., int], out: Path, reference: Capture) -> None:
    assert run("--tokens", "words", "--prompt-words", "--aggregation", "max") == 0
    processor, made = AttentionProcessor(reference), arrays(out)
    words, asked = processor.words(), processor.prompt_words()
    drawn = {f"word_{i:03d}.png" for i in range(len(words))} | {
        f"prompt_word_{i:03d}.png" for i in range(len(asked))
    }
    assert names(out) == drawn | {"original.png", "overview.png", "answer.txt", "maps.npz"}
    assert made["words"].tolist() == [word.text for word in words]
    assert made["prompt_words"].tolist() == [word.text for word in asked]
    for index, word in enumerate(words):
        expected = processor.get_attention_heatmap_for_token(word.tokens, aggregation="max")
        np.testing.assert_array_equal(made["word_maps"][index], expected)
        assert [token for token in made["word_tokens"][index] if token >= 0] == list(word.tokens)
    for index, word in enumerate(asked):
        expected = processor.get_attention_heatmap_for_prompt_token(word.tokens, aggregation="max")
        np.testing.assert_array_equal(made["prompt_word_maps"][index], expected)
    assert made["maps"].shape == (TOKENS, 4, 6)


@pytest.mark.parametrize(
    ("given", "chosen"), [("3", [3]), ("2-5", [2, 3, 4, 5]), ("4,1", [1, 4]), ("1-2,2-3", [1, 2, 3])]
)
def test_tokens_are_chosen_by_number(
    run: Callable[..., int], out: Path, given: str, chosen: list[int]
) -> None:
    assert run("--tokens", given) == 0
    assert {name for name in names(out) if name.startswith("token")} == {f"token_{t:03d}.png" for t in chosen}
    assert arrays(out)["token_positions"].tolist() == chosen


@pytest.mark.parametrize("scale", ["own", "shared"])
def test_scale_and_look(run: Callable[..., int], out: Path, picture: Path, scale: str) -> None:
    look = ("--colormap", "jet", "--alpha", "0.3", "--smooth", "--view", "side-by-side")
    assert run("--tokens", "1,5", "--scale", scale, *look) == 0
    maps = arrays(out)["maps"]
    low, high = shared_range(maps) if scale == "shared" else (None, None)
    expected = visualize_attention_on_image(
        fitted(open_image(picture), 640),
        maps[1],
        "jet",
        0.3,
        "side by side",
        True,
        low,
        high,
        title=" ",
        subtitle=" ",
    )
    with Image.open(out / "token_005.png") as drawn:
        for name in ("picture_box", "original_box", "bar_box"):
            box = expected.info[name]
            np.testing.assert_array_equal(np.asarray(drawn.crop(box)), np.asarray(expected.crop(box)))
    drawing = json.loads(str(arrays(out)["settings"]))["drawing"]
    assert (drawing["scale"], drawing["vmin"], drawing["vmax"]) == (scale, low, high)
    assert (drawing["colormap"], drawing["alpha"], drawing["smooth"]) == ("jet", 0.3, True)


def test_config_gives_the_defaults(
    run: Callable[..., int], out: Path, reference: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "EXTRACT_ALL_LAYERS", False)
    monkeypatch.setattr(config, "SPECIFIC_LAYERS", [-2])
    monkeypatch.setattr(config, "AGGREGATION", "min")
    monkeypatch.setattr(config, "HEATMAP_COLORMAP", "magma")
    assert run() == 0
    made = arrays(out)
    assert made["layers"].tolist() == [1]
    assert json.loads(str(made["settings"]))["drawing"]["colormap"] == "magma"
    expected = AttentionProcessor(reference).get_attention_heatmap_for_token(4, [1], None, "min")
    np.testing.assert_array_equal(made["maps"][4], expected)


def test_no_name_comes_from_the_prompt(run: Callable[..., int], out: Path, tmp_path: Path) -> None:
    before = set(left_behind(tmp_path))
    assert run("--prompt-words", "--tokens", "0", prompt="../../evil /etc/passwd <b>") == 0
    made = set(left_behind(tmp_path)) - before
    assert all(Path(name).parts[0] == "made" for name in made)
    assert all(DRAWN_NAME.fullmatch(name) for name in names(out) if "_" in name)


def test_a_second_run_replaces_the_first_and_leaves_other_files(run: Callable[..., int], out: Path) -> None:
    assert run("--prompt-words") == 0
    for name in ("token_999.png", "notes.txt", "word_000.png"):
        (out / name).write_text("mine")
    assert run("--tokens", "1-2") == 0
    ours = {"token_001.png", "token_002.png", "original.png", "overview.png", "answer.txt", "maps.npz"}
    assert names(out) == ours | {"token_999.png", "notes.txt", "word_000.png"}
    assert (out / "word_000.png").read_text() == "mine"


def test_a_maps_file_of_another_program_removes_nothing(run: Callable[..., int], out: Path) -> None:
    out.mkdir(parents=True)
    (out / "token_050.png").write_text("mine")
    for content in (b"", b"no zip", json.dumps({"settings": 1}).encode()):
        (out / "maps.npz").write_bytes(content)
        assert earlier_pictures(out / "maps.npz") == set()
    np.savez(
        out / "maps.npz", settings=np.array(json.dumps({"drawing": {"files": ["../picture.png", "a.png"]}}))
    )
    assert earlier_pictures(out / "maps.npz") == set()
    assert run("--tokens", "0") == 0
    assert "token_050.png" in names(out)


def test_only_the_first_frame_of_an_animation_is_used_and_said(
    run: Callable[..., int], picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [Image.new("RGB", (168, 112), colour) for colour in ("red", "blue")]
    frames[0].save(picture, format="GIF", save_all=True, append_images=frames[1:])
    assert run("--tokens", "0") == 0
    assert capsys.readouterr().err.startswith(
        "note: This picture is animated: only its first frame is used.\n"
    )


def test_values_of_twelve_bits_are_spread_and_said(
    run: Callable[..., int], picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.linspace(0, 4095, 112 * 168).astype(np.uint16).reshape(112, 168)).save(picture)
    assert run("--tokens", "0") == 0
    assert capsys.readouterr().err.startswith(
        "note: Its values run from 0 to 4,095: they are spread over all shades from black to white.\n"
    )


# --- refusals ---

REFUSALS: list[tuple[list[str], str]] = [
    (["--layers", "99"], "there is no layer 99: the model has 3 layers, 0 to 2"),
    (["--layers", "-4"], "there is no layer -4: the model has 3 layers, 0 to 2"),
    (["--layers", "2-1"], "the range of layers 2-1 runs backwards"),
    (["--layers", "1;2"], "argument --layers: '1;2' is no list of numbers and ranges such as 3 or 0-3,7"),
    (["--heads", "2,4"], "there is no head 4: the model has 4 heads, 0 to 3"),
    (["--tokens", "some"], "argument --tokens: 'some' is not all, words, or numbers such as 3, 2-5 or 1,4"),
    (["--tokens", "-1"], "argument --tokens: tokens are counted from 0; got -1"),
    (["--aggregation", "sum"], "argument --aggregation: invalid choice: 'sum'"),
    (["--colormap", "virids"], "unknown colour map 'virids'"),
    (["--alpha", "1.5"], "argument --alpha: must be a number from 0 to 1; got 1.5"),
    (["--alpha", "much"], "argument --alpha: must be a number from 0 to 1; got much"),
    (["--view", "sideways"], "argument --view: invalid choice: 'sideways'"),
    (["--max-new-tokens", "0"], "argument --max-new-tokens: must be a whole number from 1 to 32,768; got 0"),
    (["--max-new-tokens", "1.5"], "argument --max-new-tokens: must be a whole number"),
    (["--temperature", "-1"], "argument --temperature: must be a number from 0 to 10; got -1"),
    (["--temperature", "nan"], "argument --temperature: must be a number from 0 to 10; got nan"),
    (["--top-p", "0"], "argument --top-p: must be a number above 0 and up to 1; got 0"),
    (["--seed", "-1"], "argument --seed: must be a whole number from 0"),
    (["--prompt", " \n"], "argument --prompt: the prompt is empty"),
    (["--prompt", "x" * 100_000], "argument --prompt: 100,000 characters; at most 4,000 are allowed"),
    (["--prompt", "a <|image_pad|> b"], "may not contain the control token <|image_pad|>"),
    (["--colour", "red"], "unrecognized arguments: --colour red"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS, ids=lambda value: str(value)[:40])
def test_a_refusal_is_one_line_and_leaves_nothing(
    run: Callable[..., int],
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = left_behind(tmp_path)
    assert run(*arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    line = told.err.split("\r")[-1]  # what stays on the screen: a progress bar before it was wiped away
    assert line.startswith("error: ")
    assert message in line
    assert left_behind(tmp_path) == before


def in_a_shell(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    call = (
        ["-c", f"import sys, config, cli; {code}; sys.exit(cli.main(sys.argv[1:]))"] if code else ["cli.py"]
    )
    command = [sys.executable, *call, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)


def test_in_a_shell_a_refusal_is_exit_code_2_and_a_single_line(
    checkpoint: Path, picture: Path, out: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture.read_bytes()[:60])
    text = tmp_path / "text.txt"
    text.write_text("no picture")
    given = ("--prompt", "What?", "--model", str(checkpoint), "--output", str(out))
    before = left_behind(tmp_path)
    cases = [
        (
            (str(picture), *given, "--layers", "99"),
            "",
            "there is no layer 99: the model has 3 layers, 0 to 2",
        ),
        ((str(picture), *given, "--model", str(tmp_path / "none")), "", "there is no"),
        (
            (str(tmp_path / "none.png"), *given),
            "",
            f"{tmp_path / 'none.png'}: There is no such picture file.",
        ),
        ((str(broken), *given), "", "The picture file is damaged or incomplete."),
        ((str(text), *given), "", "The file is not a picture in a format that is read"),
        ((str(picture), *given, "--output", str(text)), "", f"cannot write into {text}: {text} is a file"),
        (
            (str(picture), *given),
            "config.HEATMAP_ALPHA = 2",
            "HEATMAP_ALPHA must be a number from 0 to 1; it is 2",
        ),
        ((), "", "the following arguments are required: IMAGE, --prompt"),
    ]
    for arguments, code, message in cases:
        done = in_a_shell("attention", *arguments, code=code)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: ")
        assert message.lower() in done.stderr.lower()
    assert left_behind(tmp_path) == before


def test_a_token_beyond_the_answer_is_refused_once_the_answer_is_known(
    run: Callable[..., int], tmp_path: Path, reference: Capture, capsys: pytest.CaptureFixture[str]
) -> None:
    before = left_behind(tmp_path)
    assert run("--tokens", "2-50") == 2
    told = capsys.readouterr()
    assert told.out == reference.text + "\n"
    assert told.err.endswith(
        f"error: there is no token 50: the answer has {TOKENS} tokens, 0 to {TOKENS - 1}\n"
    )
    assert left_behind(tmp_path) == before


def test_an_empty_answer_is_refused(
    run: Callable[..., int],
    tmp_path: Path,
    reference: Capture,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing = replace(
        reference,
        token_ids=(),
        tokens=(),
        text="",
        token_spans=(),
        attention=reference.attention[:0],
        text_attention=reference.text_attention[:0, :, :-TOKENS],
        shares=reference.shares[:0],
        logprobs=reference.logprobs[:0],
    )
    monkeypatch.setattr(AttentionExtractor, "generate", lambda *_, **__: nothing)
    before = left_behind(tmp_path)
    assert run() == 2
    assert capsys.readouterr().err.endswith(
        "error: the model gave an empty answer: there is nothing to draw\n"
    )
    assert left_behind(tmp_path) == before


def test_a_full_disk_leaves_the_earlier_files_as_they_were(
    run: Callable[..., int], out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--tokens", "0-1") == 0
    before = {name: (out / name).read_bytes() for name in names(out)}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    assert run("--tokens", "0-3", "--colormap", "jet") == 2
    assert capsys.readouterr().err.endswith("error: [Errno 28] No space left on device\n")
    assert {name: (out / name).read_bytes() for name in names(out)} == before


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (model_room.ModelError("no such checkpoint"), 2, "error: no such checkpoint"),
        (
            torch.cuda.OutOfMemoryError("CUDA\nout of memory"),
            2,
            "error: there is not enough memory; a smaller",
        ),
        (MemoryError(), 2, "error: there is not enough memory; a smaller"),
        (KeyError("head"), 1, "error: unexpected KeyError: 'head' (--debug shows where)"),
        (ValueError("two\nlines"), 2, "error: two lines"),
    ],
)
def test_errors_from_below_are_one_line(
    run: Callable[..., int],
    tmp_path: Path,
    error: Exception,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(commands.run.answers, "load_model", fail)
    before = left_behind(tmp_path)
    assert run() == code
    told = capsys.readouterr().err
    assert told.startswith(line)
    assert told.count("\n") == 1
    assert left_behind(tmp_path) == before
    with pytest.raises(type(error)):
        run("--debug")


# --- Ctrl-C ---


def test_ctrl_c_ends_the_answer_between_two_tokens(
    run: Callable[..., int],
    tmp_path: Path,
    loaded: tuple[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain: Any = AttentionExtractor.generate
    heard: list[int] = []
    captures: list[Capture] = []

    def interrupted(self: AttentionExtractor, *arguments: Any, on_token: Any, **settings: Any) -> Capture:
        def listen(text: str, count: int) -> None:
            on_token(text, count)
            heard.append(count)
            if count == 3:
                signal.raise_signal(signal.SIGINT)

        captures.append(plain(self, *arguments, on_token=listen, **settings))
        return captures[0]

    monkeypatch.setattr(AttentionExtractor, "generate", interrupted)
    handler, before = signal.getsignal(signal.SIGINT), left_behind(tmp_path)
    assert run() == 130
    assert heard[-1] <= 4
    assert captures[0].stopped
    assert capsys.readouterr().err.endswith("\nStopped: nothing was written.\n")
    assert left_behind(tmp_path) == before
    assert signal.getsignal(signal.SIGINT) is handler
    assert not any(module._forward_hooks for module in loaded[0].modules())


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    with stop_on_interrupt() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_while_drawing_leaves_the_earlier_files_as_they_were(
    run: Callable[..., int], out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--tokens", "0-1") == 0
    before = {name: (out / name).read_bytes() for name in names(out)}
    plain = visualization.save_image

    def interrupted(image: Image.Image, path: Path) -> Path:
        if path.name == "token_002.png":
            raise KeyboardInterrupt
        return plain(image, path)

    monkeypatch.setattr(commands.run.attention, "save_image", interrupted)
    assert run("--colormap", "jet") == 130
    assert capsys.readouterr().err.endswith("Stopped: nothing was written.\n")
    assert {name: (out / name).read_bytes() for name in names(out)} == before


def test_ctrl_c_in_a_shell(checkpoint: Path, picture: Path, out: Path, tmp_path: Path) -> None:
    before = left_behind(tmp_path)
    # A process started in the background may ignore Ctrl-C; here it is to be heard.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    given = [
        "--prompt",
        "What?",
        "--model",
        str(checkpoint),
        "--output",
        str(out),
        "--max-new-tokens",
        "20000",
    ]
    with subprocess.Popen(
        [sys.executable, "-c", code, "attention", str(picture), *given],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        seen = b""
        while b"token/s" not in seen or b" 0/" in seen.split(b"\r")[-1]:  # the first token is there
            told = os.read(process.stderr.fileno(), 4096)
            assert told, "it ended by itself"
            seen += told
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130
        assert rest.endswith(b"\nStopped: nothing was written.\n")
        assert b"Traceback" not in rest
        assert process.stdout.read() == b""
    assert left_behind(tmp_path) == before


# --- arguments ---


def test_ranges_and_numbers() -> None:
    assert ranges("0-3,-1") == ((0, 3), (-1, -1))
    assert ranges("-4--2, 7") == ((-4, -2), (7, 7))
    assert numbers(ranges("0-1,-1"), 5, "layer", "the model") == [0, 1, 4]
    assert numbers(ranges("-4--2,3"), 5, "layer", "the model") == [1, 2, 3]
    assert numbers(ranges("2--1"), 5, "layer", "the model") == [2, 3, 4]
    with pytest.raises(argparse.ArgumentTypeError, match="no list of numbers"):
        ranges("1-2-3")


def test_negative_ranges_need_no_equals_sign() -> None:
    joined = cli.joined_negatives(["--layers", "-2,-1", "--heads", "-3--1", "--smooth", "--layers"])
    assert joined == ["--layers=-2,-1", "--heads=-3--1", "--smooth", "--layers"]


def test_layers_from_the_end(run: Callable[..., int], out: Path) -> None:
    assert run("--tokens", "0", "--layers", "-2,-1") == 0
    assert arrays(out)["layers"].tolist() == [1, 2]


@pytest.mark.parametrize(("cuda", "expected"), [(True, config.MODEL_NAME), (False, "demo")])
def test_model_by_default(cuda: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert default_model() == expected


def test_help_shows_an_example_that_can_be_parsed(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["attention", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
    shown = capsys.readouterr().out
    example = next(
        line for line in shown.splitlines() if line.strip().startswith("python cli.py attention photo")
    )
    args = cli.parser().parse_args(shlex.split(example)[2:])
    assert (args.tokens, args.image) == ("words", "photo.jpg")


def test_help_needs_no_torch() -> None:
    done = in_a_shell("--help", code="import atexit; atexit.register(lambda: print('torch' in sys.modules))")
    assert done.returncode == 0
    assert done.stdout.endswith("False\n")


def test_on_the_way_to_an_answer_the_picture_is_decoded_once_and_hashed_once(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    decoded, sha256 = pictures_room._decoded, hashlib.sha256

    def decoding(file: Any) -> Any:
        calls.append("decoded")
        return decoded(file)

    def hashing(data: bytes) -> Any:
        calls.append("hashed")
        return sha256(data)

    monkeypatch.setattr(pictures_room, "_decoded", decoding)
    monkeypatch.setattr(pictures_room, "hashlib", SimpleNamespace(sha256=hashing))
    assert run() == 0
    assert calls == ["decoded", "hashed"]


def test_a_further_command_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    command = SimpleNamespace(
        HELP="Say a word.\n\nMore about it.",
        add_arguments=lambda parser: parser.add_argument("word"),
        check=lambda args: said.append("checked"),
    )
    work = SimpleNamespace(run=lambda args: said.append(args.word))
    monkeypatch.setitem(cli.COMMANDS, "say", cast(cli.Command, command))
    monkeypatch.setitem(sys.modules, "commands.run.say", cast(ModuleType, work))
    assert main(["say", "hello"]) == 0
    assert said == ["checked", "hello"]


def test_an_answer_cannot_rewrite_the_terminal(
    run: Callable[..., int],
    out: Path,
    reference: Capture,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wild = replace(reference, text="\x1b[2Jred\r\n\x9b1mcircle 👨‍👩‍👧", token_spans=((0, 4),) * TOKENS)
    monkeypatch.setattr(AttentionExtractor, "generate", lambda *_, **__: wild)
    assert run("--tokens", "0") == 0
    assert capsys.readouterr().out == "[2Jred\n1mcircle 👨‍👩‍👧\n"
    assert (out / "answer.txt").read_bytes().decode() == wild.text + "\n"


# --- gradcam ---


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


@pytest.fixture
def gradcam(
    picture: Path, out: Path, loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run `gradcam` in this process, with the checkpoint that is loaded already."""
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: loaded)

    def call(*arguments: str) -> int:
        given = ["gradcam", str(picture), "--prompt", PROMPT, "--max-new-tokens", str(TOKENS)]
        return main([*given, "--num-samples", "2", "--output", str(out), *arguments])

    return call


def layer_files(*layers: int) -> set[str]:
    return {f"layer_{n}_{kind}.png" for n in layers for kind in ("heatmap", "superimposed")}


ALWAYS = {"original.png", "answer.txt", "maps.npz"}


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


GRADCAM_REFUSALS: list[tuple[list[str], str]] = [
    (["--layers", "2"], "layer 2 is the last one and has no Grad-CAM: no later layer reads its features"),
    (["--mode", "single", "--layer", "-1"], "layer 2 is the last one and has no Grad-CAM"),
    (["--mode", "single", "--layer", "3"], "there is no layer 3: the model has 3 layers, 0 to 2"),
    (["--layers", "0-9"], "there is no layer 9: the model has 3 layers, 0 to 2"),
    (["--layer-range", "middle"], "'middle' is no layer of a model with 3 layers"),
    (["--layer-range", "most"], "argument --layer-range: invalid choice: 'most'"),
    (["--layer", "1"], "--layer belongs to --mode single; --mode grid takes --layers or --layer-range"),
    (["--mode", "single", "--layers", "1"], "--layers and --layer-range do not belong to --mode single"),
    (["--layers", "1", "--layer-range", "all"], "choose layers by --layers or by --layer-range, not both"),
    (["--at", "1"], "--at belongs to --target text:… or contrast:…"),
    (["--target", "words"], "argument --target: 'words' is not all, tokens such as 3, 2-5 or 1,4, word:2"),
    (["--target", "-1"], "argument --target: '-1' is not all, tokens"),
    (["--target", "contrast:red"], "argument --target: 'contrast:red' is not all, tokens"),
    (["--target", "contrast: /blue"], "argument --target: 'contrast: /blue' is not all, tokens"),
    (["--target", "text: "], "argument --target: 'text: ' is not all, tokens"),
    (["--target", "word:x"], "argument --target: 'word:x' is not all, tokens"),
    (["--num-samples", "0"], "argument --num-samples: must be a whole number from 1 to 10,000; got 0"),
    (["--noise-std", "-1"], "argument --noise-std: must be a number from 0 to 10; got -1"),
    (["--noise-std", "nan"], "argument --noise-std: must be a number from 0 to 10; got nan"),
    (["--mode", "some"], "argument --mode: invalid choice: 'some'"),
    (["--target", "text:a <|image_pad|>"], "may not contain the control token <|image_pad|>"),
]


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


# --- check ---


@pytest.fixture
def check(
    picture: Path, out: Path, loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run `check` in this process, with the checkpoint that is loaded already."""
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: loaded)

    def call(*arguments: str) -> int:
        given = ["check", str(picture), "--prompt", PROMPT, "--max-new-tokens", str(TOKENS)]
        return main([*given, "--no-cache", "--output", str(out), *arguments])

    return call


def test_a_check_writes_and_says_what_the_same_calls_in_python_do(
    check: Callable[..., int],
    out: Path,
    picture: Path,
    loaded: tuple[Any, Any],
    reference: Capture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--target", "2-3", "--method", "rollout", "--layers", "1-2", "--patches", "2,5"]
    assert check(*arguments, "--repeats", "3", "--seed", "4") == 0
    told = capsys.readouterr()
    assert names(out) == {"map.png", "curve.png", "curve.csv", "words.md", "check.json", "answer.txt"}
    image = open_image(picture)
    given: dict[str, Any] = {"model": loaded[0], "processor": loaded[1], "image": image, "capture": reference}
    found = token_maps("rollout", **given, tokens=(2, 3), layers=[1, 2])
    expected = check_map(
        tokens=(2, 3), heat=found.token_map((2, 3)), patches=[2, 5], repeats=3, seed=4, **given
    )
    known = json.loads((out / "check.json").read_text("utf-8"))
    assert known["map"] == expected.as_dict()
    assert (known["method"], known["settings"]["layers"]) == ("rollout", [1, 2])
    assert (out / "curve.csv").read_text() == expected.csv_text()
    on_picture = without_image(**given)
    assert known["with_and_without_picture"] == on_picture.as_dict()
    assert (out / "words.md").read_text("utf-8") == on_picture.table() + "\n"
    said = told.out.splitlines()
    assert {printable(expected.sentence(count)) for count in (2, 5)} <= set(said)
    assert printable(on_picture.sentence((2, 3), expected.text)) in said
    assert pixels(out / "map.png").std() > 0


def test_a_target_can_be_a_word_that_the_answer_says_once() -> None:
    words = ["The", "red", "cup", ",", "the", "blue"]
    capture = Capture.__new__(Capture)  # a stand-in whose tokens are its words
    starts = [sum(len(word) + 1 for word in words[:place]) for place in range(len(words))]
    spans = tuple((start, start + len(word)) for start, word in zip(starts, words, strict=True))
    for name, value in {
        "text": " ".join(words),
        "tokens": tuple(words),
        "token_spans": spans,
        "token_ids": tuple(range(6)),
    }.items():
        object.__setattr__(capture, name, value)
    assert tokens_meant("CUP", capture) == (2,)
    assert tokens_meant("word:5", capture) == (5,)
    assert tokens_meant("1-2,5", capture) == (1, 2, 5)
    with pytest.raises(UsageError, match="says 'the' 2 times; name one: word:0 or word:4"):
        tokens_meant("the", capture)
    with pytest.raises(UsageError, match="does not say 'contrast:a/b'; its words are 0 The, 1 red"):
        tokens_meant("contrast:a/b", capture)


CHECK_REFUSALS = [
    ([], "the following arguments are required: --target"),
    (["--target", "0", "--method", "magic"], "argument --method: invalid choice: 'magic'"),
    (["--target", "0", "--repeats", "0"], "--repeats: must be a whole number of at least 1; got 0"),
    (["--target", "50"], f"there is no token 50: the answer has {TOKENS} tokens"),
    (["--target", "word:99"], "there is no word 99: the answer has "),
    (["--target", "zebra"], "the answer does not say 'zebra'; its words are "),
    (["--target", "0", "--patches", "25"], "there is no number of patches 25: the picture has "),
    (["--target", "0", "--layers", "3"], "there is no layer 3: the model has 3 layers, 0 to 2"),
    (["--target", "0", "--method", "tam", "--heads", "1"], "Token activation map does not take 'heads'"),
]


@pytest.mark.parametrize(("arguments", "message"), CHECK_REFUSALS, ids=lambda value: str(value)[:40])
def test_a_check_that_cannot_be_made_is_one_line_and_leaves_nothing(
    check: Callable[..., int],
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = left_behind(tmp_path)
    assert check(*arguments) == 2
    line = capsys.readouterr().err.splitlines()[-1].split("\r")[-1]
    assert line.startswith("error: ")
    assert message in line
    assert left_behind(tmp_path) == before


def test_a_check_takes_the_answer_that_is_kept(
    check: Callable[..., int],
    run: Callable[..., int],
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--tokens", "0") == 0
    real: Any = main
    monkeypatch.setattr(AttentionExtractor, "generate", None)
    arguments = ["--target", "1", "--model", str(checkpoint), "--repeats", "1", "--patches", "1"]
    without_no_cache = [*arguments]
    monkeypatch.setitem(globals(), "main", lambda argv: real([one for one in argv if one != "--no-cache"]))
    assert check(*without_no_cache) == 0
    assert AGAIN in capsys.readouterr().err


# --- evaluate ---


@pytest.fixture(scope="module")
def demo() -> tuple[Any, Any]:
    return model_room.load_model("demo")


@pytest.fixture
def measure(out: Path, demo: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `evaluate` in this process, with the bundled model."""
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: demo)
    return lambda *arguments: main(["evaluate", "--model", "demo", "--output", str(out), *arguments])


REPORT = {f"evaluation.{ending}" for ending in ("md", "csv", "json", "png")}


def test_the_demo_is_measured_on_its_held_out_scenes(
    measure: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure("--limit", "2", "--methods", "attention,tam", "--curves", "1", "--seed", "5") == 0
    told = capsys.readouterr()
    assert names(out) == REPORT
    assert told.out == (out / "evaluation.md").read_text("utf-8") + "\n"
    known = json.loads((out / "evaluation.json").read_text("utf-8"))
    assert list(known["rows"]) == ["Attention", "Token activation map", "centre prior", "random", "uniform"]
    assert (known["settings"]["seed"], known["settings"]["data"]) == (5, "the demo's held-out scenes")
    hit = known["rows"]["Attention"]["figures"]["pointing"]
    assert hit["groups"] == 2
    assert hit["mean"] > known["rows"]["random"]["figures"]["pointing"]["mean"]
    assert known["rows"]["Attention"]["figures"]["deletion"]["groups"] == 1


def coco(folder: Path) -> Path:
    """Write a COCO folder of one example: a heart, where it is, and a picture that is missing."""
    folder.mkdir()
    example = ROOT / "demo" / "examples" / "star.png"
    (folder / "star.png").write_bytes(example.read_bytes())
    with Image.open(example) as image:
        width, height = image.size
    outline = [20, 10, 170, 10, 170, 160, 20, 160]
    of = {"image_id": 1, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]}
    data = {
        "images": [
            {"id": 1, "file_name": "star.png", "width": width, "height": height},
            {"id": 2, "file_name": "gone.png", "width": 9, "height": 9},
        ],
        "categories": [{"id": 1, "name": "heart"}, {"id": 2, "name": "fish"}, {"id": 3, "name": "sun"}],
        "annotations": [
            {**of, "id": 1, "category_id": 1, "segmentation": [outline]},
            {**of, "id": 2, "category_id": 3, "segmentation": [outline]},
            {**of, "id": 3, "category_id": 1, "segmentation": [outline], "image_id": 2},
        ],
    }
    (folder / "instances_x.json").write_text(json.dumps(data))
    return folder


def test_a_folder_in_coco_format_is_measured(
    measure: Callable[..., int], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = coco(tmp_path / "coco")
    assert measure("--data", str(folder), "--methods", "attention", "--curves", "0") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("1 word of 1 answer about 1 picture of instances_x.json" in line for line in lines)
    assert "- Left out, words for things that the annotations do not have: 1." in lines  # the fish
    assert "- Left out, things that the answer does not name: 1." in lines  # the sun
    assert "- Left out, pictures that are missing or cannot be read: 1." in lines
    assert next(line for line in lines if line.startswith("| Attention |")).startswith(
        "| Attention | 100.0 %"
    )
    assert names(out) == REPORT


MEASURE_REFUSALS = [
    (["--methods", "attention,magic"], "argument --methods: 'magic' is not one of attention, heads-3"),
    (["--limit", "0"], "--limit: must be a whole number of at least 1; got 0"),
    (["--prompt", "What?"], "--annotations and --prompt belong to --data"),
    (["--data", "no/such/folder"], "no/such/folder is not a folder"),
]


@pytest.mark.parametrize(("arguments", "message"), MEASURE_REFUSALS, ids=lambda value: str(value)[:40])
def test_a_measurement_that_cannot_be_made_is_one_line_and_leaves_nothing(
    measure: Callable[..., int],
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = left_behind(tmp_path)
    assert measure(*arguments) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert message in told.err
    assert left_behind(tmp_path) == before


def test_answers_without_a_word_to_judge_are_no_measurement(
    measure: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = coco(tmp_path / "coco")
    before = left_behind(tmp_path)
    assert measure("--data", str(folder), "--max-new-tokens", "1", "--methods", "attention") == 2
    line = capsys.readouterr().err.splitlines()[-1].split("\r")[-1]
    assert line.startswith("error: no word of any answer could be judged")
    assert left_behind(tmp_path) == before


def test_ctrl_c_ends_a_measurement_without_a_part_of_it(
    measure: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain: Any = counter
    heard: list[int] = []

    def interrupted(progress: Any) -> Callable[[int, int], None]:
        count = plain(progress)

        def listen(done: int, total: int) -> None:
            count(done, total)
            heard.append(done)
            if done == 1:
                signal.raise_signal(signal.SIGINT)

        return listen

    monkeypatch.setattr(commands.run.evaluate, "counter", interrupted)
    before = left_behind(tmp_path)
    assert measure("--limit", "3", "--methods", "attention", "--curves", "0") == 130
    assert heard == [0, 1]
    assert capsys.readouterr().err.endswith("\nStopped: nothing was written.\n")
    assert left_behind(tmp_path) == before


def test_the_methods_that_are_measured_are_those_of_the_catalogue() -> None:
    assert set(METHODS) - set(MEASURED) == {"heads-3", "heads-8"}


def test_the_methods_are_listed_with_paper_and_caveat(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for name, method in METHODS.items():
        needs = "reads the answer again" if method.needs_model else "at once"
        assert f"{name}: {method.label} ({needs}) {method.what} {method.caveat} {method.paper}" in told


@pytest.mark.parametrize("command", ["attention", "export", "check"])
def test_help_names_every_method(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    told = "".join(capsys.readouterr().out.split())  # lines are broken at hyphens too
    assert all(name in told for name in METHODS)


@pytest.mark.parametrize(("command", "count"), [("check", 2), ("evaluate", 2)])
def test_help_shows_examples_that_can_be_parsed(
    command: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    examples = [line for line in shown if line.startswith(f"python cli.py {command} ")]
    assert len(examples) == count
    for line in examples:
        assert cli.parser().parse_args(shlex.split(line)[2:]).output


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before
    assert exclusive._busy == set()


# --- what was answered before ---

AGAIN = "The same question was answered before: taken from the cache (--no-cache asks again)."


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows by the prompt each time the model is asked."""
    asked: list[str] = []
    generate = AttentionExtractor.generate

    def counted(self: AttentionExtractor, image: Any, prompt: str, **settings: Any) -> Capture:
        asked.append(prompt)
        return generate(self, image, prompt, **settings)

    monkeypatch.setattr(AttentionExtractor, "generate", counted)
    return asked


def test_the_same_question_answers_at_once(
    run: Callable[..., int],
    out: Path,
    answers: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run() == 0
    first, told = arrays(out), capsys.readouterr()
    assert AGAIN not in told.err

    def no_model(name: str) -> None:
        raise AssertionError("the model was loaded")

    with monkeypatch.context() as patched:
        patched.setattr(commands.run.answers, "load_model", no_model)
        assert run("--seed", "9") == 0  # which a greedy answer does not heed
        assert run("--layers", "0,-1", "--colormap", "jet") == 0  # recorded with all the others
    again = capsys.readouterr()
    assert again.err.splitlines().count(AGAIN) == 2
    assert again.out.splitlines() == told.out.splitlines() * 2
    assert len(answers) == 1
    third = arrays(out)
    assert third["layers"].tolist() == [0, 2]
    np.testing.assert_array_equal(first["token_ids"], third["token_ids"])
    assert run("--no-cache") == 0
    np.testing.assert_array_equal(first["maps"], arrays(out)["maps"])
    assert len(answers) == 2


def test_other_questions_are_asked(
    run: Callable[..., int], answers: list[str], own_cache: Path, checkpoint: Path
) -> None:
    for given in (["--layers", "1"], [], ["--temperature", "0.5"], ["--max-new-tokens", "3"]):
        assert run("--tokens", "0", *given) == 0
    assert run("--tokens", "0", prompt="What else?") == 0
    assert len(answers) == 5
    assert len(list(own_cache.iterdir())) == 5
    assert run("--tokens", "0", "--layers", "1") == 0
    os.utime(checkpoint / "model.safetensors")  # trained on: another model
    assert run("--tokens", "0") == 0
    assert len(answers) == 6


def test_without_cache_nothing_is_kept(run: Callable[..., int], own_cache: Path) -> None:
    assert run("--no-cache", "--tokens", "0") == 0
    assert list(own_cache.iterdir()) == []


def test_a_damaged_answer_is_asked_again(
    run: Callable[..., int], answers: list[str], own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run("--tokens", "0") == 0
    entry = next(own_cache.iterdir())
    (entry / "capture.safetensors").write_bytes(b"cut")
    assert run("--tokens", "0") == 0
    assert len(answers) == 2
    assert [message[:16] for message in caplog.messages] == ["the kept answer "]
    assert run("--tokens", "0") == 0
    assert len(answers) == 2


def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
    run: Callable[..., int],
    tmp_path: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setattr(config, "CACHE_DIR", str(blocked))
    assert run("--tokens", "0") == 0
    assert "note: the answer could not be kept: " in capsys.readouterr().err
    assert "token_000.png" in names(out)


def test_gradcam_explains_the_answer_that_is_kept(
    run: Callable[..., int],
    picture: Path,
    checkpoint: Path,
    tmp_path: Path,
    answers: list[str],
    own_cache: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(picture), "--prompt", PROMPT, "--model", str(checkpoint), "--max-new-tokens", str(TOKENS)]
    drawn = ["--mode", "single", "--num-samples", "1", "--target", "1-2"]

    def maps(name: str, *arguments: str) -> np.ndarray:
        folder = tmp_path / name
        assert main(["gradcam", *given, *drawn, "--output", str(folder), *arguments]) == 0
        return arrays(folder)["maps"]

    asked = maps("asked")
    assert list(own_cache.iterdir()) == []  # one layer of attention is no answer to keep
    assert run("--tokens", "0") == 0
    before = len(answers)
    capsys.readouterr()
    np.testing.assert_array_equal(maps("kept"), asked)
    assert len(answers) == before
    assert AGAIN in capsys.readouterr().err
    np.testing.assert_array_equal(maps("fresh", "--no-cache"), asked)
    assert len(answers) == before + 1


# --- export ---


@pytest.fixture
def share(
    picture: Path, out: Path, checkpoint: Path, loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run `export` with a question, in this process."""
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: loaded)

    def call(*arguments: str) -> int:
        given = ["export", str(picture), "--prompt", PROMPT, "--model", str(checkpoint)]
        return main([*given, "--max-new-tokens", str(TOKENS), "--output", str(out), *arguments])

    return call


def written(out: Path) -> set[str]:
    """Return the names in a folder without the answer's 8 digits, which are checked here."""
    found = names(out)
    assert len({name.split("-")[1][:8] for name in found}) == 1
    return {re.sub(r"^attention-[0-9a-f]{8}", "", name) for name in found}


def test_export_writes_each_format(
    share: Callable[..., int], out: Path, reference: Capture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert share("--format", "png,zip,gif,mp4,pdf,npz", "--layers", "1-2", "--heads", "0,3") == 0
    told = capsys.readouterr()
    assert told.out == reference.text + "\n"
    assert written(out) == {".png", ".zip", ".gif", ".mp4", ".pdf", ".npz"}
    assert told.err.splitlines()[-1] == f"Wrote {', '.join(sorted(names(out)))} to {out}"
    processor = AttentionProcessor(reference)
    with np.load(next(out.glob("*.npz"))) as made:
        for index, word in enumerate(processor.words()):
            expected = processor.get_attention_heatmap_for_token(word.tokens, [1, 2], [0, 3])
            np.testing.assert_array_equal(made["word_maps"][index], expected)


def test_export_of_chosen_tokens_and_of_the_prompt(share: Callable[..., int], out: Path) -> None:
    assert share("--tokens", "2-4", "--prompt-words", "--format", "png") == 0
    assert written(out) == {"-tokens-002-004.png", "-prompt.png"}


def test_a_kept_answer_is_exported_without_a_model(
    share: Callable[..., int],
    out: Path,
    picture: Path,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert share("--format", "png") == 0
    first = next(out.glob("*.png")).read_bytes()
    picture.unlink()

    def no_model(name: str) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(commands.run.answers, "load_model", no_model)
    assert main(["export", "--recent"]) == 0
    listed = capsys.readouterr().out.splitlines()[-1]
    entry_id = next(own_cache.iterdir()).name
    assert listed.startswith(f"{entry_id[:8]}  2")
    assert PROMPT in listed
    for name in ("last", entry_id, entry_id[:8]):
        next(out.glob("*.png")).unlink()
        assert main(["export", name, "--output", str(out)]) == 0
        assert next(out.glob("*.png")).read_bytes() == first


def test_a_list_of_nothing_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--recent"]) == 0
    assert capsys.readouterr().out == ""


def test_export_leaves_other_files(share: Callable[..., int], run: Callable[..., int], out: Path) -> None:
    assert run("--tokens", "0-1") == 0
    before = names(out)
    assert share("--format", "png") == 0
    assert before < names(out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a picture file with --prompt, or an id of --recent, or last"),
        (["last"], "no kept answers are named last: see --recent"),
        (["abcd1234"], "no kept answers are named abcd1234: see --recent"),
        (["../cache"], "'../cache' is neither an id of --recent nor last"),
        (["last", "--model", "demo"], "--model belongs to a picture file with --prompt"),
        (["last", "--recent"], "--recent lists what is kept; it takes no picture, prompt or id"),
        (["last", "--format", "bmp"], "'bmp' is not one of png, zip, gif, mp4, pdf, html, npz or all"),
    ],
)
def test_an_export_that_cannot_be_is_one_line(
    out: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *arguments, "--output", str(out)]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith("error: ")
    assert message in told.err
    assert not out.exists()


def test_a_picture_file_alone_is_told_what_is_missing(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(picture)]) == 2
    assert capsys.readouterr().err.endswith("nor last; for a picture file, add --prompt\n")


def test_a_layer_that_was_not_kept_is_refused(
    share: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert share("--layers", "1") == 0
    capsys.readouterr()
    assert main(["export", "last", "--layers", "0,1", "--output", str(out)]) == 2
    assert "layer 0 was not recorded for this answer; recorded: 1" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["zip", "gif", "mp4", "pdf"])
def test_ctrl_c_during_an_export_leaves_nothing_new(
    share: Callable[..., int],
    out: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert share("--format", "npz") == 0
    before = names(out)
    plain: Any = counter

    def interrupting(progress: Any) -> Callable[[int, int], None]:
        count = plain(progress)

        def step(done: int, total: int) -> None:
            count(done, total)
            if done == 2:
                os.kill(os.getpid(), signal.SIGINT)

        return step

    monkeypatch.setattr(commands.run.export, "counter", interrupting)
    assert share("--format", f"png,{kind}") == 130
    assert capsys.readouterr().err.endswith("Stopped: nothing was written.\n")
    assert names(out) == before
    assert all(not name.startswith(".") for name in left_behind(out.parent))
