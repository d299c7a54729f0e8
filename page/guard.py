"""Who may talk to the page: nobody by way of another site, and only with files that were uploaded.

Goes in: HTTP requests. Comes out: the same requests, or a refusal of one line. Knows nothing of what the
page does. Gradio itself answers any Host header, believes anybody's forwarded headers, lets other sites'
pages post to `/upload`, decodes pictures that come inside the request (`data:`), past its own size limit, and
fetches pictures by address.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from page.address import READING, Address, ForbiddenError, seen
from page.network import Network

MAX_BODY = 4_000_000  # bytes of a request that is not an upload: the longest prompt with room to spare
# What Gradio is told the page's address is, while it writes the page itself. It is taken out again, so that
# all in the page is relative to wherever the browser has it open.
HERE = "here.invalid"
# Gradio reads addresses from these, whoever sent them.
_FORWARDED = ("x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix", "x-gradio-server", "forwarded")
_SAYS_REFUSALS = f"""<script type="module">
{Path(__file__).with_name("refused.js").read_text("utf-8")}</script></head>"""
_ALLOWED = "/gradio_api/allowed"  # what that script asks
_MOST_TOLD = 20  # refusals that the terminal is told, each once

log = logging.getLogger(__name__)


def middleware(network: Network) -> list[Middleware]:
    """Return what stands before the page when it is served in this network."""
    return [Middleware(Guard, network=network)]


class Guard:
    """Refuses posts from other sites' pages, bodies that are too large, and files inline or by address.

    What it lets through has the one address under which its sender has the page, whatever proxies there are.
    """

    def __init__(self, app: ASGIApp, network: Network) -> None:
        self.app = app
        self.network = network
        self.told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            address = seen(self.network, scope)
        except ForbiddenError as refusal:
            self._tell(str(refusal))
            await _refuse(refusal.status, str(refusal), Headers(scope=scope))(scope, receive, send)
            return
        scope, is_page = _addressed(scope, address)
        if scope["path"] == "":
            await RedirectResponse(f"{address.stripped}/")(scope, receive, send)
        elif scope["method"] in READING:
            await self.app(scope, receive, _rewritten(send) if is_page else _streamed(send))
        elif scope["path"] == _ALLOWED:
            await Response(status_code=204)(scope, receive, send)
        elif Headers(scope=scope).get("content-type", "").startswith("multipart/"):
            await self.app(scope, receive, send)  # an upload: Gradio counts its bytes against max_file_size
        else:
            await self._read(scope, receive, send)

    def _tell(self, line: str) -> None:
        """Say a refusal in the terminal: whoever started the page is who can allow it."""
        if line not in self.told and len(self.told) < _MOST_TOLD:
            self.told.add(line)
            log.warning(line)

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
                await _refuse(413, "The request is too large.", Headers(scope=scope))(scope, receive, send)
                return
        if not only_uploaded_files(body):
            line = "Pictures have to be uploaded, not sent inline or by address."
            await _refuse(400, line, Headers(scope=scope))(scope, receive, send)
            return
        if not has_plain_session(body):
            line = "The session's name must be printable characters."
            await _refuse(400, line, Headers(scope=scope))(scope, receive, send)
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


def has_plain_session(body: bytes) -> bool:
    """Return whether the session is named in printable characters: half a character ends Gradio's queue."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return True  # Gradio reads no session from it
    name = content.get("session_hash") if isinstance(content, dict) else None
    return not isinstance(name, str) or name.isprintable()


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


def _addressed(scope: Scope, address: Address) -> tuple[Scope, bool]:
    """Return the request with its address where Gradio reads it, and whether it is for the page itself."""
    path = scope["path"][len(address.stripped) :]
    is_page = path == "/" and scope["method"] in READING
    scope = {**scope, "path": path, "headers": list(scope["headers"])}
    headers = MutableHeaders(scope=scope)
    for name in _FORWARDED:
        del headers[name]
    headers["x-forwarded-host"] = HERE if is_page else f"{address.host}{address.prefix}"
    headers["x-forwarded-proto"] = "http" if is_page else address.scheme
    return scope, is_page


def _rewritten(send: Send) -> Send:
    """Return a `send` that makes the page that Gradio writes relative, and has it say what is refused."""
    start: Message = {}
    body = b""

    async def rewrite(message: Message) -> None:
        nonlocal start, body
        if message["type"] == "http.response.start":
            start = message
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            page = body.replace(f"http://{HERE}".encode(), b".")
            page = page.replace(b"</head>", _SAYS_REFUSALS.encode(), 1)
            headers = MutableHeaders(scope=start)
            if "content-length" in headers and body:  # an answer to HEAD has none
                headers["content-length"] = str(len(page))
            await send(start)
            await send({"type": "http.response.body", "body": page})

    return rewrite


def _streamed(send: Send) -> Send:
    """Return a `send` that has nginx pass an answer on word by word, where it is written word by word."""

    async def stream(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if headers.get("content-type", "").startswith("text/event-stream"):
                headers["x-accel-buffering"] = "no"
        await send(message)

    return stream


def _refuse(status: int, line: str, headers: Headers) -> Response:
    if "text/html" in headers.get("accept", ""):
        return PlainTextResponse(line, status_code=status)
    return JSONResponse({"detail": line, "error": line}, status_code=status)
