"""The shell: evaluate."""

import csv
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cli
import config
import evaluation.run
from attention_extractor import AttentionExtractor
from cli import main
from commands.evaluate import MEASURED
from methods import METHODS
from tests.commands.kit import MEASURE_REFUSALS, REPORT, ROOT, TWO_PROCESSES, coco, left_behind, names
from utils import locked


def listed(out: Path) -> list[dict[str, str]]:
    """Return what could not be used."""
    with (out / "failed.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def figures(out: Path) -> list[list[Any]]:
    """Return every word's figures: the map, the figure, the kind, the picture, the value."""
    found: list[list[Any]] = json.loads((out / "evaluation.json").read_text("utf-8"))["values"]
    return found


@pytest.fixture
def measure_into(
    tmp_path: Path, measure: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run `evaluate` without --output."""
    monkeypatch.setattr(config, "OUTPUT_DIR", str(tmp_path / "default"))
    return lambda *arguments: main(["evaluate", "--model", "demo", *arguments])


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make deletion and insertion cheap: no cell or all of them."""
    monkeypatch.setattr(evaluation.run, "steps", lambda cells: (0, cells))


def test_the_demo_is_measured_on_its_held_out_scenes(
    measure: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure("--limit", "2", "--methods", "attention,tam", "--curves", "1", "--seed", "5") == 0
    told = capsys.readouterr()
    assert names(out) == REPORT | {"items"}
    assert told.out == (out / "evaluation.md").read_text("utf-8") + "\n"
    known = json.loads((out / "evaluation.json").read_text("utf-8"))
    assert list(known["rows"]) == ["Attention", "Token activation map", "centre prior", "random", "uniform"]
    assert (known["settings"]["seed"], known["settings"]["data"]) == (5, "the demo's held-out scenes")
    hit = known["rows"]["Attention"]["figures"]["pointing"]
    assert hit["groups"] == 2
    assert hit["mean"] > known["rows"]["random"]["figures"]["pointing"]["mean"]
    assert known["rows"]["Attention"]["figures"]["deletion"]["groups"] == 1


def test_a_folder_in_coco_format_is_measured(
    measure: Callable[..., int], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = coco(tmp_path / "coco")
    assert measure("--data", str(folder), "--methods", "attention", "--curves", "0") == 0
    told = capsys.readouterr()
    assert "gone.png: there is no such picture in the folder\n" in told.err
    assert listed(out) == [{"image": "gone.png", "reason": "there is no such picture in the folder"}]
    lines = told.out.splitlines()
    assert any("1 word of 1 answer about 1 picture of instances_x.json" in line for line in lines)
    assert "- Left out, words for things that the annotations do not have: 1." in lines  # the fish
    assert "- Left out, things that the answer does not name: 1." in lines  # the sun
    assert "- Left out, pictures that are missing or cannot be read: 1." in lines
    assert next(line for line in lines if line.startswith("| Attention |")).startswith(
        "| Attention | 100.0 %"
    )
    assert names(out) == REPORT | {"items", "failed.csv"}


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
    measure: Callable[..., int], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = coco(tmp_path / "coco")
    assert measure("--data", str(folder), "--max-new-tokens", "1", "--methods", "attention") == 2
    line = capsys.readouterr().err.splitlines()[-1].split("\r")[-1]
    assert line.startswith("error: no word of any answer could be judged")
    assert names(out) == {"items", "failed.csv"}


@pytest.mark.usefixtures("few_steps")
def test_what_is_measured_is_not_measured_again(
    measure: Callable[..., int], tmp_path: Path, out: Path, answers: list[str]
) -> None:
    folder = coco(tmp_path / "coco")
    given = ["--data", str(folder), "--methods", "attention"]
    assert measure(*given, "--curves", "1") == 0
    first = figures(out)
    assert len(answers) == 2  # once more for deletion and insertion, by the maps that are there
    assert measure(*given, "--curves", "1") == 0
    assert measure(*given, "--curves", "2") == 0
    assert figures(out) == first
    assert len(answers) == 2
    assert measure(*given, "--curves", "1", "--again") == 0
    assert figures(out) == first
    assert len(answers) == 4
    known = json.loads((folder / "instances_x.json").read_text("utf-8"))
    known["annotations"][0]["segmentation"] = [[20, 10, 90, 10, 90, 160, 20, 160]]
    (folder / "instances_x.json").write_text(json.dumps(known))
    assert measure(*given, "--curves", "1") == 0
    assert len(answers) == 6
    assert figures(out) != first
    assert measure(*given, "--curves", "1", "--seed", "3") == 0
    assert len(answers) == 8


@pytest.mark.usefixtures("few_steps")
def test_without_a_folder_of_its_own_nothing_stays_but_the_table(
    measure_into: Callable[..., int], tmp_path: Path, answers: list[str]
) -> None:
    for _ in range(2):
        assert measure_into("--limit", "1", "--methods", "attention", "--curves", "1") == 0
        assert {file.name for file in (tmp_path / "default").iterdir()} == REPORT
    assert len(answers) == 8  # a caption and a question, each again for deletion and insertion


def disturbed_at(call: int, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> list[str]:
    """Have Ctrl-C pressed in that answer, or an error raised; return a list that grows by each answer."""
    generate, asked = AttentionExtractor.generate, list[str]()

    def disturbed(self: AttentionExtractor, image: Any, prompt: str, **settings: Any) -> Any:
        asked.append(prompt)
        if len(asked) == call and error is not None:
            raise error
        if len(asked) == call:
            signal.raise_signal(signal.SIGINT)
        return generate(self, image, prompt, **settings)

    monkeypatch.setattr(AttentionExtractor, "generate", disturbed)
    return asked


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize(
    ("call", "rest"),
    [
        (2, "1 of 2 answers are measured. Run the same command again for the rest."),
        (4, "2 of 2 answers are measured, deletion and insertion of 1 of 2. Run the same command again"),
    ],
)
def test_ctrl_c_keeps_what_is_measured(
    measure: Callable[..., int],
    out: Path,
    call: int,
    rest: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--limit", "1", "--methods", "attention", "--curves", "1"]
    asked = disturbed_at(call, monkeypatch)
    assert measure(*given) == 130
    told = capsys.readouterr()
    assert (told.out, rest in told.err) == ("", True)
    assert names(out) == {"items"}
    assert not list(out.glob("items/.*"))
    assert measure(*given) == 0
    assert len(asked) == 5  # 2 answers, both again for their curves, and the one that was interrupted
    after = figures(out)
    assert measure(*given, "--again") == 0
    assert figures(out) == after


def test_the_second_ctrl_c_ends_it_at_once(
    measure: Callable[..., int],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def twice(*given: Any, **settings: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    monkeypatch.setattr(AttentionExtractor, "generate", twice)
    assert measure("--limit", "1") == 130
    assert "Stopped at once. What was done stays: run the same command again." in capsys.readouterr().err
    assert not list((out / "items").iterdir())


def test_ctrl_c_without_a_folder_of_its_own_leaves_nothing(
    measure_into: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    disturbed_at(2, monkeypatch)
    before = left_behind(tmp_path)
    assert measure_into("--limit", "2", "--methods", "attention", "--curves", "0") == 130
    assert capsys.readouterr().err.endswith("\nStopped: nothing was written.\n")
    assert left_behind(tmp_path) == before


def test_an_answer_that_cannot_be_measured_stops_nobody_else(
    measure: Callable[..., int],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--limit", "2", "--methods", "attention", "--curves", "0"]
    asked = disturbed_at(2, monkeypatch, ValueError("the picture is\ntoo strange"))
    assert measure(*given) == 1
    told = capsys.readouterr()
    assert "scene-1: the picture is too strange" in told.err
    assert "- Left out, answers that could not be measured: 1." in told.out.splitlines()
    assert listed(out) == [{"image": "scene-1", "reason": "the picture is too strange"}]
    assert names(out) == REPORT | {"items", "failed.csv"}
    assert measure(*given) == 0
    assert names(out) == REPORT | {"items"}
    assert len(asked) == 5


def test_a_damaged_picture_and_annotation_are_listed(
    measure: Callable[..., int], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = coco(tmp_path / "coco")
    (folder / "gone.png").write_text("no picture")
    known = json.loads((folder / "instances_x.json").read_text("utf-8"))
    for number, name in ((3, "outlines.png"), (4, "size.png")):
        (folder / name).write_bytes((folder / "star.png").read_bytes())
        known["images"].append({**known["images"][0], "id": number, "file_name": name})
        known["annotations"].append({**known["annotations"][0], "id": number + 1, "image_id": number})
    known["images"][-1]["width"] = 999
    known["annotations"][-2]["segmentation"] = {"counts": "\u0001", "size": "?"}
    (folder / "instances_x.json").write_text(json.dumps(known))
    assert measure("--data", str(folder), "--methods", "attention", "--curves", "0") == 0
    said, found = capsys.readouterr().err, listed(out)
    assert [row["image"] for row in found] == ["gone.png", "outlines.png", "size.png"]
    for row, part in zip(found, ("not a picture", "outlines cannot be read", "another size"), strict=True):
        assert part in row["reason"]
        assert f"{row['image']}: {row['reason']}\n" in said


def test_a_second_evaluation_into_one_folder_is_refused(
    measure: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.mkdir(parents=True)
    with locked(out):
        assert measure("--limit", "1") == 2
    line = f"error: another evaluation writes into {out}: wait for it, or choose another --output"
    assert capsys.readouterr().err == f"{line}\n"


def test_two_processes_measure_what_one_does(measure: Callable[..., int], out: Path, tmp_path: Path) -> None:
    folder = coco(tmp_path / "coco")
    known = json.loads((folder / "instances_x.json").read_text("utf-8"))
    (folder / "same.png").write_bytes((folder / "star.png").read_bytes())
    known["images"].append({**known["images"][0], "id": 3, "file_name": "same.png"})
    known["annotations"].append({**known["annotations"][0], "id": 4, "image_id": 3})
    (folder / "instances_x.json").write_text(json.dumps(known))
    given = ["--data", str(folder), "--methods", "attention", "--curves", "1"]
    assert measure(*given) == 0
    two = tmp_path / "two"
    launch = [*TWO_PROCESSES, "cli.py", "evaluate"]
    done = subprocess.run(
        [sys.executable, *launch, "--model", "demo", *given, "--output", str(two)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert " 1/1 " in done.stderr  # the first one's share of two
    assert done.stdout.count("| Attention |") == 1
    assert names(two) == REPORT | {"items", "failed.csv"}
    assert listed(two) == listed(out)
    one, other = figures(out), figures(two)
    assert [value[:4] for value in one] == [value[:4] for value in other]
    same = pytest.approx([value[4] for value in one], abs=1e-3)  # they may have other numbers of threads
    assert [value[4] for value in other] == same


def test_the_methods_that_are_measured_are_those_of_the_catalogue() -> None:
    assert set(METHODS) - set(MEASURED) == {"heads-3", "heads-8"}


def test_the_methods_are_listed_with_paper_and_caveat(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for name, method in METHODS.items():
        needs = "reads the answer again" if method.needs_model else "at once"
        needs += f", only for {method.needs.only}" if method.needs else ""
        assert f"{name}: {method.label} ({needs}) {method.what} {method.caveat} {method.paper}" in told


@pytest.mark.parametrize("command", ["attention", "export", "check"])
def test_help_names_every_method(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    told = "".join(capsys.readouterr().out.split())  # lines are broken at hyphens too
    assert all(name in told for name in METHODS)


@pytest.mark.parametrize(("command", "count"), [("check", 3), ("evaluate", 2)])
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
