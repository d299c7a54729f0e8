"""The page in every state, in both themes and on a phone: axe finds nothing that keeps anybody out."""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page as Tab

from tests.page.browser.kit import OpenTab, panel, prepare
from tests.seeing import choose, part, word

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
AXE = Path(__file__).parents[3] / "node_modules" / "axe-core" / "axe.min.js"
RUN = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ['violations'] });
  const said = ({ html, failureSummary }) =>
    `${html.slice(0, 160)} | ${failureSummary.split('\\n').slice(1).join(' ').trim()}`;
  return violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map(said) }));
}"""
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}


@pytest.fixture(autouse=True)
def needs_axe() -> None:
    """Skip the test where axe is lacking; fail it where all tests have to run."""
    if not AXE.is_file():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs npm, which installs axe-core")


def violations(tab: Tab, where: str) -> list[str]:
    """Return what axe finds in the page as it is now, a line each."""
    if not tab.evaluate("'axe' in window"):
        tab.evaluate(AXE.read_text("utf-8"))
    tab.wait_for_timeout(250)  # colours fade
    return [
        f"{where}: {one['id']} ({one['help']}): {node}" for one in tab.evaluate(RUN) for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing(
    open_tab: OpenTab, files: Path, device: dict[str, Any], scheme: str, slowly: None
) -> None:
    tab = open_tab(color_scheme=scheme, **device)
    found = violations(tab, "example")
    for name in ("recent", "help", "share", "settings"):
        button = tab.locator(f"[data-menu={name}_menu]")
        if button.is_visible():
            button.click()
            tab.wait_for_selector(f"#{name}_menu")
            found += violations(tab, name)
            tab.keyboard.press("Escape")
    prepare(tab, files / "a.png", 400)
    found += violations(tab, "stale")
    tab.click("#generate")
    tab.wait_for_selector(".lens-viewer[data-phase=writing]")
    found += violations(tab, "writing")
    tab.click("#stop")
    tab.wait_for_selector(".lens-viewer[data-phase=answered]")
    part(tab, "notice").wait_for()
    found += violations(tab, "stopped")
    word(tab, 0).click()
    for name in ("heads", "shares", "methods", "test"):
        panel(tab, name)
        found += violations(tab, name)
    part(tab, "test").click()
    tab.wait_for_selector("[data-part=test]:is([data-state=holds], [data-state=partly], [data-state=fails])")
    found += violations(tab, "tested")
    for name in ("look", "methods"):
        button = tab.locator(f"[data-opens={name}]")
        if button.is_visible():
            button.click()
            found += violations(tab, f"menu of {name}")
            tab.keyboard.press("Escape")
    for view in ("spotlight", "side by side", "wipe"):
        choose(tab, "view", view)
        found += violations(tab, view)
    tab.set_input_files("#image input[type=file]", str(files / "text.png"))
    tab.wait_for_timeout(500)
    found += violations(tab, "error")
    assert not found, "\n".join(found)


def test_axe_finds_nothing_where_there_is_no_answer_yet(open_tab: OpenTab) -> None:
    """Without a model, and while one waits in the line."""
    tab = open_tab()
    assert violations(tab, "example") == []
