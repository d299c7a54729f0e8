"""The page in a browser: looks; the bundled model."""

import re
from pathlib import Path

import pytest

from demo.scenes import HELD_OUT_SEED, make_scene
from tests.page.browser.kit import (
    OpenTab,
    ask,
    generate,
    panel,
    recent,
    says,
    upload,
)
from tests.seeing import Scheme, part, set_scheme, state
from tests.seeing import choose as choose_one
from tests.serving import served

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


# --- Looks ---


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1024, "dark"), (390, "light")])
def test_the_page_fits_and_can_be_read(open_tab: OpenTab, files: Path, width: int, scheme: Scheme) -> None:
    tab = open_tab(viewport={"width": width, "height": 844}, color_scheme=scheme)

    def in_both_themes(condition: str) -> bool:
        """Whether something is true in the other theme, and in the one that the page was opened in."""
        found = []
        other: Scheme = "light" if scheme == "dark" else "dark"
        for one in (other, scheme):
            set_scheme(tab, one)
            found.append(tab.evaluate(condition))
        return found == [True, True]

    def fits() -> bool:
        return in_both_themes(f"document.documentElement.scrollWidth <= {width}")

    assert fits()
    for name in ("model", "load", "status", "image", "prompt", "generate", "token", "answer", "overlay"):
        assert tab.locator(f"#{name}").count() == 1
    ask(tab, files / "a.png")
    for name in ("shares", "methods", "test", "heads"):
        panel(tab, name)
        assert fits(), name
    part(tab, "headsCanvas").wait_for()
    for view in ("side by side", "spotlight", "wipe"):
        choose_one(tab, "view", view)
        state(tab)
        assert fits(), view
    assert recent(tab).count() == 1
    assert fits()
    if width >= 1024:  # one screen
        assert in_both_themes("document.documentElement.scrollHeight <= window.innerHeight")


# --- The bundled model ---


def test_two_clicks_to_a_picture_that_makes_sense(open_tab: OpenTab, tmp_path: Path) -> None:
    """The bundled model as a newcomer meets it: an example, Generate, a map; and a right answer."""
    with served("demo") as (_, url):
        tab = open_tab(url)
        tab.locator("#image .thumb").nth(1).click()
        generate(tab)
        assert re.fullmatch(r"An? [a-z, ]+\.", part(tab, "words").text_content() or "")
        assert len(set(state(tab)["values"])) > 4

        scene = make_scene(HELD_OUT_SEED + 2, n_objects=1)
        scene.image.save(tmp_path / "scene.png")
        upload(tab, tmp_path / "scene.png")
        tab.fill("#prompt textarea", "Describe this image.")
        generate(tab)
        assert part(tab, "words").text_content() == scene.caption
        thing = scene.objects[0]
        button = part(tab, "words").locator(".lens-word", has_text=re.compile(rf"^{thing.name}$"))
        button.click()
        says(tab, "headline", f"“{thing.name}” came from the picture")
        assert button.get_attribute("aria-selected") == "true"
