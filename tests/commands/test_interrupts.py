"""The shell: ctrl-C."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import commands.run.answers
import commands.run.attention
import commands.run.evaluate
import commands.run.export
import commands.run.gradcam
import visualization
from attention_extractor import AttentionExtractor
from commands.terminal import stop_on_interrupt
from records.capture import Capture
from tests.commands.kit import ROOT, left_behind, names


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
