"""The shell: many pictures."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image

import commands.run.answers
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from cli import main
from records.pictures import open_image
from report.batch import PAGE, write_index
from tests.commands.kit import PROMPT, ROOT, TOKENS, TWO_PROCESSES
from utils import locked

SIZES = {"a.png": (56, 84), "b c.png": (84, 56), "in/d.png": (56, 56)}  # (w, h)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "in").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, (w, h) in SIZES.items():
        Image.fromarray(generator.integers(0, 256, (h, w, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.md").write_text("not a picture")
    (folder / ".hidden.png").write_text("nor this")
    return folder


@pytest.fixture
def batch(
    pictures: Path, out: Path, checkpoint: Path, loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run `batch` in this process, with the checkpoint that is loaded already."""
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: loaded)

    def call(*arguments: str, source: Path = pictures, prompt: str | None = PROMPT) -> int:
        given = ["batch", str(source), "--model", str(checkpoint), "--max-new-tokens", str(TOKENS)]
        if "--answer-column" in arguments:
            given = given[:-2]
        asked = [] if prompt is None else ["--prompt", prompt]
        return main([*given, *asked, "--output", str(out), *arguments])

    return call


def table(out: Path, name: str) -> list[dict[str, str]]:
    with (out / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbered(row: dict[str, str]) -> dict[str, Any]:
    """Return a row of a table without its time, numbers as such."""
    values: dict[str, Any] = dict(row)
    for name, value in row.items():
        with suppress(ValueError):
            values[name] = float(value)
    values.pop("seconds", None)
    return values


def test_each_picture_is_answered_and_measured(
    batch: Callable[..., int], pictures: Path, out: Path, loaded: tuple[Any, Any]
) -> None:
    assert batch("--format", "npz,html", "--captures") == 0
    answers, words = table(out, "answers"), table(out, "words")
    assert [row["image"] for row in answers] == list(SIZES)
    for row in answers:
        capture = AttentionExtractor(*loaded).generate(open_image(pictures / row["image"]), PROMPT, TOKENS)
        processor = AttentionProcessor(capture)
        assert row["answer_text"] == capture.text
        assert [int(row[name]) for name in ("grid_height", "grid_width", "tokens")] == [*capture.grid, TOKENS]
        assert float(row["logprob"]) == pytest.approx(float(capture.logprobs.sum()), abs=1e-4)
        shares = capture.shares.float().mean((0, 1, 2)).tolist()
        assert [float(row[name]) for name in ("on_image", "on_prompt", "on_answer")] == pytest.approx(
            shares, abs=1e-4
        )
        own = [word for word in words if word["image"] == row["image"]]
        assert [word["text"] for word in own] == [word.text for word in processor.words()]
        for word, found in zip(own, processor.words(), strict=True):
            values = processor.get_attention_heatmap_for_token(found.tokens)
            place = np.unravel_index(values.argmax(), values.shape)
            assert (int(word["row"]) - 1, int(word["column"]) - 1) == tuple(map(int, place))
            share = values.ravel() / values.sum()
            assert float(word["hottest"]) == pytest.approx(share.max(), abs=1e-4)
            spread = math.prod(float(one) ** -float(one) for one in share)
            assert float(word["cells"]) == pytest.approx(spread, abs=0.02)
            chance = math.exp(sum(float(capture.logprobs[token]) for token in found.tokens))
            assert float(word["probability"]) == pytest.approx(chance, abs=1e-4)
        folder = out / row["folder"]
        endings = sorted(file.suffix for file in folder.iterdir())
        assert endings == [".html", ".json", ".npz", ".png", ".txt"]
        assert row["folder"] in (out / "index.html").read_text("utf-8")
    assert len(list((out / "captures").iterdir())) == len(SIZES)
    assert [row["text"] for row in parquet.read_table(out / "words.parquet").to_pylist()] == [
        word["text"] for word in words
    ]
    assert not list(out.glob("**/.*"))


def test_what_is_done_is_not_done_again(
    batch: Callable[..., int],
    pictures: Path,
    out: Path,
    answers: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert batch() == 0
    first = table(out, "answers")
    assert batch() == 0
    assert len(answers) == len(SIZES)
    assert table(out, "answers") == first
    shutil.copy(pictures / "b c.png", pictures / "a.png")  # another picture under the same name
    assert batch() == 0
    assert len(answers) == len(SIZES) + 1
    assert len(list((out / "items").iterdir())) == len(SIZES)
    capsys.readouterr()
    others = (["--aggregation", "max"], ["--keep", "1:0,0:3"], ["--generation", "greedy"], ["--again"])
    for number, more in enumerate(others, 1):
        assert batch(*more) == 0
        assert len(answers) == len(SIZES) + 1 + number * len(SIZES)
        assert "3 of 3 pictures are done." in capsys.readouterr().err


def test_a_picture_that_cannot_be_used_stops_nobody_else(
    batch: Callable[..., int], pictures: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "a.png").write_text("no picture")
    (pictures / "in" / "d.png").write_bytes(b"")
    assert batch() == 1
    assert [row["image"] for row in table(out, "answers")] == ["b c.png"]
    failed = table(out, "failed")
    assert [row["image"] for row in failed] == ["a.png", "in/d.png"]
    assert all("not a picture" in row["reason"] for row in failed)
    said = capsys.readouterr().err
    assert "1 of 3 pictures are done, 2 could not be used (failed.csv)." in said
    assert "a.png: The file is not a picture" in said
    assert "in/d.png" in (out / "index.html").read_text("utf-8")
    Image.new("RGB", (56, 56), "teal").save(pictures / "a.png")
    Image.new("RGB", (56, 56), "red").save(pictures / "in" / "d.png")
    assert batch() == 0
    assert not (out / "failed.csv").exists()


def test_a_second_batch_into_one_folder_waits_its_turn(
    batch: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.mkdir(parents=True)
    with locked(out) as is_ours:
        assert is_ours
        assert batch() == 2
        line = f"error: another batch writes into {out}: wait for it, or choose another --output"
        assert capsys.readouterr().err.splitlines()[-1] == line
        assert list(out.iterdir()) == []
    assert batch() == 0


def test_ctrl_c_keeps_what_is_done(
    batch: Callable[..., int], out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generate = AttentionExtractor.generate
    asked = []

    def interrupted(self: AttentionExtractor, *given: Any, **settings: Any) -> Any:
        asked.append(given)
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return generate(self, *given, **settings)

    monkeypatch.setattr(AttentionExtractor, "generate", interrupted)
    assert batch() == 130
    assert [row["image"] for row in table(out, "answers")] == ["a.png"]
    assert "1 of 3 pictures are done, 2 are left: run the same command again." in capsys.readouterr().err
    assert len(list((out / "items").iterdir())) == 1
    assert batch() == 0
    assert [row["image"] for row in table(out, "answers")] == list(SIZES)
    assert len(asked) == 4
    asked.clear()  # what is done again and not finished is not counted as done
    assert batch("--again") == 130
    assert [row["image"] for row in table(out, "answers")] == ["a.png"]


def test_the_second_ctrl_c_ends_it_at_once(
    batch: Callable[..., int], out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*given: Any, **settings: Any) -> Any:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")

    monkeypatch.setattr(AttentionExtractor, "generate", interrupted)
    assert batch() == 130
    assert "Stopped at once. What was done stays: run the same command again." in capsys.readouterr().err
    assert not list((out / "items").iterdir())


def test_a_list_has_prompts_and_answers_of_its_own(
    batch: Callable[..., int], pictures: Path, out: Path, answers: list[str]
) -> None:
    rows = [
        {"image": "a.png", "prompt": "Is it red?", "said": "No, it is not."},
        {"image": "in/d.png", "prompt": "", "said": "Ein Bär."},
    ]
    (pictures / "list.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n", "utf-8")
    with (pictures / "list.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for name in ("list.jsonl", "list.csv"):
        shutil.rmtree(out, ignore_errors=True)
        assert batch("--answer-column", "said", source=pictures / name) == 0
        found = [(row["prompt"], row["answer_text"]) for row in table(out, "answers")]
        assert found == [("Is it red?", "No, it is not."), (PROMPT, "Ein Bär.")]
    assert answers == []
    (pictures / "list.txt").write_text("a.png\n\nnowhere.png\n", "utf-8")
    assert batch(source=pictures / "list.txt") == 1
    assert [row["image"] for row in table(out, "answers")] == ["a.png"]
    assert table(out, "failed")[0]["reason"] == "There is no such picture file."


def test_rows_of_one_picture_are_apart(batch: Callable[..., int], pictures: Path, out: Path) -> None:
    rows = [
        {"image": "a.png", "prompt": "one\u2028two", "said": "Yes."},
        {"image": "a.png", "prompt": "one\u2028two", "said": "No <|image_pad|>."},
        {"image": "a.png", "prompt": "one\u2028two", "said": "Yes."},
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (pictures / "list.jsonl").write_text("\n".join(lines), "utf-8")
    out.mkdir(parents=True)
    (out / "index-de.html").write_text("a person's own")
    assert batch("--answer-column", "said", source=pictures / "list.jsonl") == 1
    assert [(row["prompt"], row["answer_text"]) for row in table(out, "answers")] == [
        ("one\u2028two", "Yes.")
    ]
    assert "control token <|image_pad|>" in table(out, "failed")[0]["reason"]
    assert (out / "index-de.html").exists()


def test_what_no_picture_can_be_answered_with_is_refused_once(
    batch: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in (["--thinking"], ["--tokens", "2-1"], ["--layers", "99"]):
        assert batch(*more) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not list(out.glob("items/*"))


@pytest.mark.parametrize(
    ("name", "text", "arguments", "line"),
    [
        ("l.csv", "file,prompt\na.png,x\n", [], "l.csv has no column 'image'; its columns are file, prompt"),
        ("l.csv", "image\na.png\n", ["--answer-column", "said"], "l.csv has no column 'said'"),
        ("l.csv", 'image,prompt\na.png,"x\n', [], "l.csv, after line 1: unexpected end of data"),
        ("l.jsonl", '{"image": "a.png"}\n[1]\n', [], "l.jsonl, line 2 is no JSON object"),
        ("l.jsonl", '{"image": 3}\n', [], "l.jsonl, line 1: 'image' names no picture"),
        ("l.jsonl", '{"image": "a.png"}\n', ["--answer-column", "said"], "line 1: 'said' holds no answer"),
        ("l.txt", "\n", [], "l.txt"),
        (
            "l.xlsx",
            "",
            [],
            "l.xlsx is neither a folder of pictures nor a list that ends in .txt, .csv, .jsonl",
        ),
        ("l.csv", None, [], "l.csv is not there"),
        ("l.csv", 'image,"pro', [], "l.csv, after line 0: unexpected end of data"),
        ("l.csv", "image\na.png\n", ["--prompt-column", "ask"], "l.csv has no column 'ask'"),
        ("l.txt", "a.png\n", ["--image-column", "x"], "--answer-column belong to .csv and .jsonl"),
        ("l.jsonl", '{"image": "a.png", "prompt": 3}\n', [], "line 1: 'prompt' holds no text"),
        ("l.jsonl", '{"image": "a.png", "prompt": "x\\ud800"}\n', [], "line 1: it has half a character"),
        ("l.jsonl", '{"image": "a\\u0000.png"}\n', [], "line 1: 'image' names no picture"),
        ("answers.csv", "image\na.png\n", ["--output", "HERE"], "would be written over"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(
    batch: Callable[..., int],
    pictures: Path,
    out: Path,
    name: str,
    text: str | None,
    arguments: list[str],
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if text is not None:
        (pictures / name).write_text(text, "utf-8")
    given = [str(pictures) if one == "HERE" else one for one in arguments]
    assert batch(*given, source=pictures / name) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert line in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_what_was_written_is_not_asked_about(
    batch: Callable[..., int], pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert batch("--output", str(pictures / "made")) == 0
        assert "3 of 3 pictures are done." in capsys.readouterr().err
    assert batch("--output", str(pictures)) == 2
    assert "choose another --output" in capsys.readouterr().err


def test_a_row_without_a_prompt_is_refused(
    batch: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(prompt=None) == 2
    assert "a.png: there is no prompt; add --prompt, or a column 'prompt'" in capsys.readouterr().err
    assert batch("--answer-column", "said") == 2
    assert "--answer-column belong to .csv and .jsonl" in capsys.readouterr().err


def test_two_processes_write_what_one_does(
    batch: Callable[..., int], pictures: Path, out: Path, tmp_path: Path, checkpoint: Path
) -> None:
    (pictures / "z.png").write_text("no picture")  # of the second one's share
    assert batch() == 1
    two = tmp_path / "two"
    launch = [*TWO_PROCESSES, "cli.py", "batch"]
    launch += [str(pictures), "--prompt", PROMPT, "--model", str(checkpoint), "--max-new-tokens", str(TOKENS)]
    done = subprocess.run(
        [sys.executable, *launch, "--output", str(two)], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 1, done.stderr
    assert " 2/2 " in done.stderr  # the first one's share
    assert done.stderr.count("3 of 4 pictures are done, 1 could not be used (failed.csv).") == 1
    assert table(two, "failed") == table(out, "failed")
    for name in ("answers", "words"):
        one, other = ([numbered(row) for row in table(folder, name)] for folder in (out, two))
        assert [row.keys() for row in one] == [row.keys() for row in other]
        for row, same in zip(one, other, strict=True):
            assert same == pytest.approx(row, abs=1e-3)  # they may compute with other numbers of threads
    assert not list(two.glob("**/.*"))


def test_the_index_of_many_has_pages(tmp_path: Path) -> None:
    rows = []
    for number in range(PAGE + 1):
        (tmp_path / "items" / str(number)).mkdir(parents=True)
        answer = {"answer_text": "<b>", "on_image": None}
        rows.append({"image": f"{number}.png", "prompt": "?", "answer": answer, "folder": str(number)})
    assert write_index(tmp_path, rows, []) == ["index.html"]
    first, second = ((tmp_path / name).read_text("utf-8") for name in ("index.html", "index-2.html"))
    assert "<h2>199.png" in first
    assert "<h2>200.png" not in first
    assert 'href="index-2.html"' in first
    assert "<h2>200.png" in second
    assert "<b></p>" not in second
    assert "&lt;b&gt;" in second
    write_index(tmp_path, rows[:1], [])
    assert not (tmp_path / "index-2.html").exists()


def test_a_system_prompt_is_read_and_is_another_question(
    batch: Callable[..., int], pictures: Path, out: Path, loaded: tuple[Any, Any]
) -> None:
    def logprobs(system: str | None) -> list[float]:
        return [
            float(
                AttentionExtractor(*loaded)
                .generate(open_image(pictures / name), PROMPT, TOKENS, system=system)
                .logprobs.sum()
            )
            for name in SIZES
        ]

    for arguments, system in ((["--system", "Be brief."], "Be brief."), ([], None)):
        assert batch(*arguments) == 0
        found = [float(row["logprob"]) for row in table(out, "answers")]
        assert found == pytest.approx(logprobs(system), abs=1e-4)
    assert logprobs(None) != pytest.approx(logprobs("Be brief."), abs=1e-3)
