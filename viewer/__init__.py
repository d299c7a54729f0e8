"""The viewer: explore the maps of one answer in a browser, without a server.

Goes in: a `Capture`, its picture and the `TokenMaps` of its tokens, by whatever method. Comes out: plain data
for the viewer (`payload`), one HTML file that holds everything (`report`), and the viewer's own sources for a
page that embeds it (`assets`). Knows nothing of models or Gradio.

`mountViewer(root, payload, {onPick, onChange})` in js/mount.js draws it; the comment at its top has the rest.
There js/state/ holds the one state and pure functions of it, js/view/ what reads and writes elements.
"""

from viewer.document import assets, report
from viewer.methods import methods_payload, short_name
from viewer.payload import (
    COLORMAPS,
    floored,
    heads_payload,
    leaned_on,
    leaned_payload,
    packed,
    payload,
)
from viewer.pictures import pictures_payload

__all__ = [
    "COLORMAPS",
    "assets",
    "floored",
    "heads_payload",
    "leaned_on",
    "leaned_payload",
    "methods_payload",
    "packed",
    "payload",
    "pictures_payload",
    "report",
    "short_name",
]
