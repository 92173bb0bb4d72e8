"""Making a new project run an existing script's model and data: its code copied, two small files and two options.

The script is copied as it is and imported as a module. The model is named by `configs/model/NAME.yaml`. The data set is
split by a short class of the user's own, `NAME_data.py`, which is written once and theirs to edit.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from overwinter.errors import OverwinterError
from overwinter.files import write_text
from overwinter.pipeline.script_reading import REQUIRED, Found, Script

_DEFAULT_TASK = "classification"
_DATA = '''\
"""The splits of the data set of {module}.py, for the pipeline: edit them as your data needs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
{imports}

class Data:
    """Splits by chance, with a seed of their own, so that a test sample stays a test sample.

    Args:
        labels: The classes' names in order, or the names of the numbers that the model gives; null: those that the
            data set itself has, as `classes`.
        split_seed: The seed of the splits.
        arguments: The data set's own.
    """

    preprocessing: dict[str, Any] = {{}}  # what a server has to do to raw inputs: {{"mean": [0.5], "std": [0.25]}}, ...

    def __init__(self, *, labels: list[str] | None, split_seed: int, **arguments: Any) -> None:
        self._labels, self._split_seed, self._arguments = labels, split_seed, arguments

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(self._data_set.classes if self._labels is None else self._labels)

    @cached_property
    def _data_set(self) -> Any:
        return {made}

    @cached_property
    def _parts(self) -> list[Any]:
        chance = torch.Generator().manual_seed(self._split_seed)
        return torch.utils.data.random_split(self._data_set, [0.7, 0.15, 0.15], chance)

    def split(self, name: str) -> Any:
        """Return the map-style data set of `train`, `validation` or `test`: pairs of an input and a target."""
        return self._parts[("train", "validation", "test").index(name)]
'''
_NO_DATA_SET = "...  # make your data set here, of self._arguments: pairs of an input tensor and a target"
_NO_TRANSFORM = "transform=torchvision.transforms.ToTensor()"


@dataclass(frozen=True, kw_only=True)
class Wrapped:
    """What was written, and what is left to do.

    Attributes:
        files: The files that were written, as paths in the project.
        to_edit: What the user has still to give or to change, one line each.
    """

    files: tuple[str, ...]
    to_edit: tuple[str, ...]


def wrap_script(folder: Path, path: Path, script: Script) -> Wrapped:
    """Write what lets the project in a folder run the model and the data of a script.

    Args:
        folder: A new project.
        path: The script.
        script: What it holds.

    Raises:
        OverwinterError: the folder's config.yaml is not the template's.
    """
    module = script.module
    data_module = f"{module}_data"
    task = script.task or _DEFAULT_TASK
    shutil.copyfile(path, folder / f"{module}.py")
    write_text(folder / f"{data_module}.py", _data_code(script))
    model = {"_target_": f"{module}.{script.model.name}", **script.model.arguments}
    known = script.data_set is not None and script.data_set.names_classes
    data = {"_target_": f"{data_module}.Data", "labels": None if known else REQUIRED, "split_seed": 0}
    data |= _data_arguments(script.data_set, path.absolute().parent)
    _write_option(folder, "model", module, f"The model of {module}.py.", model)
    _write_option(folder, "data", module, f"The data set of {module}.py, split by {data_module}.py.", data)
    _choose(folder / "configs" / "config.yaml", module, data_module, task)
    return Wrapped(
        files=(f"{module}.py", f"{data_module}.py", f"configs/model/{module}.yaml", f"configs/data/{module}.yaml"),
        to_edit=tuple(_left_to_edit(script, {"model": model, "data": data}, data_module)),
    )


def _data_code(script: Script) -> str:
    found, module = script.data_set, script.module
    if found is None:
        return _DATA.format(module=module, imports="", made=_NO_DATA_SET)
    if found.own:
        return _DATA.format(
            module=module, imports=f"\nimport {module}\n", made=f"{module}.{found.name}(**self._arguments)"
        )
    name = f"torchvision.datasets.{found.name.rpartition('.')[2]}"
    return _DATA.format(
        module=module, imports="import torchvision\n", made=f"{name}(**self._arguments, {_NO_TRANSFORM})"
    )


def _data_arguments(found: Found | None, folder: Path) -> Mapping[str, Any]:
    """Return the data set's arguments; a path beside the script, in ``folder``, becomes absolute."""
    arguments = {} if found is None else found.arguments
    return {name: _path_or_value(value, folder) for name, value in arguments.items()}


def _path_or_value(value: Any, folder: Path) -> Any:
    is_there = isinstance(value, str) and value not in ("", REQUIRED) and (folder / value).exists()
    return str(folder / value) if is_there else value


def _write_option(folder: Path, group: str, name: str, about: str, values: Mapping[str, Any]) -> None:
    text = yaml.safe_dump(dict(values), sort_keys=False)
    write_text(folder / "configs" / group / f"{name}.yaml", f"# {about}\n{text}")


def _choose(path: Path, module: str, data_module: str, task: str) -> None:
    """Name the new options, the task and the trusted modules in config.yaml, whose comments stay."""
    text = path.read_text(encoding="utf-8")
    changes = {
        r"^  - data: \S+": f"  - data: {module}",
        r"^  - model: \S+": f"  - model: {module}",
        r"^  - task: \S+": f"  - task: {task}",
        r"^trusted_targets: \[\]": f"trusted_targets: [{module}, {data_module}]",
    }
    for pattern, line in changes.items():
        text, count = re.subn(pattern, line, text, count=1, flags=re.MULTILINE)
        if not count:
            raise OverwinterError(f"{path} has no line like {line!r}. Reinstall overwinter.")
    write_text(path, text)


def _left_to_edit(script: Script, options: Mapping[str, Mapping[str, Any]], data_module: str) -> list[str]:
    module = script.module
    left = [
        f"configs/{group}/{module}.yaml: give {key}"
        for group, values in options.items()
        for key, value in values.items()
        if value == REQUIRED
    ]
    if script.data_set is None:
        left.append(f"{data_module}.py: make your data set in _data_set")
    if script.task is None:
        left.append(f"configs/config.yaml: task is {_DEFAULT_TASK}; choose another if the model is for something else")
    if script.runs_on_import:
        lines = ", ".join(map(str, script.runs_on_import))
        left.append(f"{module}.py: lines {lines} run on import; move them under `if __name__ == '__main__':`")
    return left
