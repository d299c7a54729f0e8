"""Calls that cannot be read, told in one line, where Gradio tells nothing or shows its insides.

Goes in: what was sent to the page from anywhere. Comes out: the page's blocks, which say what they need, and
what the server answers to a call that is none. Knows nothing of what the page does.
"""

from typing import Any

import gradio as gr
from fastapi.exceptions import RequestValidationError
from gradio.route_utils import FnIndexInferError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from page.inputs import UNEXPECTED
from page.parts import toast

UNREADABLE = (
    'The request cannot be read: it must be JSON such as {"data": […]}, with the values that "Use via API" '
    "at the foot of the page lists."
)
NO_CALL = 'There is no call of this name; "Use via API" at the foot of the page lists those there are.'
NO_VALUE = "A value that was sent cannot be read; a picture has to be uploaded first, and named by its path."


class Calls(gr.Blocks):
    """Blocks whose callbacks are refused in one line if what they are sent does not fit them."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *more: Any, **named: Any) -> Any:
        """Return the callback's values, as Gradio does."""
        asked = [block for block in block_fn.inputs if not block.stateful]
        if len(inputs) < len(block_fn.inputs):
            labels = ", ".join(str(getattr(block, "label", None) or "…") for block in asked)
            raise toast(f"This call needs {len(asked)} values, in this order: {labels}.")
        try:
            return await super().preprocess_data(block_fn, inputs, *more, **named)
        except gr.Error:
            raise
        except (ValueError, TypeError, AttributeError, KeyError):  # of pydantic, and of values of other types
            raise toast(NO_VALUE) from None


def handlers() -> dict[Any, Any]:
    """Return what the server answers to calls that come to no callback, by the error that they end in."""
    return {
        RequestValidationError: _told(UNREADABLE, 422),
        FnIndexInferError: _told(NO_CALL, 404),
        KeyError: _told(NO_CALL, 404),  # by a number that no callback has
        TypeError: _told(NO_VALUE, 400),  # an upload without a name
        Exception: _told(UNEXPECTED, 500),
    }


def _told(line: str, status: int) -> Any:
    """Return a handler that answers with the line."""

    def answer(_: Request, __: Exception) -> Response:
        return JSONResponse({"detail": line, "error": line}, status_code=status)

    return answer
