"""The events of the page's components are those that Gradio finds in their scripts."""

import inspect
import re

import gradio as gr
import pytest

from page.parts import quoted
from page.site import Page

PARAMETERS = set(inspect.signature(gr.HTML).parameters)


def test_a_name_is_an_event_where_the_script_has_it_in_quotes(page: Page) -> None:
    """Compared with a search of the whole script for each name, as Gradio defines it."""
    shown = [block for block in page.blocks.blocks.values() if isinstance(block, gr.HTML)]
    heard = 0
    for component in shown:
        script = vars(component).get("js_on_load") or ""
        names = PARAMETERS | quoted(script) | {"maps", "test", "stop", "likeable", "_selectable", "nothing"}
        for name in names - vars(component).keys() - set(dir(gr.HTML)):
            in_quotes = re.search(rf"""['"`]{re.escape(name)}['"`]""", script) is not None
            assert hasattr(component, name) == in_quotes, name
            heard += in_quotes
    assert heard > 10


def test_a_name_between_two_quoted_ones_counts_too() -> None:
    assert quoted("""on('a"b`c', "d", e, 'f g')""") == {"a", "b", "c", "d"}


def test_what_is_no_event_is_no_attribute(page: Page) -> None:
    with pytest.raises(AttributeError, match="'HTML' object has no attribute 'nothing'"):
        page.explorer.viewer.nothing  # noqa: B018
