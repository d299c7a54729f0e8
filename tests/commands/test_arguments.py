"""The shell: arguments."""

import argparse
import hashlib
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
import torch

import cli
import config
import records.pictures as pictures_room
from attention_extractor import AttentionExtractor
from cli import main
from commands.arguments import numbers, ranges
from model import default_model
from records.capture import Capture
from tests.commands.kit import (
    TOKENS,
    arrays,
    in_a_shell,
)


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
    assert (args.tokens, args.image) == ("words", ["photo.jpg"])


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
