"""Keeps a torchvision that does not fit this torch from breaking transformers. Import it before transformers.

transformers asks only whether torchvision is installed. A build for another torch is, and does not import
("operator torchvision::nms does not exist"), and then neither does transformers. Here it is hidden, and the
model works as it does where there is none. `TORCHVISION` says whether it can be used.
"""

import importlib
import importlib.util
import sys


def torchvision_imports() -> bool:
    """Return whether torchvision can be imported; one that is there and cannot is hidden from then on."""
    if importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision")
    except Exception:  # a build for another torch raises RuntimeError or OSError, not ImportError
        sys.modules["torchvision"] = None  # type: ignore[assignment]
        return False
    return True


TORCHVISION = torchvision_imports()
