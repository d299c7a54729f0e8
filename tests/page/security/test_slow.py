"""Clients that are slow, or leave: they hold up nobody, and free the model at once."""

import socket
import time
from typing import Any

import pytest

from page.jobs import Job
from page.site import Page
from tests.page.app.kit import soon
from tests.page.security.kit import (
    ANSWER,
    At,
    connected,
    file_at,
    head,
    picture,
    result_of,
    upload_body,
)
from tests.serving import PROMPT

pytestmark = [
    pytest.mark.timeout(120),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_a_file_that_comes_byte_by_byte_holds_up_nobody(at: At, behind: tuple[Page, str]) -> None:
    """Neither does it hold up others of the same address."""
    body = upload_body(picture(1), name="slow.png")
    form = {"Content_Type": "multipart/form-data; boundary=edge", "Content_Length": len(body)}
    start = head("POST", "/gradio_api/upload", behind[1], X_Forwarded_For="10.0.0.1", **form)
    with connected(behind[1]) as one, connected(behind[1]) as other:
        for slow in (one, other):
            slow.sendall(start)
            for byte in body[:300]:
                slow.sendall(bytes([byte]))
        for address in ("10.0.0.1", "10.0.0.2"):
            visitor = at(address)
            assert result_of(visitor.asks(visitor.sends(picture(2)), address))[0]["finished"]
            assert result_of(visitor.sees(address))[1]["tokens"] == [3]
        one.sendall(body[300:])
        answer = one.recv(10_000)
        while b"slow.png" not in answer and (more := one.recv(10_000)):
            answer += more
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"slow.png" in answer


def test_a_question_that_comes_byte_by_byte_holds_up_nobody(at: At, behind: tuple[Page, str]) -> None:
    start = head(
        "POST",
        "/gradio_api/queue/join",
        behind[1],
        X_Forwarded_For="10.0.1.1",
        Content_Type="application/json",
        Content_Length=10_000,
    )
    with connected(behind[1]) as slow:
        slow.sendall(start + b'{"data": [')
        visitor = at("10.0.1.1")
        assert result_of(visitor.asks(visitor.sends(picture(2)), "quick"))[0]["finished"]
        slow.sendall(b"1")


def test_an_answer_that_is_not_read_holds_up_nobody(at: At, page: Page, behind: tuple[Page, str]) -> None:
    one, two = at("10.0.2.1"), at("10.0.2.2")
    asked = [file_at(one.sends(picture(3))), PROMPT, 60, *ANSWER[1:]]
    with connected(behind[1]) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        event = one.joins("generate", asked, "slow").json()["event_id"]
        slow.sendall(head("GET", f"/gradio_api/call/generate/{event}", behind[1], X_Forwarded_For="10.0.2.1"))
        assert result_of(two.asks(two.sends(picture(4)), "quick"))[0]["finished"]
        soon(lambda: not page.room.busy)  # the slow one's answer is at its end all the same
        visitors = {visitor for visitor, _ in page.sessions._runs}
        assert {"slow", "quick"} <= visitors


@pytest.mark.parametrize("how", ["the tab is closed", "the stream is cut"])
def test_who_leaves_frees_the_model_after_the_token_at_hand(
    at: At, page: Page, behind: tuple[Page, str], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The order of events says it: at most two tokens are written after the page has heard of the leave."""
    order: list[Any] = []
    writes, leave = Job.writes, page.jobs.end

    def written(job: Job, text: str, tokens: int) -> None:
        writes(job, text, tokens)
        order.append(tokens)
        if job.stop.is_set():
            order.append("stopped")
        time.sleep(0.005)  # there is time to leave before the answer ends

    def left(visitor: str, *parts: Any, by: Any) -> None:
        leave(visitor, *parts, by=by)
        order.append("left")

    monkeypatch.setattr(Job, "writes", written)
    monkeypatch.setattr(page.jobs, "end", left)
    one = at("10.0.3.1")
    asked = [file_at(one.sends(picture(5))), PROMPT, 1000, *ANSWER[1:]]
    with connected(behind[1]) as heart, connected(behind[1]) as stream:
        heart.sendall(head("GET", "/gradio_api/heartbeat/leaves", behind[1]))
        assert heart.recv(1000).startswith(b"HTTP/1.1 200")
        event = one.joins("generate", asked, "leaves").json()["event_id"]
        stream.sendall(head("GET", f"/gradio_api/call/generate/{event}", behind[1]))
        soon(lambda: len(order) > 5)
        (heart if how == "the tab is closed" else stream).close()
        soon(lambda: not page.room.busy)
        written_in_all = max(entry for entry in order if isinstance(entry, int))
        assert written_in_all < 1000
        if how == "the tab is closed":
            after = order[order.index("left") :]
            assert sum(isinstance(entry, int) for entry in after) <= 2
        assert order.count("stopped") <= 2
        soon(lambda: len(page.jobs) == 0)
