"""The page in a browser, behind a proxy that changes host, port and path, and behind a login."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser

from page.network import Network
from tests.page.browser.kit import PATIENCE, Watch, ask, made, ready
from tests.proxy import proxied
from tests.serving import free_port, served

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_everything_works_at_another_address_and_says_what_does_not(
    browser: Browser, folders: tuple[Path, Path], files: Path, tmp_path: Path
) -> None:
    port = free_port()
    with ExitStack() as stack:
        url, elsewhere = (
            stack.enter_context(proxied(f"http://127.0.0.1:{port}", prefix="/deep/lens")) for _ in range(2)
        )
        origin, other = (address.removesuffix("/deep/lens") for address in (url, elsewhere))
        network = Network(port=port, origins=(origin,), people=(("ada", "se:cret"),))
        stack.enter_context(served(str(folders[0]), network=network))
        context = stack.enter_context(browser.new_context(viewport={"width": 1440, "height": 900}))
        tab = context.new_page()
        tab.set_default_timeout(PATIENCE)

        tab.goto(f"{elsewhere}/")
        assert tab.inner_text("#refused").startswith(f"Requests from {other} are refused. ")
        assert f"--allowed-origin {other}." in tab.inner_text("#refused")

        tab.goto("about:blank")  # what that page still asks for ends here
        watch = Watch(tab, url)
        tab.goto(f"{url}/")
        tab.get_by_label("username").fill("ada")
        tab.get_by_label("password").fill("se:cret")
        tab.get_by_role("button", name="Login").click()
        ready(tab)
        ask(tab, files / "a.png")
        download = made(tab, "Picture (PNG)")
        assert download.url.startswith(f"{url}/gradio_api/file=")
        download.save_as(tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as picture:
            picture.load()
        assert tab.locator("#refused").count() == 0
        assert watch.errors == []
        assert [one for one in watch.foreign if not one.startswith(f"blob:{origin}/")] == []
