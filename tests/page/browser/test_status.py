"""The page in a browser: what is said of a model is read to its end."""

import pytest

from tests.page.browser.kit import OpenTab, ready

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
NOWHERE = "/there/is/no/such/folder/and/its/name/is/so/long/that/the/line/takes/more/than/a/row/of/the/page"
REMEDY = "or a hub id such as Qwen/Qwen2.5-VL-3B-Instruct."


@pytest.mark.parametrize("size_wh", [(1440, 900), (1024, 768), (390, 844)])
def test_a_refusal_is_on_screen_whole_and_so_is_the_page(open_tab: OpenTab, size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    tab = open_tab(viewport={"width": width, "height": height})
    ready(tab)
    tab.fill("#model input", NOWHERE)
    tab.keyboard.press("Enter")
    tab.click("#load")
    tab.wait_for_function("text => document.querySelector('#status').textContent.includes(text)", arg=REMEDY)
    box, page = tab.evaluate(
        """() => {
             const place = document.querySelector('#status');
             const { left, right, top, bottom } = place.getBoundingClientRect();
             const isWhole = place.scrollHeight <= place.clientHeight + 1;
             return [{ left, right, top, bottom, isWhole }, document.documentElement.scrollHeight];
           }"""
    )
    assert box["isWhole"]
    assert box["bottom"] - box["top"] > 10
    assert box["left"] >= 0
    assert box["right"] <= width
    if width > 820:  # a phone's page scrolls
        assert page <= height
