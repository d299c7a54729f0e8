"""What the environment says to a Gradio page: what is taken here, left to Gradio, without effect, or refused.

Goes in: environment variables. Comes out: those with a meaning here; the others where Gradio no longer finds
them. Imports the standard library only, as it acts before Gradio is imported, which reads several at once.
"""

import os
from collections.abc import Mapping, MutableMapping

OURS = "WORD_LENS_"
# Of each setting that the environment can give: the variables that do, the page's own first.
VARIABLES = {
    "HOST": (f"{OURS}HOST", "GRADIO_SERVER_NAME"),
    "PORT": (f"{OURS}PORT", "GRADIO_SERVER_PORT"),
    "ROOT_PATH": (f"{OURS}ROOT_PATH", "GRADIO_ROOT_PATH"),
    "ALLOWED_ORIGINS": (f"{OURS}ALLOWED_ORIGINS",),
    "TRUSTED_PROXIES": (f"{OURS}TRUSTED_PROXIES", "FORWARDED_ALLOW_IPS"),
    "AUTH": (f"{OURS}AUTH",),
}
# What Gradio itself does with these is meant: files that stay closed, signs of life, where uploads lie.
LEFT_TO_GRADIO = ("GRADIO_BLOCKED_PATHS", "GRADIO_HEARTBEAT_INTERVAL", "GRADIO_TEMP_DIR")
_BYPASS = "it opens a way past the page's checks"
# What would undo what the page promises, with the reason.
REFUSED = {
    "GRADIO_SHARE": "pictures and answers would pass through other people's computers, at an address that "
    "anyone may open; docs/deploy.md has tunnels of your own",
    "GRADIO_ALLOWED_PATHS": "it hands out files of this computer that nobody uploaded",
    "GRADIO_NUM_WORKERS": _BYPASS + ": servers of files on ports of their own",
    "GRADIO_LOCAL_DEV_MODE": _BYPASS + ": pages without an address may call",
    "GRADIO_VIBE_MODE": _BYPASS + ": the program can be edited from the browser",
    "GRADIO_WATCH_DIRS": _BYPASS + ": the program is replaced while it runs",
    "GRADIO_DEBUG": "the page would never say where it is",
}
_OFF = ("", "0", "false", "no", "off")
_taken: dict[str, str] = {}


def take(environ: MutableMapping[str, str] = os.environ) -> None:
    """Keep what is meant for a Gradio page or its server, and hide it from both: they get it as arguments."""
    for name in [name for name in environ if _is_gradios(name) or name == "FORWARDED_ALLOW_IPS"]:
        value = environ.pop(name)
        if value:
            _taken[name] = value
    # Unset, the server would believe whoever calls from this computer about where a request came from.
    environ["FORWARDED_ALLOW_IPS"] = ""


def said(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return every variable that has a value, those that were taken included."""
    return {name: value for name, value in {**environ, **_taken}.items() if value.strip()}


def check(variables: Mapping[str, str]) -> str:
    """Return a line that names the variables which have no effect here, or an empty text.

    Raises:
        ValueError: one line, for a variable that would undo what the page promises, and for one of ours that
            there is not.
    """
    known = {name for names in VARIABLES.values() for name in names}
    on = {name: value for name, value in variables.items() if value.strip().lower() not in _OFF}
    for name in on:
        if name in REFUSED:
            raise ValueError(f"{name} is refused: {REFUSED[name]}. Unset it.")
        if name.startswith(OURS) and name not in known:
            there = ", ".join(sorted(name for name in known if name.startswith(OURS)))
            raise ValueError(f"There is no {name}; there are {there}.")
    idle = sorted(name for name in on if _is_gradios(name) and name not in known)
    return f"No effect here: {', '.join(idle)}." if idle else ""


def _is_gradios(name: str) -> bool:
    return name.startswith("GRADIO_") and name not in LEFT_TO_GRADIO
