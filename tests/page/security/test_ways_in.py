"""What is open of the page, and whose: Gradio's other ways in, paths, others' ids, forged addresses."""

import os
from pathlib import Path
from typing import Any

import httpx
import pytest

import config
from page.address import caller
from page.network import Network
from page.people import MOST_KNOWN, People, person_at
from page.routes import is_open
from page.site import Page
from tests.page.network.test_address import asked
from tests.page.security.kit import LOOK, At, picture, result_of
from tests.page.telling import refused, request

pytestmark = [
    pytest.mark.timeout(120),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


# --- Ways in ---

CLOSED = [
    ("GET", "/gradio_api/proxy=https://example.org/"),
    ("GET", "/gradio_api/file=https://example.org/a.png"),
    ("GET", "/gradio_api/file=HTTP://127.0.0.1:1/"),
    ("GET", "/gradio_api/file=file:///etc/passwd"),
    ("GET", "/gradio_api/file/etc/passwd"),
    ("GET", "/gradio_api/deep_link?session_hash=x"),
    ("GET", "/gradio_api/upload_progress?upload_id=x"),
    ("GET", "/gradio_api/dev/reload"),
    ("GET", "/gradio_api/vibe-code"),
    ("GET", "/gradio_api/runs"),
    ("GET", "/gradio_api/custom_component/x/client/y/z"),
    ("GET", "/gradio_api/stream/x/1/2/playlist.m3u8"),
    ("GET", "/monitoring"),
    ("GET", "/monitoring/summary"),
    ("GET", "/pwa_icon/100000"),
    ("POST", "/gradio_api/component_server"),
    ("POST", "/gradio_api/process_recording"),
    ("POST", "/gradio_api/vibe-edit"),
    ("POST", "/gradio_api/stream/x"),
    ("POST", "/gradio_api/run-history/connect"),
    ("POST", "/gradio_api/upload/../process_recording"),
    ("POST", "/"),
    ("PUT", "/gradio_api/upload"),
    ("DELETE", "/config"),
    ("TRACE", "/"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_what_the_page_does_not_use_is_closed(behind: tuple[Page, str], method: str, path: str) -> None:
    files = {"file": ("a.wav", b"x")} if method == "POST" else None
    answer = httpx.request(method, f"{behind[1]}{path}", files=files)
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is nothing here.")


def test_what_the_page_uses_is_open() -> None:
    used = ["/", "/config", "/assets/a.js", "/static/img/logo.svg", "/theme.css", "/gradio_api/info"]
    used += ["/gradio_api/queue/data", "/gradio_api/heartbeat/x", "/gradio_api/call/generate/x"]
    used += ["/gradio_api/file=/tmp/a/b.png", "/gradio_api/file=C:/a/b.png", "/gradio_api/startup-events"]
    assert all(is_open("GET", path) for path in used)
    assert all(is_open("HEAD", path) for path in used)
    written = ("upload", "queue/join", "run/predict", "call/generate", "call/v2/generate", "cancel", "reset")
    assert all(is_open("POST", f"/gradio_api/{path}") for path in written)


def test_what_waits_for_the_model_goes_through_the_queue(behind: tuple[Page, str]) -> None:
    """Asked for directly, a long answer would be worked at without a place in the line."""
    body = {"data": ["3", *LOOK], "session_hash": "x"}
    assert httpx.post(f"{behind[1]}/gradio_api/run/heatmap", json=body).status_code == 404


# --- Paths ---


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/etc/../etc/passwd",
        "config.py",
        "../config.py",
        "{uploads}/../../etc/passwd",
        "{uploads}/%2e%2e/%2e%2e/etc/passwd",
        "{uploads}",
        "{uploads}/no/such.png",
        "{cache}",
        "{outputs}/index.html",
        "/proc/self/environ",
        "//etc/passwd",
        "%2fetc%2fpasswd",
        "{uploads}/link",
        "{uploads}/\0",
        "x" * 5000,
    ],
)
def test_no_path_leads_to_a_file_that_nobody_sent(behind: tuple[Page, str], path: str) -> None:
    uploads, root = Path(os.environ["GRADIO_TEMP_DIR"]), Path(__file__).parents[3]
    link = uploads / "link"
    if not link.is_symlink():
        link.symlink_to(root / "config.py")
    places = {"uploads": uploads, "cache": behind[0].store.folder, "outputs": root / "outputs"}
    answer = httpx.get(f"{behind[1]}/gradio_api/file=" + path.format(**places).replace("\0", "%00"))
    assert answer.status_code in (403, 404)
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    "name", ["../../evil.png", "..", "/etc/evil.png", "a\\..\\b.png", "x" * 300, "\0.png"]
)
def test_an_upload_is_named_by_us_and_lies_among_the_uploads(at: At, name: str) -> None:
    uploads = Path(os.environ["GRADIO_TEMP_DIR"])
    answer = at("10.0.1.1").uploads(picture(1), name)
    if answer.status_code == 200:
        (path,) = answer.json()
        assert uploads.resolve() in Path(path).resolve().parents
        assert len(Path(path).parent.name) == 64
    assert not list(uploads.parent.glob("evil*"))


@pytest.mark.parametrize(
    "said", ["bytes=1-2-3", "bytes=²-³", "bytes=0-1,3-4", "bytes=9-" + "9" * 30, "x" * 99]
)
def test_odd_ranges_are_left_out(at: At, said: str) -> None:
    visitor = at("10.0.1.2")
    content = picture(2)
    path = visitor.sends(content)
    answer = visitor.http.get(f"/gradio_api/file={path}", headers={b"Range": said.encode()})
    assert (answer.status_code, answer.content) == (200, content)
    part = visitor.http.get(f"/gradio_api/file={path}", headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, content[1:4])


# --- Other visitors ---


def test_another_visitors_answer_is_not_to_be_had_by_its_ids(at: At, page: Page) -> None:
    one, two = at("10.0.2.1"), at("10.0.2.2")
    one.asks(one.sends(picture(3)), "the first one")
    (run_id,) = (run for visitor, run in page.sessions._runs if visitor == "the first one")
    assert "Call /generate first" in two.sees("the second one")
    # What a session holds is the server's own: an id that is sent along is not looked at, or is nobody's.
    told = two.calls("heatmap", ["3", *LOOK, run_id], "the second one")
    assert "event: error" in told
    two.asks(two.sends(picture(4)), "the second one")
    for number, fn in page.blocks.fns.items():
        takes = [component._id for component in fn.inputs]
        if page.run_id._id not in takes or fn.queue:
            continue
        data: list[Any] = [None] * len(takes)
        data[takes.index(page.run_id._id)] = run_id
        body = {"data": data, "fn_index": number, "session_hash": "the second one"}
        answer = two.http.post("/gradio_api/run/predict", json=body).text
        assert "the first one" not in answer
        assert page.sessions.run("the first one", run_id).capture.text not in answer


def test_nobody_hears_what_is_told_another_session(at: At) -> None:
    one, two = at("10.0.3.1"), at("10.0.3.2")
    event = one.joins("heatmap", ["3", *LOOK], "mine").json()["event_id"]
    assert len(event) == 32  # random
    for guess in ("0" * 32, "mine ", "", "*", "../mine"):
        with two.http.stream("GET", f"/gradio_api/queue/data?session_hash={guess}") as stream:
            told = stream.read().decode()
        assert "heatmap" not in told
        assert '"session_not_found": true' in told
    assert two.reads("heatmap", "0" * 32) == 'event: error\ndata: "Nothing was asked for here."\n\n'
    assert two.http.post(
        "/gradio_api/cancel", json={"session_hash": "guess", "fn_index": 0, "event_id": "0" * 32}
    ).json() == {"success": True}  # and nothing was cancelled
    assert "Call /generate first" in one.reads("heatmap", event)


def test_files_of_a_visitor_have_names_that_cannot_be_guessed(at: At) -> None:
    one = at("10.0.4.1")
    sent = one.sends(picture(5))
    one.asks(sent, "files")
    drawn = result_of(one.sees("files"))[0]["path"]
    for path in (sent, drawn):
        assert len(Path(path).parent.name) == 64  # a hash of its content and of a secret of this computer's
        assert not one.has(str(Path(path).parent))  # and no folder is listed


@pytest.mark.parametrize("name", ["/etc", "/etc/passwd", "/no/such/folder", "org/any-model", "~", "a + b"])
def test_visitors_of_a_shared_page_name_no_folders_and_fetch_nothing(
    page: Page, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what lies on this computer can be tried out, nor its disk be filled from the hub."""
    monkeypatch.setattr(page.room, "load", lambda *_: pytest.fail("it was loaded"))
    shown, line = refused(page.on_load(request("anybody"), name))
    assert shown == [{page.status: line}]
    assert line == (
        "This page loads what its list proposes. Whoever runs it can add more: MODELS in config.py."
    )
    monkeypatch.setattr(config, "MODELS", [name])
    assert page.loadable(name) == name
    assert page.loadable("demo") == "demo"
    monkeypatch.setattr(page, "is_shared", False)
    assert page.loadable("anything") == "anything"


def test_a_page_is_shared_as_soon_as_others_can_have_it() -> None:
    assert not Network().is_shared
    for shared in (
        Network(host="0.0.0.0"),
        Network(origins=("https://a.org",)),
        Network(prefix="/lens"),
        Network(proxies=("127.0.0.1",)),
        Network(people=(("ada", "x"),)),
    ):
        assert shared.is_shared


# --- Whose a visitor is ---


def test_only_a_trusted_proxy_says_who_calls(at: At, page: Page, behind: tuple[Page, str]) -> None:
    told = {"x_forwarded_for": "6.6.6.6, 10.9.9.9"}
    named = Network(proxies=("127.0.0.1", "10.0.0.0/8"))
    assert caller(Network(), asked(**told)) == "127.0.0.1"
    assert caller(Network(proxies=("127.0.0.1",)), asked(**told)) == "10.9.9.9"
    assert caller(named, asked(**told)) == "6.6.6.6"
    assert caller(named, asked(caller="8.8.8.8", **told)) == "8.8.8.8"
    assert caller(named, asked(x_forwarded_for="10.1.1.1, 10.2.2.2")) == "10.1.1.1"
    assert caller(named, asked()) == "127.0.0.1"
    assert caller(Network(proxies=("*",)), asked(**told)) == "10.9.9.9"
    assert len(caller(named, asked(x_forwarded_for="x" * 9999))) <= 64
    visitor = at("10.0.5.1")
    visitor.sees("told by a proxy")
    assert page.people.of("told by a proxy") == "10.0.5.1"


def test_all_addresses_of_a_household_are_one_persons() -> None:
    assert person_at("2001:db8:1:2:3::4") == person_at("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert person_at("2001:db8:1:3::4") != person_at("2001:db8:1:2::1")
    assert person_at("::ffff:10.0.0.1") == person_at("10.0.0.1") == "10.0.0.1"
    assert person_at("fe80::1%eth0") == "fe80::/64"
    assert person_at("unknown") == "unknown"


def test_whose_sessions_are_is_forgotten_in_the_end() -> None:
    people = People()
    for number in range(MOST_KNOWN + 1):
        people.meet(f"{number}", "me")
    assert (people.of("0"), people.of("1"), len(people._of)) == ("0", "me", MOST_KNOWN)
