"""What one visitor may hold and have under way: the first is at their limit, the second does not notice."""

import os
import threading
from functools import partial
from pathlib import Path

import pytest

import config
import page.limits as limits
from page.queue import Queue
from page.site import Page
from tests.page.app.kit import soon
from tests.page.security.kit import (
    ANSWER,
    GONE,
    LOOK,
    At,
    connected,
    file_at,
    files_in,
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
ONE, TWO = "10.0.0.1", "10.0.0.2"
FULL = "Too many people wait for the model. Try again in a minute."


def uploads() -> Path:
    return Path(os.environ["GRADIO_TEMP_DIR"])


# --- On disk ---


@pytest.mark.parametrize("setting", ["MAX_VISITOR_BYTES", "MAX_FILES_BYTES"])
def test_who_sends_too_much_loses_their_own_first(
    at: At, page: Page, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    one, two = at(f"{ONE}{len(setting)}"), at(f"{TWO}{len(setting)}")
    theirs = two.sends(picture(100))
    each = len(picture(0))
    before = sum(page.files._held.values()) if setting == "MAX_FILES_BYTES" else 0
    monkeypatch.setattr(config, setting, before + 3 * each + each // 2)
    mine = [one.sends(picture(number)) for number in range(5)]
    assert [one.has(path) for path in mine] == [False, False, True, True, True]
    assert two.has(theirs)
    assert len(list(uploads().glob("*/a.png"))) == len({path for path, _ in page.files._held})
    assert GONE in one.asks(mine[0], "first")
    assert result_of(two.asks(theirs, "second"))[0]["finished"]


def test_pictures_that_are_drawn_count_too(at: At, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = at("10.1.0.1"), at("10.1.0.2")
    for visitor in (one, two):
        visitor.asks(visitor.sends(picture(1)), visitor.address)
    theirs = result_of(two.sees(two.address))[0]["path"]
    first = result_of(one.calls("heatmap", ["0", *LOOK], one.address))[0]["path"]
    size = Path(first).stat().st_size
    monkeypatch.setattr(config, "MAX_VISITOR_BYTES", 2 * size)
    for token in "1245":
        result_of(one.calls("heatmap", [token, *LOOK], one.address))
    held = [bytes_ for (_, person), bytes_ in page.files._held.items() if person == one.address]
    assert 0 < sum(held) <= 2 * size
    assert not one.has(first)
    assert two.has(theirs)


def test_what_is_no_upload_of_one_picture_leaves_nothing_behind(at: At, behind: tuple[Page, str]) -> None:
    visitor, before = at(ONE), files_in(uploads())
    big = bytes(21_000_000)
    assert visitor.uploads(big).status_code == 413
    many = [("files", (f"{number}.png", big[:4_000_000])) for number in range(6)]
    assert visitor.http.post("/gradio_api/upload", files=many).status_code == 413
    assert visitor.http.post("/gradio_api/upload", files={"other": ("a.png", b"x")}).json() == []
    assert visitor.http.post("/gradio_api/upload", data={"files": "text"}).status_code >= 400
    body = upload_body(picture(7))
    form = {"Content_Type": "multipart/form-data; boundary=edge", "Content_Length": len(body)}
    with connected(behind[1]) as connection:  # and leaves in the middle of it
        connection.sendall(head("POST", "/gradio_api/upload", behind[1], **form) + body[:-100])
    visitor.sends(picture(8), "b.png")  # what comes after it is as ever
    assert [path.name for path in files_in(uploads()) if path not in before] == ["b.png"]


def test_answers_on_disk_are_lost_by_who_keeps_most(
    at: At, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = at("10.2.0.1"), at("10.2.0.2")
    known = {entry.id for entry in page.store.recent()}
    two.asks(two.sends(picture(200)), "two")
    (theirs,) = (entry for entry in page.store.recent() if entry.id not in known)
    monkeypatch.setattr(config, "MAX_VISITOR_BYTES", int(2.5 * theirs.bytes))
    known |= {theirs.id}
    for number in range(4):
        one.asks(one.sends(picture(201 + number)), "one")
    mine = [entry.id for entry in page.store.recent() if entry.id not in known]
    assert len(mine) == 2
    assert theirs.id in {entry.id for entry in page.store.recent()}
    assert {page.store.holders[entry] for entry in mine} == {"10.2.0.1"}


# --- In memory ---


def test_who_opens_many_sessions_loses_their_own_answers_first(
    at: At, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = at("10.3.0.1"), at("10.3.0.2")
    two.asks(two.sends(picture(3)), "theirs")
    (size,) = (run.bytes for (visitor, _), run in page.sessions._runs.items() if visitor == "theirs")
    monkeypatch.setattr(config, "MAX_VISITOR_BYTES", int(2.5 * size))
    path = one.sends(picture(4))
    for number in range(4):
        one.asks(path, f"mine {number}")
    for number in range(4):
        told = one.sees(f"mine {number}")
        assert ("This answer is no longer kept: ask again." in told) is (number < 2)
    assert result_of(two.sees("theirs"))[1]["tokens"] == [3]


# --- In the line ---


def longer_than(line: Queue, count: int) -> bool:
    return len(line) > count


def test_who_waits_many_times_gives_a_place_to_who_waits_for_the_first_time(
    at: At, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "QUEUE_SIZE", 3)
    one, two = at("10.4.0.1"), at("10.4.0.2")
    asked = [file_at(one.sends(picture(5))), PROMPT, *ANSWER]
    answered = []
    with page.room.queue.turn():
        events = []
        for number in range(3):
            events.append(one.joins("generate", asked, f"a{number}").json()["event_id"])
            soon(partial(longer_than, page.room.queue, number + 1))
        assert FULL in one.calls("generate", asked, "a3")  # one more of theirs is refused
        path = two.sends(picture(6))
        thread = threading.Thread(target=lambda: answered.append(two.asks(path, "b")))
        thread.start()
        assert FULL in one.reads("generate", events[2])  # the last one has given its place up
        places = [ticket.person for ticket in page.room.queue._waiting]
        assert places == ["10.4.0.1", "10.4.0.2", "10.4.0.1"]  # by turns
    thread.join(60)
    assert result_of(answered[0])[0]["finished"]
    for event in events[:2]:
        assert result_of(one.reads("generate", event))[0]["finished"]


def test_one_visitor_has_half_of_the_room_that_others_leave(
    at: At, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WORKERS", 6)
    one, two = at("10.5.0.1"), at("10.5.0.2")
    asked = [file_at(one.sends(picture(5))), PROMPT, *ANSWER]
    with page.room.queue.turn():
        answers = [one.joins("generate", asked, f"c{number}") for number in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[3].json()["detail"] == "Too much was asked for at once. Wait until some of it is done."
        assert two.joins("generate", asked, "d").status_code == 200
        assert two.joins("generate", asked, "e").status_code == 429  # half of the three that are left
    soon(lambda: not page.room.busy)


def test_who_does_not_read_is_asked_to(at: At, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_UNREAD", 3)
    one, two = at("10.6.0.1"), at("10.6.0.2")
    asked = [file_at(one.sends(picture(5))), PROMPT, 40, *ANSWER[1:]]
    event = one.joins("generate", asked, "unread").json()["event_id"]
    soon(lambda: not page.room.busy)
    messages = page.blocks._queue.pending_messages_per_session
    soon(lambda: messages["unread"].qsize() >= 3)
    refused = one.joins("generate", asked, "another session of theirs")
    assert (refused.status_code, refused.json()["detail"]) == (
        429,
        "The answers to what was asked before have to be read first.",
    )
    assert two.joins("generate", asked, "read").status_code == 200
    assert result_of(one.reads("generate", event))[0]["finished"]
    assert one.joins("generate", asked, "another session of theirs").status_code == 200
    soon(lambda: not page.room.busy)


def test_many_sessions_push_out_nobody_elses(at: At, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio has room for the messages of 2,000 sessions, and forgets those that came first."""
    monkeypatch.setattr(limits, "MOST_SESSIONS", 5)
    one, two = at("10.7.0.1"), at("10.7.0.2")
    two.sees("theirs")
    for number in range(9):
        one.sees(f"many {number}")
    messages = page.blocks._queue.pending_messages_per_session
    assert len([session for session in messages if session.startswith("many")]) <= 6
    assert "theirs" in messages
    assert one.joins("heatmap", ["3", *LOOK], "x" * 201).status_code == 429


def test_bodies_on_their_way_are_bounded(
    at: At, behind: tuple[Page, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_SENDING", 300_000)
    form = {"Content_Type": "multipart/form-data; boundary=edge", "X_Forwarded_For": "10.8.0.1"}
    start = head("POST", "/gradio_api/upload", behind[1], Content_Length=10**6, **form)
    with connected(behind[1]) as slow, connected(behind[1]) as more:
        for connection in (slow, more):
            connection.sendall(start + bytes(200_000))
        answers = [slow, more]
        for connection in answers:
            connection.setblocking(False)
        heard: list[bytes] = []

        def refused() -> bool:
            for connection in answers:
                try:
                    heard.append(connection.recv(100))
                except BlockingIOError:
                    continue
            return bool(heard)

        soon(refused)
        assert len(heard) == 1
        assert heard[0].startswith(b"HTTP/1.1 429")
        assert at("10.8.0.2").has(at("10.8.0.2").sends(picture(9)))
