"""The shell: rows of a list that are about several pictures, and about clips."""

import csv
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
from records.capture import Capture
from records.opening import open_visual
from records.videos import open_video
from tests.clips import write_clip

ASKED, TOKENS = "Which is redder?", 3


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of two pictures and a clip."""
    folder = tmp_path / "files"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, (w, h) in {"a.png": (56, 84), "b.png": (84, 56)}.items():
        Image.fromarray(generator.integers(0, 256, (h, w, 3), dtype=np.uint8)).save(folder / name)
    write_clip(folder / "c.mp4", 8, size=(56, 56))
    return folder


@pytest.fixture
def batch(
    files: Path, out: Path, checkpoint: Path, loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run `batch` of a list beside the files in this process, with the checkpoint that is loaded already."""
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: loaded)

    def call(name: str, text: str, *more: str) -> int:
        (files / name).write_text(text, "utf-8")
        given = ["batch", str(files / name), "--model", str(checkpoint), "--max-new-tokens", str(TOKENS)]
        return main([*given, "--output", str(out), *more])

    return call


@pytest.fixture
def ask(files: Path, loaded: tuple[Any, Any]) -> Callable[..., Capture]:
    """Ask about files in Python."""

    def asked(*names: str) -> Capture:
        shown = [open_visual(files / name) for name in names]
        return AttentionExtractor(*loaded).generate(shown, ASKED, max_new_tokens=TOKENS)

    return asked


def table(out: Path, name: str) -> list[dict[str, str]]:
    with (out / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_is_about_all_its_pictures(
    batch: Callable[..., int], ask: Callable[..., Capture], out: Path
) -> None:
    text = f"image,prompt,image_2,image_3\na.png,{ASKED},c.mp4,b.png\nb.png,{ASKED},a.png,\na.png,{ASKED},,\n"
    assert batch("rows.csv", text) == 0
    asked = [("a.png", "c.mp4", "b.png"), ("b.png", "a.png"), ("a.png",)]
    answers, words = table(out, "answers"), table(out, "words")
    assert [row["image"] for row in answers] == [", ".join(names) for names in asked]
    assert [row["pictures"] for row in answers] == ["3", "2", "1"]
    for row, names in zip(answers, asked, strict=True):
        capture = ask(*names)
        processor, whole = AttentionProcessor(capture), capture.attention.float().mean((1, 2)).numpy()
        assert row["answer_text"] == capture.text
        assert float(row["on_image"]) == pytest.approx(whole.sum(1).mean(), abs=1e-4)
        if len(names) > 1:
            each = [float(share) for share in row["on_each"].split("; ")]
            places = [whole[:, visual.patches].sum(1).mean() for visual in capture.visuals]
            assert each == pytest.approx(places, abs=1e-4)
            assert row["image_width"] == ""
        own = [word for word in words if word["image"] == row["image"]]
        assert len(own) == len(processor.words())
        for word, found in zip(own, processor.words(), strict=True):
            heat = whole[list(found.tokens)].mean(0)  # (patch,)
            places = [heat[visual.patches].max() for visual in capture.visuals]
            number = int(np.argmax(places))
            visual = capture.visuals[number]
            step, y, x = np.unravel_index(heat[visual.patches].argmax(), visual.grid)
            assert [int(word[name]) for name in ("picture", "row", "column")] == [number + 1, y + 1, x + 1]
            time = f"{visual.times[step]:.3f}" if visual.times else None
            assert (float(word["time"]) if word["time"] else None) == (float(time) if time else None)
            assert float(word["on_image"]) == pytest.approx(heat.sum(), abs=1e-4)
            assert float(word["hottest"]) == pytest.approx(heat.max() / heat.sum(), abs=1e-4)
        folder = out / row["folder"]
        with np.load(next(folder.glob("*.npz"))) as made:
            maps = [made[name] for name in sorted(made) if name == "maps" or name.startswith("maps_")]
            flat = np.concatenate([one.reshape(TOKENS, -1) for one in maps], 1)
            np.testing.assert_allclose(flat, whole, rtol=1e-4, atol=1e-7)
        with Image.open(folder / "overview.png") as drawn:
            assert drawn.width > 200 * (sum(visual.grid[0] for visual in capture.visuals) - 1)
    assert "on the pictures" in (out / "index.html").read_text("utf-8")


def test_a_list_in_json_and_named_columns_are_the_same_question(
    batch: Callable[..., int], ask: Callable[..., Capture], out: Path, answers: list[str]
) -> None:
    rows = [json.dumps({"image": ["a.png", "b.png"]}), json.dumps({"image": "b.png"})]
    assert batch("rows.jsonl", "\n".join(rows), "--prompt", ASKED) == 0
    found = table(out, "answers")
    assert [row["answer_text"] for row in found] == [ask("a.png", "b.png").text, ask("b.png").text]
    count = len(answers)
    columns = ["--image-column", "left", "--image-column", "right"]
    assert batch("pairs.csv", "right,left\nb.png,a.png\n,b.png\n", *columns, "--prompt", ASKED) == 0
    assert len(answers) == count  # what is done is not done again
    assert [row["folder"] for row in table(out, "answers")] == [row["folder"] for row in found]


def test_a_picture_that_changed_is_looked_at_again(
    batch: Callable[..., int], files: Path, answers: list[str]
) -> None:
    rows = json.dumps({"image": ["a.png", "b.png"], "prompt": ASKED})
    assert batch("rows.jsonl", rows) == 0
    (files / "b.png").write_bytes((files / "a.png").read_bytes())
    assert batch("rows.jsonl", rows) == 0
    assert len(answers) == 2


def test_frames_of_a_clip_are_chosen_and_count(
    batch: Callable[..., int], files: Path, out: Path, answers: list[str], loaded: tuple[Any, Any]
) -> None:
    row = json.dumps({"image": "c.mp4", "prompt": ASKED})
    assert batch("rows.jsonl", row) == 0
    assert batch("rows.jsonl", row, "--max-frames", "2") == 0
    assert len(answers) == 2
    shown = open_video(files / "c.mp4", max_frames=2)
    capture = AttentionExtractor(*loaded).generate(shown, ASKED, max_new_tokens=TOKENS)
    (found,) = table(out, "answers")
    assert found["answer_text"] == capture.text
    assert [int(found[name]) for name in ("grid_height", "grid_width")] == list(capture.visuals[0].grid[1:])


def test_one_that_cannot_be_opened_is_named_by_its_place(
    batch: Callable[..., int], files: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "broken.png").write_text("no picture")
    rows = [{"image": ["a.png", "broken.png"]}, {"image": ["gone.png", "a.png"]}, {"image": "b.png"}]
    assert batch("rows.jsonl", "\n".join(map(json.dumps, rows)), "--prompt", ASKED) == 1
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("a.png, broken.png: picture 2 (broken.png): ") for line in lines)
    assert any(line.startswith("gone.png, a.png: picture 1 (gone.png): ") for line in lines)
    assert [row["image"] for row in table(out, "failed")] == ["a.png, broken.png", "gone.png, a.png"]
    assert [row["image"] for row in table(out, "answers")] == ["b.png"]


@pytest.mark.parametrize(
    ("name", "text", "more", "line"),
    [
        ("r.jsonl", '{"image": ["a.png", 3]}', [], "r.jsonl, line 1: picture 2 of 2 is no path of a file"),
        ("r.jsonl", '{"image": []}', [], "r.jsonl, line 1: 'image' names no picture"),
        ("r.csv", "image,image_2\n,b.png\n", [], "r.csv, line 2: picture 1 of 2 is no path of a file"),
        ("r.csv", "image\na.png\n", ["--image-column", "image", "--image-column", "x"], "has no column 'x'"),
        ("r.csv", "image\na.png\n", ["--fps", "2"], "--fps and --max-frames belong to a clip, and no file"),
    ],
)
def test_what_cannot_be_is_one_line(
    batch: Callable[..., int], name: str, text: str, more: list[str], line: str, capsys: Any
) -> None:
    assert batch(name, text, "--prompt", ASKED, *more) == 2
    assert line in capsys.readouterr().err.splitlines()[-1]
