"""The page in a browser: a checkpoint that thinks aloud first."""

import re
from pathlib import Path

import pytest

from tests.page.browser.kit import OpenTab, becomes, choose, generate, listed, menu, prepare, says
from tests.seeing import part, said, state
from tests.serving import FIRST, served
from tests.tiny import save_tiny

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
ASKS = "{% if enable_thinking %}<think>\n{% else %}<think>\n\n</think>\n\n{% endif %}"
THOUGHT, ANSWER = "Hm, red.\n</think>\n\n", "A red cat."


def test_thoughts_are_folded_and_can_be_left_out(
    open_tab: OpenTab, files: Path, tmp_path: Path, waiting: None
) -> None:
    folder = save_tiny(tmp_path / "thinks", **FIRST)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text("utf-8") + ASKS, "utf-8")
    with served(str(folder)) as (page, url):
        tab = open_tab(url)
        prepare(tab, files / "a.png", 1000)
        menu(tab, "settings")
        tab.check("#thinking input")
        tab.fill("#given textarea", THOUGHT + ANSWER)
        tab.keyboard.press("Escape")
        generate(tab)
        assert next(iter(page.sessions._runs.values())).capture.thinking
        words, thoughts = part(tab, "words"), part(tab, "thoughts")
        assert words.text_content() == THOUGHT + ANSWER
        assert words.inner_text().strip() == ANSWER
        assert said(thoughts) == "2 words of thought"
        assert min(map(int, re.findall(r"\d+", str(state(tab)["pick"]["key"])))) >= len(THOUGHT)

        tab.click("[data-part=answerOnly]")
        becomes(tab, "pick.key", f"{len(THOUGHT)}-{len(THOUGHT + ANSWER) - 1}")
        listed(tab, f"the answer without its thoughts ({len(ANSWER)} tokens)")
        tab.keyboard.press("ArrowLeft")  # the last of its words, before which no thought is walked to
        becomes(tab, "pick.key", str(len(THOUGHT + ANSWER) - 1))
        for _ in range(6):
            tab.keyboard.press("ArrowLeft")
        becomes(tab, "pick.key", str(len(THOUGHT)))

        thoughts.click()
        words.get_by_text("Hm", exact=True).click()
        becomes(tab, "pick.key", "0-1")
        assert thoughts.get_attribute("aria-expanded") == "true"
        thoughts.click()
        becomes(tab, "pick.key", f"{len(THOUGHT)}-{len(THOUGHT + ANSWER) - 1}")
        assert words.inner_text().strip() == ANSWER
        choose(tab, "#token", "the whole answer")
        becomes(tab, "pick.key", "all")
        says(tab, "headline", "The whole answer")

        menu(tab, "settings")
        tab.fill("#given textarea", "")
        tab.keyboard.press("Escape")
        tab.click("#generate")
        tab.wait_for_selector(".lens-viewer[data-phase=writing]")
        assert thoughts.is_hidden()  # they were those of the answer before
        tab.click("#stop")
        tab.wait_for_selector(".lens-viewer[data-phase=answered]")
        tab.close()
