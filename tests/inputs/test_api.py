"""Anything that a program may send to the served page: an answer, or one clear line, and never silence."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from page.site import Page
from tests.inputs import damage
from tests.inputs.clear import one_clear_line
from tests.inputs.pictures import animated, every_format, rotated
from tests.inputs.served import nothing_left
from tests.inputs.tally import Tally
from tests.inputs.values import HUGE, LONG
from tests.serving import FIRST, PROMPT, noise, served
from tests.tiny import save_tiny

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]

GENERATE: dict[str, Any] = {
    "image": "a picture",
    "prompt": PROMPT,
    "max_new_tokens": 1,
    "temperature": None,
    "top_p": None,
    "seed": 0,
    "generation": None,
    "top_k": None,
    "repetition_penalty": None,
    "answer": None,
    "thinking": None,
    "system": None,
    "follow": False,
}
LOOK: dict[str, Any] = {"colormap": None, "alpha": None, "view": None, "cells": None, "scale": "own"}
HEATMAP: dict[str, Any] = {
    "token": "0",
    "layers": "all",
    "heads": "all",
    "aggregation": "mean",
    **LOOK,
    "method": "attention",
    "no_sinks": False,
    "visual": 0,
}
GRADCAM: dict[str, Any] = {
    "target": "all",
    "at": "",
    "layers": "0",
    "method": "grad-cam",
    "samples": 1,
    "noise": 0,
    "seed": 0,
    **LOOK,
}
TAKEN = {"generate": GENERATE, "heatmap": HEATMAP, "gradcam": GRADCAM}
NAN, INFINITE = float("nan"), float("inf")
ODD: list[Any] = [
    None,
    True,
    HUGE,
    -HUGE,
    NAN,
    INFINITE,
    -1,
    10**9,
    0.5,
    "",
    "\ud800",
    "x" * LONG,
    [],
    [[]],
    {},
]
# Of each call: the values that are tried in each place, all of which are refused.
WRONG: dict[str, dict[str, list[Any]]] = {
    "generate": {
        "image": [
            None,
            5,
            [],
            {},
            {"path": None},
            {"path": "/etc/passwd"},
            {"path": "a\0"},
            {"url": "x"},
            "a.png",
        ],
        "prompt": [None, 5, [], {}, "", " ", "\ud800", "x" * LONG, "\0" * LONG, "a <|image_pad|>"],
        "max_new_tokens": [value for value in ODD if value != 0.5] + [0, 1.5, "6"],
        "temperature": [value for value in ODD if value not in (None, 0.5)] + ["0.5"],
        "top_p": [0, 1.5, NAN, "1", HUGE, [], True],
        "seed": [value for value in ODD if value != 10**9],
        "generation": ["beams", 5, [], {}, "x" * LONG, "\ud800"],
        "top_k": [-1, 1.5, NAN, HUGE, "5", []],
        "repetition_penalty": [0, -1, NAN, HUGE, "1", {}],
        "answer": ["\ud800", " ", 5, [], "x" * LONG, "a <|image_pad|>"],
        "thinking": ["yes", 2, [], {}, True],
        "system": [5, [], {}, "\ud800", "x" * LONG, "a <|image_pad|>"],
    },
    "heatmap": {
        "token": [None, 99, [], "p99", "\ud800", "x" * LONG, "1-0", "1,,2", "-99", "٣٣"],
        "layers": [None, [], "9", "2-1", "\ud800", "x" * LONG],
        "heads": [None, {}, "9", "0--9", "x" * LONG],
        "aggregation": ["sum", [], {}, 5, None],
        "colormap": ["no", [], 5, "\ud800", "x" * LONG],
        "alpha": [7, -1, NAN, INFINITE, HUGE, "1", []],
        "view": ["no", [], 5],
        "cells": ["no", [], 5, True],
        "scale": ["no", [], {}, None],
        "method": ["magic", [], {}, None, "x" * LONG],
    },
    "gradcam": {
        "target": [
            None,
            [],
            "words",
            "word:99",
            "text: ",
            "text:\ud800",
            "contrast:\ud800/b",
            "99",
            "x" * LONG,
            *("contrast:" + "x" * LONG + "/b", "text:" + "x" * LONG, "text:<|image_pad|>"),
        ],
        "at": ["0", "99", [], "x"],
        "layers": [None, [], "2", "9", "most", "x" * LONG],
        "method": ["magic", [], {}, None],
        "samples": [0, 1.5, NAN, HUGE, "1", [], True, 10**6],
        "noise": [-1, NAN, INFINITE, HUGE, "1", []],
        "seed": [-1, 0.5, NAN, HUGE, []],
        "scale": ["no", []],
    },
}


class Told(NamedTuple):
    """What a call came to: its result, or the line with which it was refused."""

    result: Any
    line: str | None


class Site:
    """A page at an address, as a program talks to it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url, self.client = page, url, httpx.Client(timeout=60)
        self.picture = self.upload(noise_png())

    def upload(self, data: bytes, name: str = "a.png") -> dict[str, Any]:
        """Return a file that was uploaded, as a call names it."""
        answer = self.client.post(f"{self.url}/gradio_api/upload", files={"files": (name, data)})
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}

    def call(self, name: str, **changed: Any) -> Told:
        """Call a name of the API with what it takes, but for these."""
        values = {**TAKEN[name], **({"image": self.picture} if name == "generate" else {}), **changed}
        return self.sent(name, json.dumps({"data": list(values.values()), "session_hash": "me"}).encode())

    def sent(self, name: str, body: bytes) -> Told:
        """Post a body to a name of the API, and wait for what comes of it."""
        address = f"{self.url}/gradio_api/call/{name}"
        answer = self.client.post(address, content=body, headers={"content-type": "application/json"})
        if answer.status_code != 200:
            return Told(None, answer.json()["detail"])
        told = self.client.get(f"{address}/{answer.json()['event_id']}").text
        kind, _, data = told.strip().split("\n\n")[-1].partition("\n")
        result = json.loads(data.removeprefix("data: "))
        if kind == "event: error":
            assert result["error"] is not None, "silence"
            return Told(None, result["error"])
        return Told(result, None)


def noise_png() -> bytes:
    return damage.png(28 * 4, 28 * 3, rows=damage.packed_rows(noise(0, (28 * 3, 28 * 4))))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(str(save_tiny(tmp_path_factory.mktemp("models") / "first", **FIRST))) as (page, url):
        yield Site(page, url)


@pytest.fixture(autouse=True)
def _as_before(
    site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """The model is as it was, no file is left, and the terminal shows nothing, least of all a traceback."""
    capfd.readouterr()
    with nothing_left(site.page.room, tmp_path):
        yield
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.fixture
def refused(tally: Tally) -> Callable[[str, Told], str]:
    """Count a call that has to be refused in one clear line, and return the line."""

    def check(kind: str, told: Told) -> str:
        assert told.line is not None, f"{kind}: it was not refused"
        one_clear_line(told.line)
        tally.refused(kind)
        return told.line

    return check


@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name, places in WRONG.items() for place in places]
)
def test_what_is_wrong_is_refused(
    site: Site, refused: Callable[[str, Told], str], name: str, place: str
) -> None:
    if name != "generate":
        assert site.call("generate", max_new_tokens=2).line is None
    for value in WRONG[name][place]:
        refused(f"API: {name}", site.call(name, **{place: value}))


def test_each_call_takes_what_it_takes(site: Site, tally: Tally) -> None:
    for name in TAKEN:
        assert site.call(name).line is None
        tally.right(f"API: {name}")


def test_any_picture_is_answered_or_refused(
    site: Site, refused: Callable[[str, Told], str], tally: Tally
) -> None:
    wholes = [
        one for one in every_format() if one.name.startswith(("RGB as", "CMYK as", "LAB as", "I;16 as"))
    ]
    wholes += [*list(rotated())[::17], *list(animated())[::7]]
    files = [(one.data, one.shows is not None) for one in wholes]
    files += [
        (data, False) for _, data, *_ in [*list(damage.headers())[::4], *list(damage.no_pictures())[::9]]
    ]
    files += [(data, False) for _, data, _ in list(damage.cut_off())[2::200]]
    for number, (data, seen) in enumerate(files):
        told = site.call("generate", image=site.upload(data, f"{number}.jpg"))
        if seen:
            assert told.line is None
            tally.right("API: pictures")
        else:
            refused("API: pictures", told)


@pytest.mark.parametrize(
    "file",
    [
        {"path": "http://127.0.0.1:1/a.png"},
        {"path": "https://example.org/a.png", "url": None},
        {"path": "x", "url": "data:image/png;base64,AAAA"},
        {"path": "data:image/png;base64,AAAA"},
        {"path": " DATA:image/png;base64,AAAA"},
        {"path": "file:///etc/passwd"},
        {"url": "http://127.0.0.1:1/a.png"},
        {"path": "../../../etc/passwd"},
    ],
)
def test_pictures_inline_and_by_address_are_refused(
    site: Site, refused: Callable[[str, Told], str], file: dict[str, Any]
) -> None:
    for meta in ({}, {"meta": {"_type": "gradio.FileData"}}):
        refused("API: data and remote URLs", site.call("generate", image={**file, **meta}))


BODIES = (
    *(
        b"",
        b"{",
        b"[]",
        b"null",
        b"5",
        b'"x"',
        b"\xff\xfe",
        b"{}",
        b'{"data": null}',
        b'{"data": "x"}',
        b'{"data": {}}',
    ),
    *(b'{"data": []}', b'{"data": [1e999]}', b'{"data": [NaN, NaN]}', b'{"data": ' + b"[" * 50_000),
    *(
        b'{"data": [' + b"9" * 5000 + b"]}",
        b'{"data": [], "session_hash": 5}',
        b'{"data": [], "session_hash": []}',
    ),
    *(b'{"data": [], "session_hash": "\\ud800"}', b'{"data": [], "session_hash": "\xed\xa0\x80"}'),
    *(
        b'{"data": [], "session_hash": "a\\u0000b"}',
        b'{"data": [], "fn_index": "x"}',
        b'{"data": [], "trigger_id": "x"}',
    ),
)


@pytest.mark.parametrize("name", TAKEN)
def test_bodies_that_are_no_call_are_refused(
    site: Site, refused: Callable[[str, Told], str], name: str
) -> None:
    for body in BODIES:
        refused("API: bodies that are no call", site.sent(name, body))
    assert site.call("generate").line is None  # and the queue goes on


def test_names_that_are_none_are_refused(site: Site, refused: Callable[[str, Told], str]) -> None:
    for name in ("nothing", "predict", "%00", "..%2f", "on_generate", "é", "x" * 2000):
        refused("API: names that are none", site.sent(name, b'{"data": []}'))
    for number in (-1, 10**6, 0):
        body = json.dumps({"data": [], "fn_index": number, "session_hash": "me"}).encode()
        answer = site.client.post(
            f"{site.url}/gradio_api/queue/join", content=body, headers={"content-type": "application/json"}
        )
        if answer.status_code != 200:
            refused("API: names that are none", Told(None, answer.json()["detail"]))


def test_file_names_stay_names(site: Site, tally: Tally) -> None:
    whole = next(one for one in every_format() if one.name == "RGB as PNG")
    for name in (
        "../../x.png",
        "x" * 300 + ".png",
        "a\0.png",
        "\u202egnp.exe",
        "é" * 200 + ".png",
        "con",
        ".",
        "a/b",
    ):
        assert site.call("generate", image=site.upload(whole.data, name)).line is None
        tally.right("API: names of uploads")
