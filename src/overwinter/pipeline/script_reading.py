"""Reading a training script without running it: its models, its data sets, what it trains for, what an import runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError

REQUIRED = "???"
"""Hydra's mark of a value that the user must give."""

_MODELS = ("Module", "Sequential", "LightningModule", "PreTrainedModel")
_DATA_SETS = ("Dataset", "IterableDataset", "VisionDataset", "ImageFolder", "DatasetFolder", "TensorDataset")
_READY_DATA_SETS = ("ImageFolder", "DatasetFolder")  # made by a call, without a class of one's own
_TASKS = {
    "CrossEntropyLoss": "classification",
    "cross_entropy": "classification",
    "NLLLoss": "classification",
    "nll_loss": "classification",
    "BCEWithLogitsLoss": "multilabel",
    "binary_cross_entropy_with_logits": "multilabel",
    "MSELoss": "regression",
    "mse_loss": "regression",
    "L1Loss": "regression",
    "l1_loss": "regression",
    "SmoothL1Loss": "regression",
    "HuberLoss": "regression",
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """A class of the script, or of a library, with the arguments that the script makes it with.

    Attributes:
        name: As the script calls it, such as `Net` or `datasets.ImageFolder`.
        arguments: Name -> a plain value, or `REQUIRED` where the script computes it.
        own: Whether the script defines it.
        names_classes: Whether it is a data set that knows the names of its classes, as `classes`.
    """

    name: str
    arguments: Mapping[str, Any]
    own: bool
    names_classes: bool = False


@dataclass(frozen=True, kw_only=True)
class Script:
    """What a training script holds.

    Attributes:
        module: Its name as a module.
        model: The model that is trained.
        data_set: Its data set; None if none was found.
        task: The task that its loss belongs to; None if no known loss was found.
        runs_on_import: The lines that run when it is imported, beside definitions.
    """

    module: str
    model: Found
    data_set: Found | None
    task: str | None
    runs_on_import: tuple[int, ...]


def read_script(path: Path) -> Script:
    """Read a script; nothing of it is run.

    Raises:
        ConfigError: it cannot be read, is no Python, its name is no module's, or it defines no torch.nn.Module.
    """
    if not path.stem.isidentifier():
        raise ConfigError(f"--from {path}: {path.stem!r} is no name of a module. Rename it, such as train_model.py.")
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"--from {path}: it cannot be read as Python: {error}.") from None
    models = _classes(tree, _MODELS)
    if not models:
        raise ConfigError(f"--from {path}: it defines no torch.nn.Module. Name the script with the model's class.")
    return Script(
        module=path.stem,
        model=_trained(tree, models),
        data_set=_data_set(tree),
        task=next((_TASKS[name] for name in map(_last, _named(tree)) if name in _TASKS), None),
        runs_on_import=tuple(node.lineno for node in tree.body if _runs(node)),
    )


def _classes(tree: ast.Module, bases: tuple[str, ...]) -> dict[str, ast.ClassDef]:
    """Return the script's classes with one of these bases, or with one of those as a base, in order."""
    found: dict[str, ast.ClassDef] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(_last(base) in (*bases, *found) for base in node.bases):
            found[node.name] = node
    return found


def _trained(tree: ast.Module, models: Mapping[str, ast.ClassDef]) -> Found:
    """Return the model that no other model is made of: one that the script makes, or the last one."""
    parts = {_last(call.func) for each in models.values() for call in _calls(each)}
    whole = [name for name in models if name not in parts] or list(models)
    outside = [call for node in tree.body if not isinstance(node, ast.ClassDef) for call in _calls(node)]
    made = [call for call in outside if _last(call.func) in whole]
    name = _last(made[-1].func) if made else whole[-1]
    return Found(name=name, arguments=_arguments(models[name], made[-1] if made else None), own=True)


def _data_set(tree: ast.Module) -> Found | None:
    own = _classes(tree, _DATA_SETS)
    made = [call for call in _calls(tree) if _last(call.func) in own]
    if own:
        name = _last(made[0].func) if made else next(iter(own))
        arguments = _arguments(own[name], made[0] if made else None)
        return Found(name=name, arguments=arguments, own=True, names_classes=_sets_classes(own[name]))
    ready = [call for call in _calls(tree) if _last(call.func) in _READY_DATA_SETS]
    if not ready:
        return None
    root = _value(ready[0].args[0]) if ready[0].args else REQUIRED
    return Found(name=ast.unparse(ready[0].func), arguments={"root": root}, own=False, names_classes=True)


def _sets_classes(defined: ast.ClassDef) -> bool:
    """Whether a class has `classes`: in its body, as a property, or set on `self`."""
    methods = [each for each in defined.body if isinstance(each, ast.FunctionDef)]
    rest = [node for each in defined.body if each not in methods for node in ast.walk(each)]
    names = {each.name for each in methods} | {node.id for node in rest if isinstance(node, ast.Name) and _stored(node)}
    set_on_self = {node.attr for node in ast.walk(defined) if isinstance(node, ast.Attribute) and _stored(node)}
    return "classes" in names | set_on_self


def _stored(node: ast.Name | ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store)


def _arguments(defined: ast.ClassDef, made: ast.Call | None) -> dict[str, Any]:
    """Return a class's arguments as a call gives them, or by their defaults."""
    init = next((node for node in defined.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None)
    if init is None:
        return {}
    parameters = [each.arg for each in (*init.args.posonlyargs, *init.args.args)][1:]
    defaults = init.args.defaults
    values: dict[str, Any] = dict.fromkeys(parameters, REQUIRED)
    values |= zip(parameters[len(parameters) - len(defaults) :], map(_value, defaults), strict=True)
    for only, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        values[only.arg] = REQUIRED if default is None else _value(default)
    if made is not None:
        values |= zip(parameters, map(_value, made.args), strict=False)
        values |= {each.arg: _value(each.value) for each in made.keywords if each.arg in values}
    return values


def _value(node: ast.expr) -> Any:
    """Return a literal's value; what has to be computed is the user's to give."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return REQUIRED
    if isinstance(value, tuple):
        value = list(value)
    return value if isinstance(value, str | int | float | bool | list | None) else REQUIRED


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _named(tree: ast.AST) -> Iterator[ast.expr]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute))


def _last(node: ast.expr) -> str:
    """Return the last part of a dotted name: `Module` of `torch.nn.Module`."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _runs(node: ast.stmt) -> bool:
    """Whether a statement does more than define: a loop, a call, a `with`."""
    if isinstance(node, ast.If):  # if __name__ == "__main__"
        return "__name__" not in ast.dump(node.test)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    return isinstance(node, ast.For | ast.While | ast.With)
