"""The page: what a browser shows and asks, over one model and each visitor's answers."""

import atexit
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from page import environment
from utils import PRIVATE, remove_abandoned, unfinished_folder

# All are read as Gradio is imported, or later from here. Analytics: else a thread calls home.
environment.take()
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# Uploads of one picture have one place in Gradio's folder, and a page that ends removes its own: in a folder
# shared with another running page it would remove that one's. This one goes with the process, or, if that is
# killed, as the next page begins.
UPLOADS, _TEMPORARY = "word-lens-page-", Path(tempfile.gettempdir())
remove_abandoned(_TEMPORARY, f"{UPLOADS}*")
_HELD = ExitStack()
atexit.register(_HELD.close)
_uploads = _HELD.enter_context(unfinished_folder(_TEMPORARY, PRIVATE, UPLOADS))
os.environ.setdefault("GRADIO_TEMP_DIR", str(_uploads))
