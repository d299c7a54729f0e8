"""The page as it is served: start; the bundled model."""

import socket
from pathlib import Path

import pytest

import app
import config
import page.serve as serving_room
from tests.serving import free_port

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


# --- Start ---


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.main(["--port", str(port)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"Port {port} at 127.0.0.1 cannot be used: another program listens there. "
        "Close it, or choose another port with --port."
    ]


def test_a_wrong_setting_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "MAX_KEPT_BYTES", -1)
    assert app.main(["--port", str(free_port())]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("config.py: MAX_KEPT_BYTES must be")


def test_a_wrong_colour_map_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "HEATMAP_COLORMAP", "rainbows")
    assert app.main(["--port", str(free_port())]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_model_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert app.main(["--model", str(tmp_path), "--port", str(free_port())]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


# --- The bundled model ---


def test_the_bundled_model_is_loaded_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_room, "default_model", lambda: "demo")
    page = serving_room.prepared(None)
    assert page.room.loaded is not None
    assert page.status_text().startswith("demo is ready: ")


def test_with_cuda_the_large_model_waits_for_a_click(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_room, "default_model", lambda: config.MODEL_NAME)
    page = serving_room.prepared(None)
    assert page.room.loaded is None
    assert page.status_text() == f"{config.MODEL_NAME} is not loaded yet: press Load."
