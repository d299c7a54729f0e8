"""The list of recent answers: each can be reopened, also after a restart and without a model.

Goes in: the ids of what this browser asked. Comes out: what the store keeps of them. The browser holds the
ids; an answer whose id it does not hold is never listed.
"""

import base64
import re
import time
from collections.abc import Sequence
from typing import Any

import gradio as gr

from page.inputs import RefusedError
from page.parts import Outputs, text_of
from page.sessions import Run
from records.entries import Entry
from records.store import DamagedError, Store

LISTED = 24
PATIENCE = 3.0  # seconds
_ID = re.compile(r"[0-9a-f]{32}")


class Recent:
    """The list, and what is read from the store for it."""

    def __init__(self, store: Store) -> None:
        """Add what is not seen to the blocks that are being built."""
        self.store = store
        # A key that stays the same lets the browser's list be read after a restart; it hides nothing.
        # Not where the list is: what stands in a closed part of the page is neither read nor written.
        self.mine = gr.BrowserState([], storage_key="answers", secret="answers")  # noqa: S106
        # The id under which an answer is kept that is cut off, say by a reload.
        self.begun = gr.BrowserState(None, storage_key="begun", secret="answers")  # noqa: S106
        self.wanted = gr.JSON(visible=False)  # the id of the answer that was clicked

    def add_list(self) -> None:
        """Add the list to the blocks that are being built."""
        self.list = gr.HTML(
            [],
            html_template='<div class="recent"><p class="none">Your answers will be listed here.</p></div>',
            js_on_load=text_of("recent.js"),
            apply_default_css=False,
            elem_id="recent",
        )

    def listed(self, mine: Any) -> list[dict[str, Any]]:
        """Return what the list shows, newest first: id, question, answer, model, when, thumbnail."""
        own = set(ids_of(mine))
        return [shown(entry) for entry in self.store.recent() if entry.id in own][:LISTED]

    def added(self, mine: Any, run: Run, parent: Run | None = None) -> Outputs:
        """Return the list with an answer put first; `parent`, if it is new, comes next."""
        if run.kept is None:
            return {}
        known = [one for one in ids_of(mine) if one != run.kept]
        fresh = [parent.kept] if parent and parent.kept and parent.kept not in known else []
        ids = [run.kept, *fresh, *known][:LISTED]
        return {self.mine: ids, self.list: self.listed(ids)}

    def cut_off(self, begun: Any) -> Run | None:
        """Return what was written of an answer before this browser left the page; None where there is none.

        It may still be on its way to the store: it is waited for, though not for long.
        """
        if not isinstance(begun, str) or not _ID.fullmatch(begun):
            return None
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            kept = self.store.find(begun)
            if kept is not None:
                return Run.of(kept)
            time.sleep(0.1)
        return None

    def opened(self, mine: Any, wanted: Any) -> Run:
        """Return an answer of the list.

        Raises:
            ValueError: one line, if it is not this browser's, no longer kept, or damaged.
        """
        if wanted not in ids_of(mine):
            raise RefusedError("This answer is not in your list.")
        try:
            kept = self.store.open(wanted)
        except KeyError:
            raise RefusedError("This answer is no longer kept: ask again.") from None
        except DamagedError as error:
            raise RefusedError(str(error)) from None
        return Run.of(kept)


def ids_of(mine: Any) -> Sequence[str]:
    """Return the ids that a browser holds; anything else in its list is left out."""
    return (
        [one for one in mine if isinstance(one, str) and _ID.fullmatch(one)] if isinstance(mine, list) else []
    )


def shown(entry: Entry) -> dict[str, Any]:
    """Return what the list shows of an answer."""
    data = base64.b64encode(entry.thumbnail.read_bytes()).decode("ascii")
    return {
        "id": entry.id,
        "prompt": entry.prompt,
        "answer": entry.answer or "(an empty answer)",
        "model": entry.model,
        "when": time.strftime("%d %b %Y, %H:%M", time.localtime(entry.saved)),
        "src": f"data:image/png;base64,{data}",
    }
