"""Who may talk to the page: nobody by way of another site, and only with files that were uploaded.

Goes in: HTTP requests. Comes out: the same requests, or a refusal of one line. Knows nothing of what the
page does. Gradio itself answers any Host header, believes anybody's forwarded headers, lets other sites'
pages post to `/upload`, decodes pictures that come inside the request (`data:`), past its own size limit, and
fetches pictures by address.
"""

import asyncio
import json
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import config
from page.address import READING, Address, ForbiddenError, caller, seen
from page.files import Files, remove
from page.limits import LONGEST_SESSION, Sending, TooMuchError, UnderWay
from page.network import Network
from page.people import People, person_at
from page.routes import ASKED, DIRECT, HEARD, UPLOAD, is_open
from page.sources import bytes_of

PIECE = 1 << 18  # bytes of an upload that are handed on at a time
AROUND_FILE = 64_000  # bytes of an upload around its file
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
STREAM = "text/event-stream"
_NOTHING = {  # as Gradio's clients take it
    "msg": "unexpected_error",
    "message": "Nothing was asked for here.",
    "session_not_found": True,
    "success": False,
}
_RANGE = re.compile(r"bytes=([0-9]{1,15}-[0-9]{0,15}|-[0-9]{1,15})")  # Gradio fails at others

log = logging.getLogger(__name__)


def middleware(network: Network, people: People, files: Files, queue: Any) -> list[Middleware]:
    """Return what stands before the page when it is served in this network; `queue` is Gradio's."""
    return [Middleware(Guard, network=network, people=people, files=files, queue=queue)]


class Guard:
    """Refuses posts from other sites' pages, bodies that are too large, and files inline or by address.

    What it lets through has the one address under which its sender has the page, whatever proxies there are,
    and is of no more than one person's share.
    """

    def __init__(self, app: ASGIApp, network: Network, people: People, files: Files, queue: Any) -> None:
        self.app = app
        self.network, self.people, self.files = network, people, files
        self.under_way = UnderWay(people, queue)
        self.told: set[str] = set()
        self._one_upload = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            address = seen(self.network, scope)
        except ForbiddenError as refusal:
            self._tell(str(refusal))
            await _refuse(refusal.status, str(refusal), headers)(scope, receive, send)
            return
        person = person_at(caller(self.network, scope))
        scope, is_page = _addressed(scope, address)
        path = scope["path"]
        try:
            if path == "":
                await RedirectResponse(f"{address.stripped}/")(scope, receive, send)
            elif path == _ALLOWED and scope["method"] not in READING:
                await Response(status_code=204)(scope, receive, send)
            elif not is_open(scope["method"], path):
                await _refuse(404, "There is nothing here.", headers)(scope, receive, send)
            elif (nothing := self._nothing_told(scope)) is not None:
                await nothing(scope, receive, send)
            elif scope["method"] in READING:
                await self.app(scope, receive, _rewritten(send) if is_page else _streamed(send))
            elif path.rstrip("/") == UPLOAD:
                await self._upload(scope, receive, send, person)
            else:
                await self._read(scope, receive, send, person)
        except TooMuchError as refusal:
            await _refuse(429, str(refusal), headers)(scope, receive, send)

    def _tell(self, line: str) -> None:
        """Say a refusal in the terminal: whoever started the page is who can allow it."""
        if line not in self.told and len(self.told) < _MOST_TOLD:
            self.told.add(line)
            log.warning(line)

    def _nothing_told(self, scope: Scope) -> Response | None:
        """Return what is told a session that waits for nothing, at which Gradio would log an error."""
        path = scope["path"].rstrip("/")
        if scope["method"] not in READING:
            return None
        if path == HEARD and not self.under_way.tells(QueryParams(scope["query_string"]).get("session_hash")):
            return Response(f"data: {json.dumps(_NOTHING)}\n\n", media_type=STREAM)
        is_call = path.startswith(ASKED[1])
        if is_call and not self.under_way.tells(event=path.rpartition("/")[2]):
            return Response(f"event: error\ndata: {json.dumps(_NOTHING['message'])}\n\n", media_type=STREAM)
        return None

    async def _read(self, scope: Scope, receive: Receive, send: Send, person: str) -> None:
        """Read the body, look at it, and pass it on."""
        body = bytearray()
        with self.under_way.sending(person) as sending:
            async for piece in _pieces(receive, sending):
                body += piece
                if len(body) > MAX_BODY:
                    await _refuse(413, "The request is too large.", Headers(scope=scope))(
                        scope, receive, send
                    )
                    return
            if sending.is_cut_off:
                return
        if not only_uploaded_files(bytes(body)):
            line = "Pictures have to be uploaded, not sent inline or by address."
            await _refuse(400, line, Headers(scope=scope))(scope, receive, send)
            return
        session = _session_in(body)
        if not session.isprintable():  # half a character ends Gradio's queue
            line = "The session's name must be printable characters."
            await _refuse(400, line, Headers(scope=scope))(scope, receive, send)
            return
        if session:
            self._admit(scope["path"], session, person)
        passed_on = self.app(scope, _again([bytes(body)], receive), send)
        if scope["path"].startswith(DIRECT):
            await self.under_way.direct(person, passed_on)
        else:
            await passed_on

    def _admit(self, path: str, session: str, person: str) -> None:
        """Return if a session of this person may ask for something; TooMuchError if not."""
        if len(session) > LONGEST_SESSION:
            raise TooMuchError(f"A session's id has at most {LONGEST_SESSION} characters.")
        self.people.meet(session, person)
        if path.startswith(ASKED):
            self.under_way.check_asked(person)

    async def _upload(self, scope: Scope, receive: Receive, send: Send, person: str) -> None:
        """Take a file in as a whole, however slowly it comes, and only then pass it on."""
        most = bytes_of(config.MAX_UPLOAD)
        with tempfile.TemporaryFile() as body, self.under_way.sending(person) as sending:
            async for piece in _pieces(receive, sending):
                if sending.count > most + AROUND_FILE:
                    line = f"The file is too large; at most {config.MAX_UPLOAD} are taken."
                    await _refuse(413, line, Headers(scope=scope))(scope, receive, send)
                    return
                body.write(piece)
            if sending.is_cut_off:
                return
            body.seek(0)
            told = bytearray()
            async with self._one_upload:  # what it leaves behind can then be no other's
                one = {**scope, "query_string": b""}  # else Gradio keeps how far it is, for ever
                await self.app(one, _again(iter(lambda: body.read(PIECE), b""), receive), _heard(send, told))
                self.files.hold(person, _paths_in(told))
                _remove_leftovers()


async def _pieces(receive: Receive, sending: Sending) -> AsyncIterator[bytes]:
    """Yield a body as it comes, and count it."""
    message: Message = {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            sending.is_cut_off = True
            return
        piece = message.get("body", b"")
        sending.add(len(piece))
        yield piece


def _session_in(body: bytearray) -> str:
    """Return the session that a JSON body is of, or an empty text."""
    try:
        session = json.loads(body).get("session_hash")
    except (ValueError, AttributeError, RecursionError):  # Gradio reads no session from it either
        return ""
    return session if isinstance(session, str) else ""


def _paths_in(told: bytearray) -> list[Path]:
    """Return the paths that Gradio gave the files of an upload; none where it refused them."""
    try:
        paths = json.loads(told)
    except ValueError:
        return []
    return [Path(path) for path in paths if isinstance(path, str)] if isinstance(paths, list) else []


def _remove_leftovers() -> None:
    """Remove what an upload has left that was not taken in: each that was has a folder of its own."""
    folder = Path(get_upload_folder())
    for file in folder.iterdir() if folder.is_dir() else ():
        if file.name.startswith("tmp") and file.is_file():
            remove(file)


def _heard(send: Send, told: bytearray) -> Send:
    """Return a `send` that keeps what is told."""

    async def hear(message: Message) -> None:
        told.extend(message.get("body", b""))
        await send(message)

    return hear


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


def _again(pieces: Iterable[bytes], receive: Receive) -> Receive:
    """Return a `receive` that hands out a body that was read, then what comes after it."""
    left, is_over = iter(pieces), False

    async def replay() -> Message:
        nonlocal is_over
        if is_over:
            return await receive()
        piece = next(left, None)
        is_over = piece is None
        return {"type": "http.request", "body": piece or b"", "more_body": not is_over}

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
    if not _RANGE.fullmatch(headers.get("range", "")):
        del headers["range"]
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
            if headers.get("content-type", "").startswith(STREAM):
                headers["x-accel-buffering"] = "no"
        await send(message)

    return stream


def _refuse(status: int, line: str, headers: Headers) -> Response:
    if "text/html" in headers.get("accept", ""):
        return PlainTextResponse(line, status_code=status)
    return JSONResponse({"detail": line, "error": line}, status_code=status)
