"""The page in every state, in both themes and on a phone: axe finds nothing that keeps anybody out."""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page as Tab

from tests.page.browser.kit import OpenTab, panel, prepare
from tests.seeing import Scheme, choose, part, set_scheme, word

pytestmark = [
    pytest.mark.timeout(900),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
AXE = Path(__file__).parents[3] / "node_modules" / "axe-core" / "axe.min.js"
RUN = """async (only) => {
  const options = { resultTypes: ['violations'], ...(only && { runOnly: { type: 'rule', values: only } }) };
  for (let round = 0; round < 20; round++) {
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const fading = document.getAnimations().filter((one) => one instanceof CSSTransition);
    if (!fading.length) break;
    for (const one of fading) one.finish(); // colours half faded are nobody's
  }
  const { violations } = await axe.run(document, options);
  const said = ({ html, failureSummary }) =>
    `${html.slice(0, 160)} | ${failureSummary.split('\\n').slice(1).join(' ').trim()}`;
  return violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map(said) }));
}"""
OF_COLOURS = [
    "color-contrast",
    "link-in-text-block",
]  # axe's rules that look at colours, as a theme sets them
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}


@pytest.fixture(autouse=True)
def needs_axe() -> None:
    """Skip the test where axe is lacking; fail it where all tests have to run."""
    if not AXE.is_file():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs npm, which installs axe-core")


def violations(tab: Tab, where: str, rules: list[str] | None = None) -> list[str]:
    """Return what axe finds in the page once colours have faded, by these rules or by all, a line each."""
    if not tab.evaluate("'axe' in window"):
        tab.evaluate(AXE.read_text("utf-8"))
    return [
        f"{where}: {one['id']} ({one['help']}): {node}"
        for one in tab.evaluate(RUN, rules)
        for node in one["nodes"]
    ]


def in_both_themes(tab: Tab, scheme: Scheme, where: str) -> list[str]:
    """Return what axe finds in the theme that the page was opened in, and of the colours in the other one."""
    other: Scheme = "light" if scheme == "dark" else "dark"
    found = violations(tab, f"{where}, {scheme}")
    set_scheme(tab, other)
    found += violations(tab, f"{where}, {other}", OF_COLOURS)
    set_scheme(tab, scheme)
    return found


@pytest.mark.parametrize(("device", "scheme"), [(DESK, "light"), (PHONE, "dark")], ids=["desk", "phone"])
def test_axe_finds_nothing(
    open_tab: OpenTab, files: Path, device: dict[str, Any], scheme: Scheme, waiting: None
) -> None:
    tab = open_tab(color_scheme=scheme, **device)
    found = in_both_themes(tab, scheme, "example")
    for name in ("recent", "help", "share", "settings"):
        button = tab.locator(f"[data-menu={name}_menu]")
        if button.is_visible():
            button.click()
            tab.wait_for_selector(f"#{name}_menu")
            found += in_both_themes(tab, scheme, name)
            tab.keyboard.press("Escape")
    prepare(tab, files / "a.png", 1000)
    found += in_both_themes(tab, scheme, "stale")
    tab.click("#generate")
    tab.wait_for_selector(".lens-viewer[data-phase=writing]")
    found += in_both_themes(tab, scheme, "writing")
    tab.click("#stop")
    tab.wait_for_selector(".lens-viewer[data-phase=answered]")
    part(tab, "notice").wait_for()
    found += in_both_themes(tab, scheme, "stopped")
    word(tab, 0).click()
    for name in ("heads", "shares", "methods", "test"):
        panel(tab, name)
        found += in_both_themes(tab, scheme, name)
    part(tab, "test").click()
    tab.wait_for_selector("[data-part=test]:is([data-state=holds], [data-state=partly], [data-state=fails])")
    found += in_both_themes(tab, scheme, "tested")
    for name in ("look", "methods"):
        button = tab.locator(f"[data-opens={name}]")
        if button.is_visible():
            button.click()
            found += in_both_themes(tab, scheme, f"menu of {name}")
            tab.keyboard.press("Escape")
    for view in ("spotlight", "side by side", "wipe"):
        choose(tab, "view", view)
        found += in_both_themes(tab, scheme, view)
    tab.set_input_files("#image input[type=file]", str(files / "text.png"))
    tab.wait_for_timeout(500)
    found += in_both_themes(tab, scheme, "error")
    assert not found, "\n".join(found)


def test_axe_finds_nothing_where_there_is_no_answer_yet(open_tab: OpenTab) -> None:
    """Without a model, and while one waits in the line."""
    tab = open_tab()
    assert violations(tab, "example") == []
