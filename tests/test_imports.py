"""design's one direction, kept true: what each file must not import."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the top down. A room may import those before it, never those after it.
ROOMS = [
    "config",
    "utils",
    "torchvision_guard",
    "target_text",
    "model",
    "attention_extractor",
    "store",
    "attention_processor",
    "visualization",
    "targets",
    "gradcam",
    "views",
    "viewer",
    "pdf_report",
    "export",
    "methods",
    "ways",
    "checks",
    "evaluation",
    "commands",
    "app",
    "cli",
]
FOLDERS = ("benchmarks", "commands", "demo", "evaluation", "methods", "page", "tests", "viewer")
ENTRY_POINTS = {"app", "cli"}  # they wire the rooms together; nothing imports them
THIRD_PARTY = {"torch", "transformers", "gradio", "PIL", "numpy", "matplotlib", "safetensors", "accelerate"}
FORBIDDEN = {
    "config": THIRD_PARTY | set(ROOMS),
    "utils": {"gradio", "torch", "transformers"} | set(ROOMS) - {"config", "utils"},
    "torchvision_guard": THIRD_PARTY | set(ROOMS),
    "target_text": THIRD_PARTY | set(ROOMS) - {"target_text"},
    "model": {"gradio"},
    "attention_extractor": {"gradio", "PIL.ImageDraw", "PIL.ImageFont"},
    "attention_processor": {"transformers", "gradio", "PIL"},
    "store": {"gradio", "PIL.ImageDraw", "PIL.ImageFont"},
    "views": {"torch", "transformers", "gradio", "PIL", "gradcam", "targets"},
    "pdf_report": {
        "torch",
        "transformers",
        "gradio",
        "attention_processor",
        "PIL.ImageDraw",
        "PIL.ImageFont",
    },
    "export": {"torch", "transformers", "gradio", "page", "PIL.ImageDraw", "PIL.ImageFont"},
    "targets": {"torch", "transformers", "gradio", "PIL", "attention_processor", "visualization"},
    "gradcam": {"gradio", "attention_processor"},
    "methods": {"gradio", "matplotlib", "visualization", "page", "demo"} | ENTRY_POINTS,
    "checks": {"gradio", "page", "demo"} | ENTRY_POINTS,
    "evaluation": {"gradio", "visualization", "page", "demo"} | ENTRY_POINTS,
    "visualization": {"torch", "transformers", "gradio"},
    "viewer": {"torch", "transformers", "gradio", "model", "gradcam", "page", "demo"},
    "app": {"transformers"},
    "page": {"transformers"} | ENTRY_POINTS,
    "commands": {"gradio", "page"} | ENTRY_POINTS,
    "cli": {"gradio", "page"},
    "demo": {"gradio", "page"} | ENTRY_POINTS,
}


def imported_names(tree: ast.AST) -> set[str]:
    """Return what is imported anywhere in the file, in functions too: "PIL" and "PIL.ImageDraw"."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names} | {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {node.module.split(".")[0], *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def project_files() -> list[Path]:
    """Return every Python file of the project's own."""
    folders = [ROOT, *(ROOT / name for name in FOLDERS)]
    return sorted(file for folder in folders for file in folder.glob("*.py"))


def room_of(file: Path) -> str:
    """Return the name by which the table knows a file: its folder's, or its own."""
    return file.parent.name if file.parent != ROOT else file.stem


def violations(room: str, source: str) -> set[str]:
    """Return the imports that a file of this room must not have."""
    found = imported_names(ast.parse(source))
    later = set(ROOMS[ROOMS.index(room) + 1 :]) if room in ROOMS and room not in ENTRY_POINTS else set()
    entry_points = ENTRY_POINTS - {room} if room != "tests" else set()
    return found & (FORBIDDEN.get(room, set()) | later | entry_points)


@pytest.mark.parametrize("file", project_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_imports_only_what_its_room_may(file: Path) -> None:
    found = violations(room_of(file), file.read_text("utf-8"))
    assert not found, f"{file.relative_to(ROOT)} must not import {', '.join(sorted(found))}"


@pytest.mark.parametrize(
    ("room", "source", "found"),
    [
        ("visualization", "import torch.nn", {"torch"}),
        ("visualization", "def late():\n    from transformers import AutoModel", {"transformers"}),
        ("attention_processor", "from PIL import Image", {"PIL"}),
        ("attention_extractor", "from PIL import Image, ImageDraw", {"PIL.ImageDraw"}),
        ("attention_extractor", "import PIL.ImageFont", {"PIL.ImageFont"}),
        ("model", "from attention_extractor import Capture", {"attention_extractor"}),
        ("gradcam", "import attention_processor", {"attention_processor"}),
        ("visualization", "import gradcam", {"gradcam"}),
        ("targets", "from gradcam import GradCam", {"gradcam"}),
        ("cli", "import app", {"app"}),
        ("utils", "import model", {"model"}),
        ("viewer", "import torch\nfrom page.runs import Run", {"torch", "page"}),
        ("visualization", "from viewer import payload", {"viewer"}),
        ("config", "import numpy", {"numpy"}),
        ("benchmarks", "import app", {"app"}),
        ("tests", "import app, gradio, torch", set()),
        ("app", "import gradio\nfrom cli import main", {"cli"}),
        ("attention_processor", "import torch\nfrom attention_extractor import Capture", set()),
    ],
)
def test_the_walk_finds_what_it_should(room: str, source: str, found: set[str]) -> None:
    assert violations(room, source) == found


@pytest.mark.parametrize("file", sorted(ROOT.glob("*.py")), ids=lambda file: file.name)
def test_transformers_is_imported_after_the_guard(file: Path) -> None:
    """Whoever imports transformers at the top imports the guard, or model, which does, before it."""
    order = [
        name
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in sorted(imported_names(node))
    ]
    if "transformers" in order:
        before = order[: order.index("transformers")]
        assert {"model", "torchvision_guard"} & set(before), "import torchvision_guard or model first"


def test_every_room_of_the_table_is_known() -> None:
    rooms = {file.stem for file in ROOT.glob("*.py")}
    assert rooms <= set(ROOMS), "add the new room to ROOMS, with what it must not import"
