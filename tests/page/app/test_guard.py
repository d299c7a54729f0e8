"""The page as it is served: whom the page answers."""

import io
import json
from pathlib import Path

import httpx
import pytest

from page.guard import only_uploaded_files
from page.site import Page
from tests.serving import PROMPT

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_foreign_hosts_and_origins_are_refused(site: tuple[Page, str]) -> None:
    url = site[1]
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 400
    upload = {"files": ("a.png", b"x")}
    for origin, line in (
        (
            "https://evil.example",
            "Requests from https://evil.example are refused. If the page is yours there, ",
        ),
        ("null", "Requests from other sites are refused."),
    ):
        answer = httpx.post(f"{url}/gradio_api/upload", files=upload, headers={"Origin": origin})
        assert answer.status_code == 403
        assert answer.json()["detail"].startswith(line)
    assert httpx.post(f"{url}/gradio_api/upload", files=upload, headers={"Origin": url}).status_code == 200


@pytest.mark.parametrize(
    "file",
    [
        {"path": "x", "url": "data:image/png;base64,AAAA"},
        {"path": "data:image/png;base64,AAAA"},
        {"path": "http://127.0.0.1:1/a.png"},
    ],
)
def test_files_come_by_upload_only(site: tuple[Page, str], file: dict[str, str]) -> None:
    body = {"data": [{**file, "meta": {"_type": "gradio.FileData"}}, PROMPT, 1, 0, 1, 0]}
    answer = httpx.post(f"{site[1]}/gradio_api/call/generate", json=body)
    assert (answer.status_code, len(answer.json()["detail"].splitlines())) == (400, 1)


def test_files_that_were_not_uploaded_stay_closed(site: tuple[Page, str], pictures: Path) -> None:
    """The path of a picture that lies on the server, and was not uploaded, is not read."""
    file = {"path": str(pictures / "a.png"), "meta": {"_type": "gradio.FileData"}}
    body = {"data": [file, PROMPT, 1, 0, 1, 0], "session_hash": "somebody"}
    event = httpx.post(f"{site[1]}/gradio_api/call/generate", json=body).json()["event_id"]
    told = httpx.get(f"{site[1]}/gradio_api/call/generate/{event}", timeout=60).text
    assert "event: error" in told
    assert str(pictures) not in told


def test_large_requests_are_refused(site: tuple[Page, str]) -> None:
    body = {"data": ["x" * 4_100_000]}
    assert httpx.post(f"{site[1]}/gradio_api/queue/join", json=body, timeout=60).status_code == 413
    big = {"files": ("big.png", io.BytesIO(bytes(21_000_000)))}
    assert httpx.post(f"{site[1]}/gradio_api/upload", files=big, timeout=60).status_code == 413


def test_a_question_may_speak_of_data_urls() -> None:
    assert only_uploaded_files(json.dumps({"data": ["data:image/png", {"text": "http://x"}]}).encode())
    assert not only_uploaded_files(b"[" * 100_000)
