"""One direction, kept true: what each room loads, seen in a fresh Python, and where imports stand."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = sorted(
    file.parent.name for file in ROOT.glob("*/__init__.py") if file.parent.name not in ("tests", "scripts")
)
PROJECT = {*PACKAGES, *(file.stem for file in ROOT.glob("*.py"))}
ENTRY_POINTS = {"app", "cli"}  # they wire the rooms together; nothing imports them
SHELL = {"commands"} | ENTRY_POINTS

# What a room must not load, whatever it imports to get there. A room is a package, all of it, or a file.
NOT_LOADED: dict[str, set[str]] = {
    "utils": {"torch", "transformers", "matplotlib", "gradio"} | PROJECT - {"utils", "config", "methods"},
    "records": {"transformers", "gradio", "av", "model", "internals", "methods.maps"} | SHELL,
    "model": {"matplotlib", "gradio", "internals", "attention_extractor", "methods.maps"} | SHELL,
    "internals": {"matplotlib", "gradio", "attention_extractor", "methods.maps", "visualization"} | SHELL,
    "attention_processor": {"torch", "transformers", "matplotlib", "gradio", "model"} | SHELL,
    "attention_extractor": {"matplotlib", "gradio", "methods.maps", "visualization"} | SHELL,
    "closer_look": {"matplotlib", "gradio", "methods.maps", "visualization"} | SHELL,
    "methods": {"matplotlib", "gradio", "visualization", "report", "viewer", "evaluation", "page"} | SHELL,
    "visualization": {"torch", "transformers", "gradio", "model", "methods.maps"} | SHELL,
    "drawing": {"torch", "transformers", "gradio", "model", "methods.maps"} | SHELL,
    "viewer": {"torch", "transformers", "gradio", "model", "methods.maps", "report"} | SHELL,
    "sets": {"transformers", "matplotlib", "gradio"} | PROJECT - {"sets", "utils"},
    "report": {"torch", "transformers", "gradio", "model", "methods.maps", "page"} | SHELL,
    "gradcam": {"gradio", "evaluation", "page"} | SHELL,
    "evaluation": {"gradio", "page"} | SHELL,
    "commands": {"gradio", "page"} | ENTRY_POINTS,
    "page": SHELL,
    "cli": {
        "torch",
        "transformers",
        "gradio",
        "page",
        "app",
    },  # so that --help and a typing error answer at once
}
ONLY_STANDARD_LIBRARY = {"config": {"config", "methods", "methods.catalog"}, "methods.catalog": {"methods"}}
# Work of the shell: loaded when a command runs.
LATER = ("commands.run",)

# Rooms above each other that need torch, which takes seconds: imported one after the other in one Python.
# Each one's list has what those before it loaded, which none of them may load either.
STACK = ("model", "internals", "attention_extractor", "methods", "gradcam", "evaluation", "page")

LISTED = """
import importlib, json, sys
before = set(sys.modules)
for room in json.loads(sys.argv[1]):
    for name in room:
        importlib.import_module(name)
    print(json.dumps(sorted(set(sys.modules) - before)))
"""


def modules_of(room: str) -> list[str]:
    """Return the modules of a room: those of a package, or the file's own."""
    if room not in PACKAGES:
        return [room]
    files = sorted((ROOT / room).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names if not name.startswith(LATER)]


@cache
def loaded_after(*rooms: str) -> tuple[frozenset[str], ...]:
    """Return what a fresh Python has loaded once each of the rooms, one after the other, is imported."""
    asked = json.dumps([modules_of(room) for room in rooms])
    done = subprocess.run([sys.executable, "-c", LISTED, asked], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(frozenset(json.loads(line)) for line in done.stdout.splitlines())


def loaded_by(room: str) -> frozenset[str]:
    """Return what a room loads, with what the rooms below it in the stack load."""
    if room in STACK:
        return loaded_after(*STACK)[STACK.index(room)]
    return loaded_after(room)[0]


@pytest.mark.parametrize("room", NOT_LOADED)
def test_a_room_loads_only_what_is_below_it(room: str) -> None:
    found = loaded_by(room) & NOT_LOADED[room]
    assert not found, f"importing {room} loads {', '.join(sorted(found))}"


@pytest.mark.parametrize("room", ONLY_STANDARD_LIBRARY)
def test_settings_and_catalogue_need_the_standard_library_only(room: str) -> None:
    roots = {name.partition(".")[0] for name in loaded_by(room) if name.partition(".")[0] not in PROJECT}
    # Names that begin with an underscore are parts of it that Python does not list.
    others = {name for name in roots if name not in sys.stdlib_module_names and not name.startswith("_")}
    assert not others
    own = {name for name in loaded_by(room) if name.partition(".")[0] in PROJECT}
    assert own <= ONLY_STANDARD_LIBRARY[room] | {room}


def test_every_room_has_its_rule() -> None:
    ruled = NOT_LOADED.keys() | ONLY_STANDARD_LIBRARY.keys() | {"app", "demo", "benchmarks"}
    assert ruled >= PROJECT, "say in NOT_LOADED what the new room must not load"


@pytest.mark.parametrize(
    ("code", "found"),
    [("import config", {"config"}), ("import records.tokens", set()), ("import torch, records", {"torch"})],
)
def test_the_witness_sees_what_is_loaded(code: str, found: set[str], tmp_path: Path) -> None:
    """What a module loads is told by what was loaded, not by its text."""
    (tmp_path / "room.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{LISTED}", '[["room"]]'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found <= set(json.loads(done.stdout))
    assert ("torch" in json.loads(done.stdout)) == ("torch" in found)


# --- Where imports stand ------------------------------------------------------------------------------------


def project_files() -> list[Path]:
    """Return every Python file of the project's own."""
    folders = [*PACKAGES, "scripts", "tests"]
    return sorted([*ROOT.glob("*.py"), *(file for name in folders for file in (ROOT / name).rglob("*.py"))])


def inner_imports(source: str) -> list[str]:
    """Return the project's own modules that are imported inside functions."""
    found = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for node in ast.walk(function):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            found += [name for name in names if name.partition(".")[0] in PROJECT]
    return found


@pytest.mark.parametrize("file", project_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_the_projects_own_modules_are_imported_at_the_top(file: Path) -> None:
    source = file.read_text("utf-8")
    assert not inner_imports(source)
    if "tests" not in file.parts:
        tree = ast.parse(source)
        imported = {
            (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        assert not imported & ENTRY_POINTS or file.parent.name == "scripts"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def late():\n    from model import load_model", ["model"]),
        ("class A:\n    async def f(self):\n        import methods.maps", ["methods.maps"]),
        ("from model import load_model\ndef f():\n    import av", []),
    ],
)
def test_an_import_inside_a_function_is_found(source: str, found: list[str]) -> None:
    assert inner_imports(source) == found


# --- Small enough to read -----------------------------------------------------------------------------------

LONGEST_FILE, LONGEST_FUNCTION = 400, 60  # lines


def code_files() -> list[Path]:
    """Return every file of code, JavaScript and CSS included."""
    found = [
        file
        for name in ("page", "viewer", "tests")
        for kind in ("js", "css")
        for file in (ROOT / name).rglob(f"*.{kind}")
    ]
    return [*project_files(), *sorted(found)]


@pytest.mark.parametrize("file", code_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_and_its_functions_are_small(file: Path) -> None:
    text = file.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    if (
        file.suffix == ".py" and "tests" not in file.relative_to(ROOT).parts
    ):  # a test tells its story to its end
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"
