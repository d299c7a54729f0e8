"""The shell: evaluate."""

import json
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cli
import commands.run.answers
import commands.run.attention
import commands.run.evaluate
import commands.run.export
import commands.run.gradcam
from cli import main
from commands.evaluate import MEASURED
from commands.terminal import counter
from methods import METHODS
from tests.commands.kit import MEASURE_REFUSALS, REPORT, coco, left_behind, names


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
        needs += f", only for {method.needs.only}" if method.needs else ""
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
