"""What the parts of the page share: headings and lines, errors as one line, whose request it is.

Goes in: texts and errors. Comes out: small components, and what Gradio shows. Knows nothing of
models and maps.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from html import escape
from itertools import count
from pathlib import Path
from typing import Any

import gradio as gr

from page.inputs import RefusedError, refusal

HERE = Path(__file__).parent
HIDDEN: dict[str, Any] = {"api_visibility": "private", "preprocess": False, "show_progress": "hidden"}
AT_ONCE: dict[str, Any] = {"queue": False, **HIDDEN}
LATEST: dict[str, Any] = {"trigger_mode": "always_last", **AT_ONCE}
LONG: dict[str, Any] = {"concurrency_limit": None, **HIDDEN}  # it waits in the model's own queue
AGAIN: dict[str, Any] = {"trigger_mode": "multiple", **LONG}  # heard meanwhile: it takes the earlier's place
IN_BROWSER: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

Outputs = dict[Any, Any]


# --- Components ---


def heading(text: str, elem_classes: str | None = None) -> None:
    """Add a heading of one of the page's parts."""
    gr.HTML(f"<h2>{escape(text)}</h2>", elem_classes=elem_classes, js_on_load=None)


def line(value: str, elem_id: str, role: str = "status") -> gr.HTML:
    """Add a line of text that changes; it is written as text, never as HTML."""
    template = f'<p class="text" role="{role}"></p>'
    return gr.HTML(
        value, html_template=template, js_on_load=text_of("line.js"), apply_default_css=False, elem_id=elem_id
    )


def text_of(name: str) -> str:
    """Return a file of the page."""
    return (HERE / name).read_text(encoding="utf-8")


@lru_cache(maxsize=16)
def quoted(script: str) -> frozenset[str]:
    """Return the names that stand in quotes in a component's script: Gradio takes them for its events."""
    return frozenset(re.findall(r"""(?<=['"`])\w+(?=['"`])""", script))


_searched = gr.HTML.__getattr__


def _event(component: gr.HTML, name: str) -> Any:
    """Return Gradio's event of this name where the component's script has one.

    Gradio searches the script for each name that a component lacks, about ten whenever something of it
    changes, and that of the viewer has 250 kB. Each script is searched once here.
    """
    if name in quoted(component.__dict__.get("js_on_load") or ""):
        return _searched(component, name)
    raise AttributeError(f"'{type(component).__name__}' object has no attribute '{name}'.")


gr.HTML.__getattr__ = _event  # type: ignore[method-assign]


# --- Callbacks ---


_numbers = count()


def new_number() -> int:
    """Return a number that goes along with what has to be heard even if it is what was told last.

    The browser hears of nothing that is as it was, though what it showed may be gone by then.
    """
    return next(_numbers)


def already_told(line: str) -> gr.Error:
    """Return the error that ends a callback, and what follows it, after the page has said why in a line."""
    return gr.Error(escape(line, quote=False), visible=False, print_exception=False)


def toast(line: str) -> gr.Error:
    """Return the error that shows the line at the corner of the page."""
    return gr.Error(escape(line, quote=False), print_exception=False)


@contextmanager
def told(plain: bool = False) -> Iterator[None]:
    """Turn any error into one line at the corner of the page; `plain` for a caller that is no browser."""
    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        reason = refusal(error)
        raise (gr.Error(reason, print_exception=False) if plain else toast(reason)) from None


def visitor_of(request: gr.Request) -> str:
    """Return the key of the visitor's own things."""
    if not request.session_hash:
        raise RefusedError("The request belongs to no session.")
    return request.session_hash
