"""What several tests here share: visitors from addresses of their own, and connections byte by byte."""

import io
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.serving import PROMPT, noise

LOOK: list[Any] = ["all", "all", "mean", None, None, None, None, "own", "attention", False, 0]
ANSWER = [6, None, None, 0, *[None] * 6, False]  # as /generate takes it, after picture and question
GONE = "This picture is no longer here: choose it again."


class Visitor:
    """Somebody at an address, which a proxy on this computer tells; each session is one of theirs."""

    def __init__(self, url: str, address: str) -> None:
        self.url, self.address = url, address
        self.http = httpx.Client(base_url=url, headers={"X-Forwarded-For": address}, timeout=60)

    def uploads(self, content: bytes, name: str = "a.png") -> httpx.Response:
        """Send a file."""
        return self.http.post("/gradio_api/upload", files={"files": (name, content)})

    def sends(self, content: bytes, name: str = "a.png") -> str:
        """Send a file, and return its path."""
        (path,) = self.uploads(content, name).json()
        return str(path)

    def has(self, path: str) -> bool:
        """Return whether a file can still be had."""
        return self.http.get(f"/gradio_api/file={path}").status_code == 200

    def joins(self, name: str, data: list[Any], session: str) -> httpx.Response:
        """Ask for something by the API, and read no answer."""
        return self.http.post(f"/gradio_api/call/{name}", json={"data": data, "session_hash": session})

    def reads(self, name: str, event: str) -> str:
        """Return all that is told of something that was asked for."""
        return self.http.get(f"/gradio_api/call/{name}/{event}").text

    def calls(self, name: str, data: list[Any], session: str) -> str:
        """Ask for something, and return all that is told of it."""
        return self.reads(name, self.joins(name, data, session).json()["event_id"])

    def asks(self, path: str, session: str) -> str:
        """Ask about a picture that was sent."""
        return self.calls("generate", [file_at(path), PROMPT, *ANSWER], session)

    def sees(self, session: str) -> str:
        """Return what is told of a map of the session's answer."""
        return self.calls("heatmap", ["3", *LOOK], session)


At = Callable[[str], Visitor]  # a visitor, by the address


def file_at(path: str) -> dict[str, Any]:
    """Return a file as Gradio's clients name it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def result_of(told: str) -> list[Any]:
    """Return what a call gave in the end."""
    assert "event: complete" in told, told
    return list(json.loads(told.rpartition("data: ")[2]))


def picture(seed: int) -> bytes:
    """Return a picture of noise as a PNG, of about 95 kB."""
    file = io.BytesIO()
    noise(seed).save(file, "PNG")
    return file.getvalue()


def files_in(folder: Path) -> list[Path]:
    """Return all files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """Yield a plain connection to a page."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=60) as connection:
        yield connection


def head(method: str, path: str, url: str, **headers: Any) -> bytes:
    """Return the beginning of a request; in names of headers _ stands for -."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(url).netloc}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def upload_body(content: bytes, field: str = "files", name: str = "a.png") -> bytes:
    """Return the body of an upload; its boundary is "edge"."""
    start = f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return start.encode() + content + b"\r\n--edge--\r\n"
