"""`python -m scripts.rooms`: the picture of the rooms in docs/architecture.md, drawn from the imports.

A room is a package or a file at the root. It stands below all rooms that import it; a line is an import that
no longer way round already says.
"""

import ast
from collections.abc import Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "rooms.svg"
LEFT_OUT = {"tests", "scripts", "benchmarks"}
APART = "methods.catalog"  # below all others: config reads it, and it reads nothing
BOX_W, BOX_H, GAP_X, GAP_Y, MARGIN = 168, 40, 26, 44, 24
INK, LINE, GROUND = "#1f2328", "#8c959f", "#f6f8fa"

Graph = Mapping[str, set[str]]


def rooms() -> dict[str, list[Path]]:
    """Return the files of each room."""
    found = {file.stem: [file] for file in ROOT.glob("*.py")}
    for package in ROOT.glob("*/__init__.py"):
        found[package.parent.name] = sorted(package.parent.rglob("*.py"))
    catalog = ROOT / "methods" / "catalog.py"
    found["methods"].remove(catalog)
    found[APART] = [catalog]
    return {name: files for name, files in sorted(found.items()) if name not in LEFT_OUT}


def room_of(module: str) -> str:
    """Return the room of a module by its dotted name."""
    return APART if module == APART else module.partition(".")[0]


def imports() -> Graph:
    """Return the rooms that each room imports, at the top of its files or while types are checked."""
    files = rooms()
    graph: dict[str, set[str]] = {}
    for room, own in files.items():
        names = set()
        for file in own:
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    names.add(room_of(node.module or ""))
                elif isinstance(node, ast.Import):
                    names |= {room_of(alias.name) for alias in node.names}
        graph[room] = (names & files.keys()) - {room}
    return graph


def reached(graph: Graph, room: str) -> set[str]:
    """Return the rooms that a room needs, at whatever distance."""
    found: set[str] = set()
    waiting = [room]
    while waiting:
        for below in graph[waiting.pop()] - found:
            found.add(below)
            waiting.append(below)
    return found


def direct(graph: Graph) -> dict[str, set[str]]:
    """Return the graph without what a longer way round already says."""
    return {
        room: {
            below for below in needed if not any(below in reached(graph, other) for other in needed - {below})
        }
        for room, needed in graph.items()
    }


def rows(graph: Graph) -> list[list[str]]:
    """Return the rooms from the top row down, each right above the highest that it needs; no circles."""
    height: dict[str, int] = {}

    def of(room: str) -> int:
        if room in reached(graph, room):
            raise ValueError(f"{room} needs itself, by way of {', '.join(sorted(reached(graph, room)))}")
        if room not in height:
            height[room] = 1 + max(map(of, graph[room]), default=-1)
        return height[room]

    top = max(map(of, graph))
    return [sorted(room for room in graph if height[room] == level) for level in range(top, -1, -1)]


def drawn(graph: Graph) -> str:
    """Return the picture as SVG."""
    levels = rows(graph)
    width = max(len(row) for row in levels) * (BOX_W + GAP_X) - GAP_X + 2 * MARGIN
    height = len(levels) * (BOX_H + GAP_Y) - GAP_Y + 2 * MARGIN
    places = {}
    for level, row in enumerate(levels):
        left = (width - len(row) * (BOX_W + GAP_X) + GAP_X) / 2
        for index, room in enumerate(row):
            places[room] = (left + index * (BOX_W + GAP_X), MARGIN + level * (BOX_H + GAP_Y))
    lines = []
    for room, needed in direct(graph).items():
        for below in sorted(needed):
            (x0, y0), (x1, y1) = places[room], places[below]
            start, end, bend = (x0 + BOX_W / 2, y0 + BOX_H), (x1 + BOX_W / 2, y1), GAP_Y * 0.9
            lines.append(
                f'<path d="M{start[0]:g} {start[1]:g}C{start[0]:g} {start[1] + bend:g} {end[0]:g} '
                f'{end[1] - bend:g} {end[0]:g} {end[1]:g}" fill="none" stroke="{LINE}"/>'
            )
    boxes = [
        f'<rect x="{x:g}" y="{y:g}" width="{BOX_W}" height="{BOX_H}" rx="8" fill="{GROUND}" stroke="{INK}"/>'
        f'<text x="{x + BOX_W / 2:g}" y="{y + BOX_H / 2 + 5:g}" text-anchor="middle">{escape(room)}</text>'
        for room, (x, y) in places.items()
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'font-family="system-ui, sans-serif" font-size="14" fill="{INK}">',
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            *lines,
            *boxes,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(drawn(imports()), encoding="utf-8")
    print(f"Wrote {PICTURE.relative_to(ROOT)}")
