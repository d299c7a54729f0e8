"""Where this computer's Chromium is. Needs the standard library alone."""

import shutil

# The one without windows comes first: the other one keeps a whole browser's windows behind each page, which
# nobody sees, at five times the cost.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser")


def chromium_path() -> str | None:
    """Return the path of Debian's Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def needed_chromium() -> str:
    """Return the path of Chromium; end the program with a line where there is none."""
    path = chromium_path()
    if path is None:
        raise SystemExit("There is no Chromium on this computer: apt install chromium")
    return path
