"""Pages made when the site is built: all settings, from configs/, and the library, from its rooms' own words.

The comment at a key in configs/ is its description in the schema, held by a test.
"""

import importlib
from pathlib import Path

import yaml

_LIBRARY_HEAD = """# The library

What a stage, a script or a plug-in uses, room by room.
"""
_ROOMS = [
    "watching",
    "pipeline",
    "data",
    "models",
    "tasks",
    "training",
    "calibration",
    "sparsity",
    "quantization",
    "runtime",
    "evaluation",
    "bundle",
    "energy",
    "power",
    "carbon",
    "budget",
    "ledger",
    "sweep",
    "slurm",
    "report",
    "disclosure",
    "formats",
    "export",
]
_SETTINGS_HEAD = """# Settings

Every group of `configs/`, its options, and the keys of each with the value that the option gives. `overwinter run
GROUP=OPTION GROUP.KEY=VALUE` chooses and overrides. A value that the schema does not allow is refused with the allowed
ones.
"""


def write_pages(configs: Path, folder: Path) -> None:
    """Write both pages into a folder; one that is as it was is left alone, so that it is not built anew."""
    groups = sorted({path.parent for path in configs.rglob("*.yaml")} - {configs})
    pages = {
        "settings": "\n".join(
            [_SETTINGS_HEAD, *(_group(path, path.relative_to(configs).as_posix()) for path in groups)]
        ),
        "library": f"{_LIBRARY_HEAD}\n```{{eval-rst}}\n{_rooms()}\n```\n",
    }
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        page = folder / f"{name}.md"
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def _rooms() -> str:
    """Return the directives that document what the rooms export; what two of them export, once."""
    documented: set[str] = set()
    directives = []
    for room in _ROOMS:
        module = importlib.import_module(f"overwinter.{room}")
        exported = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
        vars(module).update(exported)  # most rooms load it on first use, and autodoc looks only for what is loaded
        again = ", ".join(documented & set(exported))
        options = ["members:", "imported-members:", *([f"exclude-members: {again}"] if again else [])]
        directives.append("\n   :".join([f".. automodule:: {module.__name__}", *options]))
        documented |= set(exported)
    return "\n\n".join(directives)


def _group(folder: Path, name: str) -> str:
    options = sorted(folder.glob("*.yaml"))
    return "\n".join([f"## {name}\n", *(_option(path, name) for path in options)])


def _option(path: Path, group: str) -> str:
    text = path.read_text()
    lines = [f"### {group}={path.stem}\n", *_about(text.splitlines())]
    rows = list(_rows(text))
    if rows:
        lines += ["", "| key | value | |", "|---|---|---|", *rows]
    return "\n".join([*lines, ""])


def _about(lines: list[str]) -> list[str]:
    """Return the comment at a file's head."""
    head = []
    for line in lines:
        if not line.startswith("#"):
            break
        head.append(line.lstrip("# ").rstrip())
    return head


def _rows(text: str):
    """Yield a row for each key: its path, its value, and the comment behind it."""
    root = yaml.compose(text)
    if isinstance(root, yaml.MappingNode):
        yield from _mapping_rows(root, text.splitlines(), "")


def _mapping_rows(node: yaml.MappingNode, lines: list[str], prefix: str):
    for key, value in node.value:
        if key.value == "defaults":
            continue
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            yield from _mapping_rows(value, lines, f"{prefix}{key.value}.")
            continue
        line = lines[key.start_mark.line]
        _, mark, comment = line[value.end_mark.column if value.end_mark.line == key.start_mark.line else 0 :].partition(
            "# "
        )
        given = _cell(line[key.end_mark.column + 1 : len(line) - len(mark + comment)])
        yield f"| `{prefix}{key.value}` | {f'`{given}`' if given else ''} | {_cell(comment)} |"


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|")
