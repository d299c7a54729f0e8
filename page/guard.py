"""Who may talk to the page: nobody by way of another site, and only with files that were uploaded.

Goes in: HTTP requests. Comes out: the same requests, or a refusal of one line. Knows nothing of what the
page does. Gradio itself answers any Host header, lets other sites' pages post to `/upload`, decodes
pictures that come inside the request (`data:`), past its own size limit, and fetches pictures by address.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 4_000_000  # bytes of a request that is not an upload: the longest prompt with room to spare
READING = ("GET", "HEAD", "OPTIONS")
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  (compared with, not bound to)


def middleware(host: str) -> list[Middleware]:
    """Return what stands before the page when it is served at this host."""
    hosts = ["*"] if host in EVERYWHERE else sorted({"127.0.0.1", "localhost", host.lower()})
    return [Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(Guard)]


class Guard:
    """Refuses posts from other sites' pages, bodies that are too large, and files inline or by address."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] in READING:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            await _refuse(403, "Requests from other sites are refused.")(scope, receive, send)
        elif headers.get("content-type", "").startswith("multipart/"):
            await self.app(scope, receive, send)  # an upload: Gradio counts its bytes against max_file_size
        else:
            await self._read(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, look at it, and pass it on."""
        body = b""
        message: Message = {"more_body": True}
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                await _refuse(413, "The request is too large.")(scope, receive, send)
                return
        if not only_uploaded_files(body):
            await _refuse(400, "Pictures have to be uploaded, not sent inline or by address.")(
                scope, receive, send
            )
            return
        await self.app(scope, _again(body, receive), send)


def only_uploaded_files(body: bytes) -> bool:
    """Return whether every file in a JSON body was uploaded: none inline (data:), none by address."""
    try:
        content = json.loads(body)
    except ValueError:
        return True  # not JSON: Gradio reads no files from it
    except RecursionError:
        return False
    for file in _dicts(content):
        path, url = file.get("path"), file.get("url")
        if isinstance(path, str) and "://" in path:
            return False
        if any(isinstance(place, str) and place.strip().lower().startswith("data:") for place in (path, url)):
            return False
    return True


def _dicts(content: Any) -> Iterator[dict[str, Any]]:
    """Yield every object inside a JSON value, without recursion."""
    waiting: list[Any] = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            waiting.extend(value)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that hands out the body that was read, then what comes after it."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay


def _refuse(status: int, line: str) -> JSONResponse:
    return JSONResponse({"detail": line, "error": line}, status_code=status)
