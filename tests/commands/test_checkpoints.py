"""The shell: adapters, and what is said of a checkpoint."""

from pathlib import Path

import pytest

from cli import main
from tests.commands.kit import AGAIN
from tests.published import published, published_adapter

SHAPES = {"model.language_model.layers.0.self_attn.q_proj": (64, 64)}


def test_an_adapter_is_applied_and_said(
    picture: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By itself, and with a base; the answers of the two are kept apart from the base's own."""
    base = published(tmp_path / "base", template=None)
    lora = published_adapter(tmp_path / "lora", base, SHAPES, spread=2.0)
    asked = ["attention", str(picture), "--prompt", "What?", "--max-new-tokens", "2", "--output", str(out)]
    notes = [
        "note: it has no chat template: the standard one of Qwen2.5-VL is used",
        f"note: the adapter {lora} is applied to {base}: 1 layers, merged into its weights",
    ]
    for named, said in (
        (["--adapter", str(lora)], notes),
        (["--model", str(base), "--adapter", str(lora)], notes),
        (["--model", str(base)], notes[:1]),
    ):
        assert main([*asked, *named]) == 0
        told = capsys.readouterr().err.splitlines()
        assert [line for line in told if line.startswith("note: ")] == said
        assert AGAIN not in told
        assert main([*asked, *named]) == 0
        assert AGAIN in capsys.readouterr().err.splitlines()


def test_a_refusal_is_said_to_its_end(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However long the names of folders in it are."""
    lora = published_adapter(tmp_path / ("long" * 40) / "lora", "/base/" + "else" * 25, SHAPES)
    assert main(["attention", str(picture), "--prompt", "What?", "--model", str(lora)]) == 2
    line = capsys.readouterr().err
    assert len(line) > 700
    assert line.endswith(f"in the shell --model BASE --adapter {lora}\n")


def test_an_adapter_belongs_to_a_question(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "last", "--adapter", "x", "--output", str(out)]) == 2
    assert "--adapter belongs to a picture file with --prompt" in capsys.readouterr().err
