"""JavaScript modules as one script.

Goes in: a folder of ES modules that import from each other by name. Comes out: one classic script, put
together as it is asked for, for pages that can take no modules: a file opened from disk, a function of
Gradio's. Knows nothing of what the modules do; they import and export in the two forms below and in no other.
"""

import posixpath
import re
from graphlib import TopologicalSorter
from pathlib import Path

_IMPORT = re.compile(r"^import \{(\s*\w+(?:,\s*\w+)*,?\s*)\} from '(\.[^']*)';$", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const) (\w+))", re.MULTILINE)


def one_script(folder: Path, entry: str) -> str:
    """Return a script that defines what the module `entry` exports, and nothing else.

    Each module becomes a function that is called once, after those that it imports from, and sees only its
    own names and the imported ones.

    Raises:
        ValueError: for an import or export in another form, or modules that import each other in a circle.
    """
    sources: dict[str, str] = {}
    imports: dict[str, list[str]] = {}
    waiting = [entry]
    while waiting:
        path = waiting.pop()
        if path in sources:
            continue
        sources[path] = (folder / path).read_text("utf-8")
        imports[path] = [_resolved(path, name) for _, name in _IMPORT.findall(sources[path])]
        waiting += imports[path]
    order = TopologicalSorter(imports).static_order()  # its CycleError is a ValueError
    parts = [_as_function(path, sources[path]) for path in order]
    names = ", ".join(_EXPORT.findall(sources[entry]))
    return "\n".join(
        [
            f"const {{ {names} }} = (() => {{",
            "'use strict'; // as modules are",
            "const modules = {};",
            *parts,
            f"return modules['{entry}'];",
            "})();\n",
        ]
    )


def _resolved(path: str, name: str) -> str:
    """Return the path within the folder of what the module at `path` imports from."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), name))


def _as_function(path: str, source: str) -> str:
    """Return a module as a statement that keeps in `modules` what it exports."""

    def taken(match: re.Match[str]) -> str:
        return f"const {{{match[1]}}} = modules['{_resolved(path, match[2])}'];"

    body = _EXPORT.sub("", _IMPORT.sub(taken, source))
    if left := re.search(r"^(?:import|export)\b.*", body, re.MULTILINE):
        raise ValueError(
            f"{path}: cannot join {left[0]!r}; write import {{ a }} from './b.js' and export const a"
        )
    names = ", ".join(_EXPORT.findall(source))
    return f"modules['{path}'] = (() => {{\n{body}return {{ {names} }};\n}})();"
