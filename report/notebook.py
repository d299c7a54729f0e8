"""The viewer in a cell of a notebook, offline: Jupyter, VS Code and Colab show the `srcdoc` of an iframe.

Goes in: a `Capture` with its picture, and maps of all its tokens or of some. Comes out: HTML. The viewer runs
in a frame of its own: its script sees nothing of the notebook, and the notebook's styles do not reach it.
"""

from __future__ import annotations

import base64
import html
import io

from PIL import Image

import viewer
import visualization
from records.capture import Capture
from records.keep import every_head
from records.selection import Selection
from records.token_maps import SelectedMaps, TokenMaps
from report.view import Subject, drawings

HEIGHT = 760  # pixels; what does not fit scrolls inside the frame


def cell(capture: Capture, image: Image.Image, maps: SelectedMaps) -> str:
    """Return the viewer with all maps in it; where only some tokens have one, a picture of these instead."""
    found = maps.answer or maps.prompt
    count = len(capture.prompt_token_ids if found is maps.prompt else capture.token_ids)
    if found is not None and len(found.tokens) < count:
        return _picture(capture, image, found)
    payload = viewer.payload(capture, image, *maps, leaned=viewer.leaned_on(capture))
    page = html.escape(viewer.report(payload), quote=True)
    return (
        f'<iframe srcdoc="{page}" sandbox="allow-scripts" title="Where each word looks" '
        f'style="width: 100%; height: {HEIGHT}px; border: 0"></iframe>'
    )


def _picture(capture: Capture, image: Image.Image, found: TokenMaps) -> str:
    """Return the maps of some tokens, side by side over the picture."""
    selection = Selection(
        capture.layers,
        every_head(capture),
        tokens=found.tokens,
        by="token",
        of_prompt=found.of_prompt,
        method=found.method,
    )
    sides = (None, found) if found.of_prompt else (found, None)
    each = drawings(Subject(capture, selection, SelectedMaps(*sides)))
    values, labels = [one.values for one in each], [one.title for one in each]
    grid = visualization.map_grid(
        visualization.thumbnails(image, values, selection.look),
        values,
        labels,
        selection.look,
        title=found.line,
        scale_label=each[0].scale_label,
        unit=each[0].unit,
    )
    file = io.BytesIO()
    grid.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    said = html.escape(f"Maps of {', '.join(labels)}", quote=True)
    return f'<img src="data:image/png;base64,{data}" alt="{said}" style="max-width: 100%">'
