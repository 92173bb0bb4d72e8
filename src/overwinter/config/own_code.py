"""The user's own code behind `_target_`, found on disk without importing or running any of it.

A module is looked for where a stage program would find it: in the programs' folder, on Python's path, and next to
dvc.yaml. What lies in site-packages is an installed package, known by its version. Everything else is the user's: the
folder of the package, or the file of a module outside a package, and whatever else of the user's those files import.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from overwinter.files import tree_digest

_INSTALLED = {"site-packages", "dist-packages"}
_LIBRARIES = {"overwinter", "torch"}  # their versions belong to the project, not to one case


def named_targets(tree: Any) -> Iterator[str]:
    """Yield every `_target_` in a configuration: mappings and lists within each other."""
    if isinstance(tree, Mapping):
        if isinstance(target := tree.get("_target_"), str):
            yield target
        for value in tree.values():
            yield from named_targets(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from named_targets(value)


def own_files(targets: Iterable[str], *, search: Sequence[str], root: Path) -> list[Path]:
    """Return the files and package folders of the user's own code behind ``targets``.

    Args:
        targets: Dotted names of classes and functions.
        search: Folders in which modules are looked for, in order.
        root: The folder of dvc.yaml; a package that contains it is followed file by file, since it also holds outputs.
    """
    importlib.invalidate_caches()
    found: list[Path] = []
    waiting = list(dict.fromkeys(targets))
    for name in waiting:  # grows while it is read
        for path in _places(name, search, root):
            if path not in found and not _is_installed(path):
                found.append(path)
                waiting += [each for each in _imports(path, search) if each not in waiting]
    return [path for path in found if not any(parent in found for parent in path.parents)]


def installed_versions(targets: Iterable[str]) -> dict[str, str]:
    """Return package -> version for each target in an installed package; without metadata, the digest of its files."""
    importlib.invalidate_caches()
    versions = {}
    for name in targets:
        places = _places(name, sys.path, None)
        if places and _is_installed(places[-1]):
            package = name.partition(".")[0]
            versions[package] = _version(package) or tree_digest(places[-1])
    return dict(sorted(versions.items()))


def _version(package: str) -> str | None:
    import importlib.metadata  # slow to import, and few cases name a package of their own

    names = sorted(set(importlib.metadata.packages_distributions().get(package, ())))
    return ", ".join(importlib.metadata.version(name) for name in names) or None


def _is_installed(path: Path) -> bool:
    return not _INSTALLED.isdisjoint(path.parts)


def _places(name: str, search: Sequence[str], root: Path | None) -> list[Path]:
    """Return the files that hold a dotted name; the folder, if it is in a package; nothing if it is not on disk."""
    parts = name.split(".")
    if parts[0] in _LIBRARIES or parts[0] in sys.stdlib_module_names:
        return []
    places: list[Path] = []
    spec = _top_level(parts[0], search)
    for part in [*parts[1:], None]:
        if spec is None:
            break
        origin = Path(spec.origin) if spec.has_location and spec.origin else None
        inside = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
        if origin is not None and origin.is_file():
            whole = inside is not None and not (root is not None and root.is_relative_to(origin.parent))
            places.append((origin.parent if whole else origin).absolute())
            if whole:
                break
        if part is None or inside is None:
            break
        spec = PathFinder.find_spec(part, inside)
    return places


def _top_level(name: str, search: Sequence[str]) -> ModuleSpec | None:
    """Return where a top-level module is; other finders know packages installed in editable mode."""
    if (spec := PathFinder.find_spec(name, list(search))) is not None:
        return spec
    others = (finder for finder in sys.meta_path if finder is not PathFinder and hasattr(finder, "find_spec"))
    return next((spec for finder in others if (spec := finder.find_spec(name, None)) is not None), None)


def _imports(path: Path, search: Sequence[str]) -> list[str]:
    """Return the dotted names that a file, or the files of a package, import."""
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    return [name for file in files if file.suffix == ".py" for name in _imported_names(file, search)]


def _imported_names(file: Path, search: Sequence[str]) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return  # the stage that imports it says so, with the line
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, file, search)
            yield from (f"{module}.{alias.name}" for alias in node.names if module)


def _absolute(node: ast.ImportFrom, file: Path, search: Sequence[str]) -> str:
    """Return the module of a `from ... import`; a relative one is named from the nearest searched folder above it."""
    if not node.level:
        return node.module or ""
    folder = file.parents[node.level - 1]
    places = [place for place in map(Path, search) if folder != place and folder.is_relative_to(place)]
    if not places:
        return ""
    nearest = max(places, key=lambda place: len(place.parts))
    return ".".join([*folder.relative_to(nearest).parts, *filter(None, [node.module])])
