"""A proxy that changes what real ones change: the path, the host, the headers, the port."""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

HOP = ("connection", "transfer-encoding", "keep-alive", "host", "content-length")


@contextmanager
def proxied(
    page: str,
    prefix: str = "",
    keeps_host: bool = False,
    strips: bool = True,
    adds: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Yield the address of a proxy before a page, at a port of its own and below `prefix`.

    Args:
        page: the page's own address.
        prefix: what stands before each path at the proxy; other paths are not found.
        keeps_host: whether the page is told the host that the browser asked, or its own.
        strips: whether the prefix is taken away before the page is asked.
        adds: headers that the page is sent too; "HOST" in them is the host that the browser asked.
    """

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            asked = self.headers["Host"]
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
            headers["Host"] = asked if keeps_host else urlsplit(page).netloc
            headers.update({name: value.replace("HOST", asked) for name, value in (adds or {}).items()})
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            upstream = http.client.HTTPConnection(urlsplit(page).netloc)
            try:
                path = self.path[len(prefix) :] if strips else self.path
                upstream.request(self.command, path, body or None, headers)
                answer = upstream.getresponse()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP:
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                while part := answer.read1():
                    self.wfile.write(part)
            except ConnectionError:
                pass  # the browser has left
            finally:
                upstream.close()

        do_GET = do_POST = do_HEAD = do_OPTIONS = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing: what goes through is the test's to look at."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}{prefix}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
