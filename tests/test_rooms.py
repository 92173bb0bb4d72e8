"""Layering: a subpackage imports only from lower layers."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "overwinter"
# Layers from the bottom up; subpackages of one layer do not import each other.
LAYERS = (
    {
        "canary",
        "codecarbon_tables",
        "copies",
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
    | {
        "inputs",
        "plugins",
        "programs",
        "lazy_imports",
        "progress",
        "records",
        "registries",
        "remote",
        "signature",
        "state_folders",
        "template",
    },
    {"config"},
    {"energy"},
    {"carbon"},
    {"ledger", "power"},
    {"budget", "disclosure", "tracking"},
    {"models", "tasks"},
    {"data", "formats"},
    {"calibration"},
    {"runtime", "training"},
    {"sparsity", "quantization", "evaluation", "bundle"},
    {"export", "serving"},
    {"deploy"},
    {"pipeline"},
    {"watching"},
    {"integrations"},
    {"sweep"},
    {"slurm"},
    {"comparison"},
    {"report"},
    {"cli"},
)
LAYER = {package: number for number, packages in enumerate(LAYERS) for package in packages}
GROUND = LAYERS[0]
# Lower layers that must not be imported.
FORBIDDEN = {
    "carbon": {"ledger", "power", "budget"},
    "models": {"energy", "carbon", "ledger", "power", "budget"},
    "runtime": {"energy", "carbon", "ledger", "power", "budget"},
    "bundle": {"energy", "carbon", "ledger", "power", "budget", "sparsity", "training"},
    "deploy": {"models", "data", "runtime", "training", "sparsity", "quantization", "evaluation"},
}


def package_of(path):
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported(path):
    """Yield every subpackage that a file imports, also inside functions and for type checking."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "overwinter":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("overwinter."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("overwinter."))


def test_every_subpackage_has_a_layer():
    assert {package_of(path) for path in SOURCE.rglob("*.py")} - {"__init__"} == set(LAYER)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_a_file_imports_only_lower_layers(path):
    package = package_of(path)
    if package == "__init__":
        return
    for other in set(imported(path)) - {package, "__version__"}:
        if package in GROUND and other in GROUND:
            continue
        assert LAYER[other] < LAYER[package], f"{package} imports {other}, which is not below it"
        assert other not in FORBIDDEN.get(package, ()), f"{package} must not import {other}"
