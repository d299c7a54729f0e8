"""A model hub on this computer: serves folders the way huggingface_hub asks for them."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def fake_hub(models: dict[str, Path]) -> Iterator[str]:
    """Serve each model id from its folder, and yield the address. Ids in "gated/" ask for a login."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def answer(self) -> None:
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                name, rest = "/".join(parts[2:4]), parts[4:]
            else:
                name, rest = "/".join(parts[:2]), parts[2:]
            if name.startswith("gated/"):
                self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
            elif name not in models:
                self.send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
            elif parts[0] == "api":
                self.send(200, json.dumps(self.listing(name, rest)).encode())
            else:
                self.file(models[name] / "/".join(rest[2:]))

        def listing(self, name: str, rest: list[str]) -> Any:
            files = sorted(file for file in models[name].rglob("*") if file.is_file())
            entries = [
                {
                    "type": "file",
                    "path": str(file.relative_to(models[name])),
                    "rfilename": str(file.relative_to(models[name])),
                    "size": file.stat().st_size,
                    "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
                    "blobId": "0" * 40,
                }
                for file in files
            ]
            return entries if rest[:1] == ["tree"] else {"id": name, "sha": COMMIT, "siblings": entries}

        def file(self, path: Path) -> None:
            if not path.is_file():
                return self.send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            content = path.read_bytes()
            etag = f'"{hashlib.sha1(content).hexdigest()}"'
            return self.send(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT})

        def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
