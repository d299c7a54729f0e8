"""Fixtures that several tests here share."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import commands.run.answers
import commands.run.attention
import commands.run.evaluate
import commands.run.export
import commands.run.gradcam
import model as model_room
from attention_extractor import AttentionExtractor
from cli import main
from internals import exclusive
from records.capture import Capture
from records.pictures import open_image
from tests.commands.kit import HEADS, LAYERS, PROMPT, TOKENS
from tests.tiny import save_tiny


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("checkpoint"), layers=LAYERS, heads=HEADS)


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def demo() -> tuple[Any, Any]:
    return model_room.load_model("demo")


@pytest.fixture
def measure(out: Path, demo: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `evaluate` in this process, with the bundled model."""
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: demo)
    return lambda *arguments: main(["evaluate", "--model", "demo", "--output", str(out), *arguments])


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before
    assert exclusive._busy == set()


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
