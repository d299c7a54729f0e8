"""What was worked out about an answer since, beside its entry in the store; each part can be missing.

Goes in: an entry's folder, and what was found. Comes out: a file of its own for each part, and the parts that
can be read back. A part is only read beside the answer that it was worked out for. Knows nothing of models.

Arrays are safetensors with their facts in the file's own header, tests are JSON: nothing is ever unpickled.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from records.map_check import MapCheck
from records.token_maps import Cost, TokenMaps
from records.visuals import shape_of_map
from utils import alone_or_list, one_line

if TYPE_CHECKING:
    from records.capture import Capture

FORMAT = 1  # of a part; one in another format is left out
WITHOUT, MAPS, CHECK = "without.safetensors", "maps-{}.safetensors", "check-{}.json"
_log = logging.getLogger(__name__)

Part = TypeVar("Part")


@dataclass(frozen=True, eq=False)
class Additions:
    """What was worked out about an answer since it was given."""

    without: NDArray[np.float32] | None = None  # (token,): log p to the same question without the picture
    maps: Mapping[str, TokenMaps] = field(default_factory=dict)  # by method; perhaps of some tokens only
    checks: tuple[MapCheck, ...] = ()


def write_without(folder: Path, capture: Capture, without: NDArray[np.float32]) -> Path:
    """Write log p of each token without the picture (token,), and return the file."""
    _check_without(capture, without)
    return _write_array(folder / WITHOUT, "without", without, _facts(capture))


def write_maps(folder: Path, capture: Capture, maps: TokenMaps) -> Path:
    """Write the maps of a method that read the answer again, and return the file.

    Raises:
        ValueError: for maps of the prompt, or without sinks: these are not kept, the capture gives them.
    """
    if maps.of_prompt or maps.removed is not None:
        raise ValueError("only maps of the answer, with nothing left out, are kept")
    _check_maps(capture, maps)
    facts = {
        **_facts(capture),
        "method": maps.method,
        "tokens": list(maps.tokens),
        "cost": asdict(maps.cost),
        "settings": maps.settings,
        "notes": list(maps.notes),
    }
    return _write_array(folder / MAPS.format(maps.method), "maps", maps.maps, facts)


def write_check(folder: Path, capture: Capture, check: MapCheck) -> Path:
    """Write the test of a map, and return the file: one for each map and choice of tokens."""
    _check_test(capture, check)
    told = json.dumps([check.map_key, check.tokens]).encode()
    file = folder / CHECK.format(hashlib.sha256(told).hexdigest()[:16])
    file.write_text(json.dumps({**_facts(capture), "check": check.as_dict()}), encoding="utf-8")
    return file


def read_additions(folder: Path, capture: Capture, name: str) -> Additions:
    """Return what is kept beside an answer; a part that cannot be read is reported and left out."""
    without = _readable(folder / WITHOUT, _read_without, capture, name)
    maps = [_readable(file, _read_maps, capture, name) for file in _files(folder, MAPS)]
    checks = [_readable(file, _read_check, capture, name) for file in _files(folder, CHECK)]
    return Additions(
        without,
        {one.method: one for one in maps if one is not None},
        tuple(one for one in checks if one is not None),
    )


def read_maps(folder: Path, capture: Capture, method: str, name: str) -> TokenMaps | None:
    """Return a method's maps that are kept beside an answer; None where there are none that can be read."""
    return _readable(folder / MAPS.format(method), _read_maps, capture, name)


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern.format("*")))


# --- Parts --------------------------------------------------------------------------------------------------


def _facts(capture: Capture) -> dict[str, Any]:
    """Return what ties a part to its answer."""
    picture = alone_or_list([visual.hash for visual in capture.visuals])
    said: list[Any] = [capture.model_name, picture, capture.prompt_token_ids, capture.token_ids]
    if capture.history:
        said.append([asdict(turn) for turn in capture.history])
    return {"format": FORMAT, "answer": hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]}


def _check_belongs(facts: Mapping[str, Any], capture: Capture) -> None:
    check_format(facts, (FORMAT,))
    if facts["answer"] != _facts(capture)["answer"]:
        raise ValueError("it was worked out for another answer")


def _check_without(capture: Capture, without: NDArray[Any]) -> None:
    shape = (len(capture.token_ids),)
    if without.shape != shape or without.dtype != np.float32 or not (without <= 1e-4).all():
        raise ValueError(
            f"expected log p in float32 of shape {shape}; got {without.dtype} of shape {without.shape}"
        )


def _check_maps(capture: Capture, maps: TokenMaps) -> None:
    shape = shape_of_map(capture.visuals)
    if maps.maps.shape[1:] != shape or maps.tokens[-1] >= len(capture.token_ids):
        raise ValueError(
            f"expected maps of {len(capture.token_ids)} tokens, each of shape {shape}; "
            f"got {maps.maps.shape}, the last of token {maps.tokens[-1]}"
        )


def _check_test(capture: Capture, check: MapCheck) -> None:
    is_there = 0 <= check.visual < len(capture.visuals)
    if (
        not is_there
        or check.patches != capture.visuals[check.visual].count
        or not set(check.tokens) <= set(range(len(capture.token_ids)))
    ):
        raise ValueError(f"the test of a map of {check.patches} patches is not of this answer")


def _read_without(file: Path, capture: Capture) -> NDArray[np.float32]:
    without, _ = _read_array(file, "without", capture)
    _check_without(capture, without)
    return without


def _read_maps(file: Path, capture: Capture) -> TokenMaps:
    values, facts = _read_array(file, "maps", capture)
    found = TokenMaps(
        method=facts["method"],
        tokens=tuple(facts["tokens"]),
        maps=values,
        cost=Cost(**facts["cost"]),
        settings=facts["settings"],
        notes=tuple(facts["notes"]),
        capture=capture,
    )
    _check_maps(capture, found)
    return found


def _read_check(file: Path, capture: Capture) -> MapCheck:
    facts = json.loads(file.read_text("utf-8"))
    _check_belongs(facts, capture)
    found = MapCheck.from_dict(facts["check"])
    _check_test(capture, found)
    return found


# --- Files --------------------------------------------------------------------------------------------------


def _write_array(file: Path, name: str, values: NDArray[Any], facts: Mapping[str, Any]) -> Path:
    """Write one array with its facts, and return the file."""
    from safetensors.numpy import save_file

    with disk_told():
        save_file({name: np.ascontiguousarray(values)}, file, metadata={"facts": json.dumps(facts)})
    return file


@contextmanager
def disk_told() -> Iterator[None]:
    """Turn what safetensors says of a disk that does not take a file into the OSError that it is."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, os.strerror(code)) from error


def _read_array(file: Path, name: str, capture: Capture) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return an array of this answer, and its facts."""
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as content:
        facts = json.loads(content.metadata()["facts"])
        _check_belongs(facts, capture)
        return content.get_tensor(name), facts


def _readable(file: Path, read: Callable[[Path, Capture], Part], capture: Capture, name: str) -> Part | None:
    """Return a part; None for one that cannot be read, which is reported unless it is not there."""
    try:
        return read(file, capture)
    except MemoryError:
        raise
    except Exception as error:  # two readers raise a dozen kinds
        if file.exists():
            what = damage_text(error)
            _log.warning(
                "%s beside the kept answer %s is damaged and was left out: %s", file.name, name, what
            )
        return None


def damage_text(error: Exception) -> str:
    """Return in a few words what is wrong with a file that cannot be read."""
    return type(error).__name__ if isinstance(error, KeyError) else one_line(error, 120)


def check_format(facts: Mapping[str, Any], expected: Sequence[int]) -> None:
    """Raise ValueError for a file that was written in another format than these."""
    if facts["format"] not in expected:
        raise ValueError(f"it is in format {facts['format']}, not {' or '.join(map(str, expected))}")
