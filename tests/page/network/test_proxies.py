"""The page behind proxies of every kind, a real nginx among them: what a browser does there works."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from gradio_client import Client, handle_file  # type: ignore[import-untyped]
from PIL import Image

from page.guard import HERE
from page.network import Network
from tests.proxy import proxied
from tests.serving import PROMPT, free_port, noise, served

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
LOOK = ["all", "all", "mean", None, None, None, None, "own", "attention", False, 0]
DEPLOY = Path(__file__).parents[3] / "docs" / "deploy.md"
FORGED = {
    "X-Forwarded-For": "10.1.2.3",  # a trusted proxy's address, from elsewhere
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/evil",
    "X-Gradio-Server": "http://evil.example",
    "Forwarded": "host=evil.example",
}
WAYS: dict[str, dict[str, Any]] = {
    "the host is kept": {"keeps_host": True},
    "the host is changed": {},
    "a path is taken away": {"prefix": "/user/ada/proxy/7860", "keeps_host": True},
    "a path is taken away, the host is changed": {"prefix": "/k/1.2~3/proxy"},
    "a path is left": {"prefix": "/lens", "strips": False},
    "headers are forged": {"adds": FORGED},
}


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, list[str]]]:
    """Yield a port for the page, and a real nginx's addresses of it: both recipes, by http and https."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    missing = [name for name in (program, "openssl") if shutil.which(name) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(
            f"In CI this must run: apt-get install nginx-light openssl (missing: {', '.join(missing)})"
        )
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found: apt install nginx-light openssl")
    folder, port, plain, tls = tmp_path_factory.mktemp("nginx"), free_port(), free_port(), free_port()
    recipes = re.findall(r"```nginx\n(.*?)```", DEPLOY.read_text("utf-8"), re.DOTALL)
    assert len(recipes) == 2
    locations = "".join(recipes).replace("127.0.0.1:7860", f"127.0.0.1:{port}")
    subprocess.run(
        shlex.split(CERTIFICATE),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in TEMPORARY)
    (folder / "conf").write_text(
        f"master_process off; daemon off; pid {folder}/pid; error_log {folder}/errors; events {{}}"
        f"http {{ access_log off; {temporary}"
        f"ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;"
        f"server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; {locations} }} }}"
    )
    running = subprocess.Popen(
        [program, "-c", str(folder / "conf"), "-p", str(folder)], stderr=subprocess.DEVNULL
    )
    try:
        listens(plain)
        yield (
            port,
            [
                f"{origin}{path}"
                for origin in (f"http://localhost:{plain}", f"https://localhost:{tls}")
                for path in ("", "/lens")
            ],
        )
    finally:
        running.terminate()
        running.wait()


CERTIFICATE = (
    "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
    "-subj /CN=localhost -days 2 -keyout key.pem -out cert.pem"
)
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def listens(port: int) -> None:
    """Wait until somebody listens at a port."""
    end = time.monotonic() + 30
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < end, "nginx did not start"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def places(folders: tuple[Path, Path]) -> Iterator[dict[str, str]]:
    """Yield an address for each way, all of one page; "itself" is the page's own."""
    port = free_port()
    with ExitStack() as stack:
        urls = {
            way: stack.enter_context(proxied(f"http://127.0.0.1:{port}", **how)) for way, how in WAYS.items()
        }
        origins = tuple(origin_of(url) for url in urls.values())
        network = Network(port=port, prefix="/lens", origins=origins, proxies=("10.0.0.0/8",))
        _, urls["itself"] = stack.enter_context(served(str(folders[0]), network=network))
        yield urls


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def works(url: str) -> None:
    """Do what a browser does at an address, all by relative addresses: open, upload, ask, look, take away."""
    picture = Path(os.environ["GRADIO_TEMP_DIR"]) / "mine.png"
    noise(0).save(picture)
    with httpx.Client(verify=False, timeout=60) as browser:
        page = browser.get(f"{url}/", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert HERE not in page.text
        assert '"root":"."' in page.text
        assert "http://127.0.0.1" not in page.text
        (script,) = re.findall(r'<script type="module" crossorigin src="\./(assets/[^"]+)"', page.text)
        assert browser.get(f"{url}/{script}", headers={"Origin": origin_of(url)}).status_code == 200

        browser.headers.update({"Origin": origin_of(url), "Referer": f"{url}/"})
        assert browser.post(f"{url}/gradio_api/allowed").status_code == 204
        with picture.open("rb") as file:
            (path,) = browser.post(f"{url}/gradio_api/upload", files={"files": file}).json()
        sent = {"path": path, "meta": {"_type": "gradio.FileData"}}
        answer = called(browser, url, "generate", [sent, PROMPT, 6, None, None, 0, *[None] * 6, False])
        assert len(answer[0]["tokens"]) == 6
        drawn = called(browser, url, "heatmap", ["3", *LOOK])[0]
        assert drawn["url"].startswith(f"{url}/gradio_api/file=")
        assert browser.get(drawn["url"]).content.startswith((b"\x89PNG", b"RIFF"))


def called(browser: httpx.Client, url: str, name: str, data: list[Any]) -> list[Any]:
    """Return what a function of the API gives, by the stream of its events."""
    event = browser.post(f"{url}/gradio_api/call/{name}", json={"data": data, "session_hash": url}).json()
    with browser.stream("GET", f"{url}/gradio_api/call/{name}/{event['event_id']}") as stream:
        assert stream.status_code == 200
        told = stream.read().decode()
    assert "event: complete" in told, told
    return list(json.loads(told.rpartition("data: ")[2]))


@pytest.mark.parametrize("way", [*WAYS, "itself"])
def test_a_browser_needs_the_allowed_origin_alone(places: dict[str, str], way: str) -> None:
    works(places[way])


def test_a_program_is_told_the_address_by_root_path(places: dict[str, str], tmp_path: Path) -> None:
    noise(0).save(tmp_path / "a.png")
    client = Client(f"{places['a path is left']}/", verbose=False)
    client.predict(handle_file(tmp_path / "a.png"), PROMPT, 6, api_name="/generate")
    path, _ = client.predict(token="3", api_name="/heatmap")
    client.close()
    with Image.open(path) as picture:
        picture.load()


def test_a_path_without_its_end_leads_to_the_page(places: dict[str, str]) -> None:
    answer = httpx.get(f"{places['itself']}/lens")
    assert (answer.status_code, answer.headers["location"]) == (307, "/lens/")


def test_answers_that_are_written_word_by_word_are_not_held_back(places: dict[str, str]) -> None:
    with httpx.stream("GET", f"{places['itself']}/gradio_api/heartbeat/me") as stream:
        assert stream.headers["x-accel-buffering"] == "no"


def test_the_recipes_for_nginx_work(nginx: tuple[int, list[str]], folders: tuple[Path, Path]) -> None:
    port, urls = nginx
    origins = tuple(dict.fromkeys(map(origin_of, urls)))
    with served(str(folders[0]), network=Network(port=port, origins=origins)):
        for url in urls:
            works(url)


# --- Login, and a computer that reaches the web by a proxy ---


def test_nothing_is_called_without_login(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):  # the page asks itself at the start, whatever stands here
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with served(None, network=Network(port=free_port(), people=(("ada", "se:cret"),))) as (_, url):
        assert "NO_PROXY" not in os.environ
        with httpx.Client(trust_env=False, base_url=url) as browser:
            assert '"auth_required":true' in browser.get("/").text.replace(" ", "")
            upload = {"files": ("a.png", b"x")}
            for path in ("/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/call/generate"):
                assert browser.post(path, files=upload).status_code == 401
            for name, password in (("ada", "secret"), ("bo", "se:cret"), ("ada", "")):
                assert (
                    browser.post("/login", data={"username": name, "password": password}).status_code >= 400
                )
            assert browser.post("/login", data={"username": "ada", "password": "se:cret"}).status_code == 200
            assert browser.post("/gradio_api/upload", files=upload).status_code == 200
