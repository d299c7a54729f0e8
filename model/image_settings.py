"""How a checkpoint's processor sees pictures: its settings as they were found, mended.

Goes in: what its file says, and the picture's tower that must be able to read the result. Comes out: settings
that the family's image processor takes, and a line for each thing that was mended. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from model.standard import IMAGE_PROCESSOR, Standard
from utils import one_line

OWN_NAMES = {IMAGE_PROCESSOR, f"{IMAGE_PROCESSOR}Fast", f"{IMAGE_PROCESSOR}Pil"}
PLAIN = ("resample", "rescale_factor", "do_normalize", "do_convert_rgb")  # taken as they are
LOWEST = ("min_pixels", "shortest_edge")  # names of the same bound; one in the file's top level comes first
HIGHEST = ("max_pixels", "longest_edge")


def image_settings(
    found: Mapping[str, Any] | None, tower: Any, standard: Standard
) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of the image processor, and what was mended, one line each.

    `found` is what the checkpoint says, None if it says nothing; `tower` is its config's part on vision.
    """
    notes: list[str] = []
    if found is None:
        notes.append(f"it has no image processor: {IMAGE_PROCESSOR} with {_published(standard)} is used")
        found = {"min_pixels": standard.min_pixels, "max_pixels": standard.max_pixels}
    kind = found.get("image_processor_type")
    if kind is not None and kind not in OWN_NAMES:
        # A name that trainers made up holds the same settings; those of another family mean something else.
        kept = "Qwen" in str(kind)
        instead = "" if kept else f" with {_published(standard)}"
        notes.append(
            f"image_processor_type {one_line(kind, 40)} is read as {IMAGE_PROCESSOR}{instead}, "
            "the only one that this family has"
        )
        if not kept:
            found = {"min_pixels": standard.min_pixels, "max_pixels": standard.max_pixels}
    fits = {
        "patch_size": tower.patch_size,
        "merge_size": tower.spatial_merge_size,
        "temporal_patch_size": tower.temporal_patch_size,
    }
    for name, needed in fits.items():
        if found.get(name, needed) != needed:
            notes.append(f"{name} {one_line(found[name], 20)} is set to {needed}, which its weights need")
    lowest, highest = _bounds(found, standard, (fits["patch_size"] * fits["merge_size"]) ** 2, notes)
    cell = fits["patch_size"] * fits["merge_size"]
    if not found.get("do_resize", True):
        notes.append(f"do_resize false is set aside: sides must be multiples of {cell} pixels")
    if not found.get("do_rescale", True):
        notes.append("do_rescale false is set aside: pictures come as whole numbers up to 255")
    settings = {name: found[name] for name in PLAIN if found.get(name) is not None}
    settings |= {"image_processor_type": IMAGE_PROCESSOR, "do_resize": True, "do_rescale": True, **fits}
    settings["size"] = {"shortest_edge": lowest, "longest_edge": highest}
    settings["image_mean"] = _channels("image_mean", found, standard.mean, notes)
    settings["image_std"] = _channels("image_std", found, standard.std, notes)
    return settings, notes


def _published(standard: Standard) -> str:
    return f"the published settings ({standard.min_pixels:,} to {standard.max_pixels:,} pixels)"


def _bounds(found: Mapping[str, Any], standard: Standard, cell: int, notes: list[str]) -> tuple[int, int]:
    """Return the fewest and most pixels of a picture; `cell` are those of one visual token."""
    size = found.get("size")
    places = [found, size if isinstance(size, Mapping) else {}]
    lowest = _first_number(places, LOWEST)
    highest = _first_number(places, HIGHEST)
    if highest is not None and highest < cell:
        notes.append(f"at most {highest} pixels are less than one visual token ({cell})")
        highest = None
    missing = []
    if lowest is None:
        missing.append(f"at least {standard.min_pixels:,}")
    if highest is None:
        missing.append(f"at most {standard.max_pixels:,}")
    lowest = standard.min_pixels if lowest is None else lowest
    highest = standard.max_pixels if highest is None else highest
    if missing:
        said = "" if size is None else f" (size {one_line(size, 60)})"
        notes.append(
            f"its image processor bounds pictures only in part{said}: {' and '.join(missing)} pixels, "
            "as published, are used"
        )
    if lowest > highest:
        notes.append(f"at least {lowest:,} pixels are more than at most {highest:,}: the latter counts")
        lowest = highest
    return lowest, highest


def _first_number(places: Iterable[Mapping[str, Any]], names: Iterable[str]) -> int | None:
    """Return the first of these entries that is a whole number above 0, also one written as text."""
    names = tuple(names)
    for entries in places:
        for name in names:
            value = entries.get(name)
            try:
                number = int(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else 0
            except ValueError:
                number = 0
            if number > 0:
                return number
    return None


def _channels(
    name: str, found: Mapping[str, Any], standard: tuple[float, ...], notes: list[str]
) -> list[float]:
    """Return three numbers, one a channel: as they were found, else the family's."""
    value = found.get(name)
    if value is None:
        return list(standard)
    numbers = [entry for entry in value if isinstance(entry, (int, float))] if isinstance(value, list) else []
    if len(numbers) == len(standard) and (name != "image_std" or min(numbers) > 0):
        return [float(entry) for entry in numbers]
    notes.append(f"{name} {one_line(value, 40)} is set to the family's, {list(standard)}")
    return list(standard)
