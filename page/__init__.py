"""The page: what a browser shows and asks, over one model and each visitor's answers."""

import os
import tempfile

from page import environment

# All are read as Gradio is imported, or later from here. Analytics: else a thread calls home.
environment.take()
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# Uploads of one picture have one place in Gradio's folder, and a page that ends removes its own: in a folder
# shared with another running page it would remove that one's. This one goes with the process.
_UPLOADS = tempfile.TemporaryDirectory(prefix="word-lens-", ignore_cleanup_errors=True)
os.environ.setdefault("GRADIO_TEMP_DIR", _UPLOADS.name)
