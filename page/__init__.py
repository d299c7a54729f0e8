"""The page: what a browser shows and asks, over one model and each visitor's answers."""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported: else a thread calls home
