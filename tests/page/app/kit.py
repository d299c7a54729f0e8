"""What several tests here share."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gradio_client import Client, handle_file  # type: ignore[import-untyped]

from attention_extractor import AttentionExtractor
from page.model_room import Loaded
from page.sessions import Run
from page.shown import subject_of
from records.capture import Capture
from records.selection import parsed_selection
from report.view import Subject
from tests.serving import PROMPT, noise

NEW = 6  # tokens of the answers that need not be long


def generated(
    client: Client, picture: Path, prompt: str = PROMPT, tokens: int = NEW, **settings: Any
) -> dict[str, Any]:
    return client.predict(handle_file(picture), prompt, tokens, api_name="/generate", **settings)


def soon(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def exhaust(stream: Iterator[Any]) -> None:
    while True:
        next(stream)


def answered_by(
    tokens: int, on_token: Callable[[str, int], None] | None = None
) -> Callable[[Loaded], Capture]:
    """Return the task of answering about the first picture."""

    def answer(loaded: Loaded) -> Capture:
        extractor = AttentionExtractor(loaded.model, loaded.processor)
        return extractor.generate(noise(0), PROMPT, max_new_tokens=tokens, on_token=on_token)

    return answer


def chosen(run: Run, *texts: str, **rest: Any) -> Subject:
    """Return what /heatmap draws of an answer."""
    return subject_of(run, parsed_selection(run.capture, *texts, **rest))
