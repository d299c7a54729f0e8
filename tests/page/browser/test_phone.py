"""The page on a phone: whatever a tap opens or changes is inside the window, and nothing lies over it."""

from pathlib import Path

import pytest
from playwright.sync_api import Page as Tab

from tests.page.browser.kit import OpenTab, upload
from tests.seeing import part

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
WIDTH, HEIGHT = 390, 844
# Whether a point, this far below the upper left corner of an element, shows that element.
SHOWS = """([selector, down]) => {
  const element = document.querySelector(selector);
  const box = element.getBoundingClientRect();
  const at = document.elementFromPoint(box.left + 24, box.top + down);
  return box.height >= down && element.contains(at);
}"""


@pytest.fixture(params=["reduce", "no-preference"])
def phone(open_tab: OpenTab, request: pytest.FixtureRequest) -> Tab:
    size = {"width": WIDTH, "height": HEIGHT}
    return open_tab(viewport=size, has_touch=True, is_mobile=True, reduced_motion=request.param)


def is_shown(tab: Tab, selector: str, down: float = 8) -> None:
    """Wait until the first `down` pixels of an element are in the window and seen."""
    for y in (4, down):
        tab.wait_for_function(SHOWS, arg=[selector, y])


def scroll_to_the_end(tab: Tab) -> None:
    tab.evaluate("document.querySelector('.lens-body').scrollTop = 1e6")


def test_what_a_tap_on_a_tab_opens_is_seen(phone: Tab) -> None:
    for name in ("heads", "shares", "methods", "test"):
        phone.locator(f"[data-tab={name}]").tap()
        is_shown(phone, f"[data-panel={name}]", 40)
        is_shown(phone, "[data-part=picture]")
        phone.evaluate("document.querySelector('.lens-body').scrollTop = 0")


def test_a_menu_opens_where_there_is_room(phone: Tab) -> None:
    for selector, opened in [
        *((f"[data-menu={name}_menu]", f"#{name}_menu") for name in ("recent", "help", "share", "settings")),
        *((f"[data-opens={name}]", f"[data-popover={name}]") for name in ("look", "methods")),
        ("#token input", "#token .options"),
    ]:
        phone.locator(selector).tap()
        box = phone.locator(opened).bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= WIDTH, opened
        assert 0 <= box["y"] <= box["y"] + box["height"] <= HEIGHT, opened
        assert box["height"] > 80, opened
        is_shown(phone, opened, 40)
        phone.keyboard.press("Escape")


def test_a_stale_answer_says_so_wherever_one_is(phone: Tab, files: Path) -> None:
    phone.locator("[data-tab=methods]").tap()
    is_shown(phone, "[data-panel=methods]", 40)
    scroll_to_the_end(phone)
    upload(phone, files / "a.png")
    is_shown(phone, "[data-part=notice]")
    scroll_to_the_end(phone)
    is_shown(phone, "[data-part=notice]")
    part(phone, "notice").locator("button").tap()
    part(phone, "notice").wait_for(state="hidden")


def test_nothing_of_the_form_lies_over_the_pinned_picture(phone: Tab) -> None:
    phone.locator("[data-tab=methods]").tap()
    is_shown(phone, "[data-panel=methods]", 40)
    over = phone.evaluate(
        """() => {
          const body = document.querySelector('.lens-body');
          const pinned = document.querySelector('.lens-right');
          const labels = [...document.querySelectorAll('#gradcam_box [data-testid=block-info]')];
          body.style.scrollBehavior = 'auto';
          const found = [];
          for (const label of labels.filter((one) => one.checkVisibility())) {
            const far = label.getBoundingClientRect().top - pinned.getBoundingClientRect().bottom;
            body.scrollTop += far + 30;
            const box = label.getBoundingClientRect();
            const at = document.elementFromPoint(box.left + 4, box.top + 4);
            if (!pinned.contains(at)) found.push(label.textContent);
          }
          return labels.length ? found : ['no label'];
        }"""
    )
    assert over == []
