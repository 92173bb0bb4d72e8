"""Which room may import which: data flows one way, so nothing imports what stands above it."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "overwinter"
# From the ground up; rooms of one floor do not import each other.
FLOORS = (
    {
        "canary",
        "codecarbon_tables",
        "documents",
        "errors",
        "units",
        "files",
        "metrics",
        "paths",
        "manifest",
        "outputs",
        "plain_files",
    }
    | {"plugins", "programs", "lazy_imports", "progress", "records", "registries", "template"},
    {"config"},
    {"energy"},
    {"carbon"},
    {"ledger", "power"},
    {"budget"},
    {"models"},
    {"data"},
    {"calibration", "runtime", "training"},
    {"sparsity", "quantization", "evaluation", "bundle"},
    {"serving"},
    {"deploy"},
    {"pipeline"},
    {"report"},
    {"cli"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
GROUND = FLOORS[0]
# Below, and yet not to be known.
FORBIDDEN = {
    "carbon": {"ledger", "power", "budget"},
    "models": {"energy", "carbon", "ledger", "power", "budget"},
    "runtime": {"energy", "carbon", "ledger", "power", "budget"},
    "bundle": {"energy", "carbon", "ledger", "power", "budget", "sparsity", "training"},
    "deploy": {"models", "data", "runtime", "training", "sparsity", "quantization", "evaluation"},
}


def room_of(path):
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported(path):
    """Yield every room that a file imports anywhere in it, also inside functions and for type checking."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "overwinter":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("overwinter."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("overwinter."))


def test_every_room_has_its_floor():
    assert {room_of(path) for path in SOURCE.rglob("*.py")} - {"__init__"} == set(FLOOR)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_a_file_imports_only_what_is_below_its_room(path):
    room = room_of(path)
    if room == "__init__":
        return
    for other in set(imported(path)) - {room, "__version__"}:
        if room in GROUND and other in GROUND:
            continue
        assert FLOOR[other] < FLOOR[room], f"{room} imports {other}, which is not below it"
        assert other not in FORBIDDEN.get(room, ()), f"{room} may not know {other}"
