"""Which of Gradio's ways in are open: what the page and its API use, and nothing else.

Goes in: a request's method and path. Comes out: whether it is open. Gradio has more of them, of which some
take files past every limit, fetch addresses for whoever asks, or write to disk.
"""

import re

API = "/gradio_api"
UPLOAD = f"{API}/upload"
HEARD = f"{API}/queue/data"  # by session: all that is told
DIRECT = (f"{API}/run/", f"{API}/api/")  # what begins so is done at once, without Gradio's queue
ASKED = (f"{API}/queue/join", f"{API}/call/")  # and so, in the queue
_READ = re.compile(
    rf"(/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|logout|login|user)/?|/(assets|static|svelte)/.+"
    rf"|{API}/((info|openapi\.json|app_id|startup-events|login_check|token|user|queue/data|queue/status|theme\.css)/?"
    rf"|heartbeat/[^/]+|call/(v2/)?[^/]+/[^/]+|file=(?![a-z][a-z0-9+.-]+:).+))",
    re.DOTALL | re.IGNORECASE,
)
_WRITTEN = re.compile(
    rf"/login/?|{API}/((upload|queue/join|cancel|reset)/?|(run|api)/[^/]+/?|call/(v2/)?[^/]+/?)", re.DOTALL
)


def is_open(method: str, path: str) -> bool:
    """Return whether a way in is one that the page or its API uses; the path is the page's own."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return _READ.fullmatch(path) is not None
    return method == "POST" and _WRITTEN.fullmatch(path) is not None
