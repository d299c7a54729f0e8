"""What docs/deploy.md says of settings and variables is so, and README opens as a Hugging Face Space."""

import re
from pathlib import Path

import pytest

from app import arguments
from page import environment
from page.address import ForbiddenError, seen
from page.network import Network

ROOT = Path(__file__).parents[2]
DEPLOY = (ROOT / "docs" / "deploy.md").read_text("utf-8")


def test_the_spaces_lines_agree_with_what_is_pinned() -> None:
    _, lines, _ = (ROOT / "README.md").read_text("utf-8").split("---\n", 2)
    said = dict(line.split(": ", 1) for line in lines.splitlines())
    pinned = re.search(r"^gradio==(\S+)", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    assert pinned is not None
    assert (said["sdk"], said["sdk_version"]) == ("gradio", pinned[1])
    assert (ROOT / said["app_file"]).is_file()
    assert said["python_version"] == '"3.11"'
    assert len(said["short_description"]) <= 60  # more is refused there


def test_every_setting_of_the_network_is_described_with_its_variables_and_option() -> None:
    rows = {row[1]: row for line in DEPLOY.splitlines() if len(row := line.split("|")) > 5}
    for setting, variables in environment.VARIABLES.items():
        row = rows[f" `{setting}` "]
        assert re.findall(r"`([A-Z_]+)`", row[3]) == list(variables)
        for option in re.findall(r"`(--[a-z-]+)`", row[2]):
            assert arguments([option, "1"])


def test_every_variable_that_is_refused_or_left_to_gradio_is_named() -> None:
    refused, left = (
        next(line for line in DEPLOY.splitlines() if line.startswith(f"| `{first}`"))
        for first in ("GRADIO_SHARE", "GRADIO_TEMP_DIR")
    )
    assert sorted(re.findall(r"`(GRADIO_[A-Z_]+)`", refused)) == sorted(environment.REFUSED)
    assert sorted(re.findall(r"`(GRADIO_[A-Z_]+)`", left)) == sorted(environment.LEFT_TO_GRADIO)


def test_the_refusal_that_is_shown_is_the_pages() -> None:
    said = [(b"host", b"127.0.0.1:7860"), (b"origin", b"https://lens.example.org")]
    scope = {"type": "http", "method": "POST", "path": "/login", "scheme": "http", "headers": said}
    with pytest.raises(ForbiddenError) as refused:
        seen(Network(), scope)
    assert f"```text\n{refused.value}\n```" in DEPLOY
