"""The only place that turns a `_target_` into an object.

Hydra's own `instantiate` calls any callable it is given, which has led to published remote code executions. Here, the
target must be a *class of the kind that its key requires*, which is checked before it is called. Allowed are:

- classes of overwinter, listed by their exact names (`MODEL`, `DATA`, `TASK`, `MEASURE`);
- public classes of a library, such as `torch.nn.Linear`; the check imports nothing;
- classes defined in packages that the user trusts (`trusted_targets`). A configuration may also name functions there
  that build models; a saved model, which can come from elsewhere, may not.

Arguments are plain data, and a `_target_` inside them is refused.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from overwinter.errors import TargetError, nearest

_LONGEST = 256  # letters of a name
_DEEPEST = 32  # lists and mappings within each other
_MAX_VALUES = 100_000
_LARGEST = 2**63  # no size or seed is above it
_LIBRARY_CLASS = re.compile(r"(modules\.(\w+\.)?)?[A-Z]\w*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The targets allowed under one configuration key.

    Attributes:
        key: The configuration key.
        noun: A description of the required class, for messages.
        classes: Classes of overwinter: public name -> defining module.
        functions: Functions of overwinter: the same; a configuration may name them and a saved model may not.
        library: A package whose public classes of this kind are allowed; None for none.
        suffix: What the names of those classes end in.
        inside: The package that defines those classes; None: the library's subpackage ``modules``.
        made_by_functions: Whether the user's own functions may build one.
    """

    key: str
    noun: str
    classes: Mapping[str, str] = field(default_factory=dict)
    functions: Mapping[str, str] = field(default_factory=dict)
    library: str | None = None
    suffix: str = ""
    inside: str | None = None
    made_by_functions: bool = False

    def built_in(self, target: str, *, functions: bool) -> str | None:
        """Return `module:name` of overwinter's target of this name; None if there is none."""
        listed = {**self.classes, **self.functions} if functions else self.classes
        for public, home in listed.items():
            name = public.rpartition(".")[2]
            if target in (public, f"{home}.{name}"):
                return f"{home}:{name}"
        return None

    def in_library(self, target: str) -> bool:
        """Return whether the target's name can be that of a public class of the library."""
        prefix = f"{self.library}."
        name = target.removeprefix(prefix)
        return target.startswith(prefix) and name.endswith(self.suffix) and bool(_LIBRARY_CLASS.fullmatch(name))

    def allowed(self, *, functions: bool) -> str:
        """Return a description of the targets that need no trust, for messages."""
        names = [*self.classes, *(self.functions if functions else ())]
        ending = f" that end in {self.suffix}" if self.suffix else ""
        names += [f"classes of {self.library}{ending}"] if self.library else []
        return ", ".join(names) or "nothing"


MODEL = Kind(
    key="model",
    noun="class that derives from torch.nn.Module",
    classes={
        "overwinter.models.CausalLanguageModel": "overwinter.models.causal",
        "overwinter.models.ConvNet": "overwinter.models.convnet",
        "overwinter.models.PretrainedModel": "overwinter.models.pretrained_model",
    },
    functions={"overwinter.models.pretrained": "overwinter.models.huggingface"},
    library="torch.nn",
    made_by_functions=True,
)
DATA = Kind(
    key="data",
    noun="class with a method split",
    classes={
        "overwinter.data.Digits": "overwinter.data.digits",
        "overwinter.data.FashionMnist": "overwinter.data.fashion",
        "overwinter.data.Text": "overwinter.data.text",
    },
)
PRETRAINED_TARGETS = ("overwinter.models.pretrained", "overwinter.models.huggingface.pretrained")
TEXT_TARGETS = ("overwinter.data.Text", "overwinter.data.text.Text")
TASK = Kind(key="task", noun="class with the methods of overwinter.tasks.Task")
LOSS = Kind(key="task.loss", noun="class whose objects can be called", library="torch.nn", suffix="Loss")
OPTIMIZER = Kind(
    key="train.optimizer",
    noun="class that derives from torch.optim.Optimizer",
    library="torch.optim",
    inside="torch.optim",
)
SCHEDULE = Kind(
    key="train.schedule",
    noun="class that derives from torch.optim.lr_scheduler.LRScheduler",
    library="torch.optim.lr_scheduler",
    inside="torch.optim.lr_scheduler",
)
MEASURE = Kind(key="evaluate.measures", noun="class whose objects can be called")


def instantiate(
    node: Mapping[str, Any],
    kind: Kind,
    fits: Callable[[type], bool],
    *,
    trusted: Sequence[str] = (),
    functions: bool = True,
) -> Any:
    """Call ``node["_target_"]`` with the node's other keys.

    Args:
        node: `_target_` (dotted path of a class, or of a function that builds models) and its keyword arguments.
        kind: The required kind.
        fits: A function that returns whether a class is of that kind.
        trusted: Packages allowed in addition to the kind's targets, from `trusted_targets`.
        functions: Whether functions may be called: True for a configuration, False for a saved model.

    Raises:
        ConfigError: the target is missing, not allowed, not found, of another kind, or does not take these arguments.
    """
    found = find_target(node, kind, fits, trusted=trusted, functions=functions)
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    _refuse_misfit(node["_target_"], found, arguments)
    return found(**arguments)


def find_target(
    node: Mapping[str, Any], kind: Kind, fits: Callable[[type], bool], *, trusted: Sequence[str], functions: bool
) -> Callable[..., Any]:
    """Return the class or function that `instantiate` would call, without calling it.

    Raises:
        ConfigError: the target is missing, not allowed, not found, of another kind, or its arguments are not plain
            data.
    """
    target = trusted_target(node, kind, trusted=trusted, functions=functions)
    refuse_code(node, key=kind.key)
    if (home := kind.built_in(target, functions=functions)) is not None:
        module, name = home.split(":")
        return _of_kind(target, getattr(importlib.import_module(module), name), kind, fits, functions=functions)
    if kind.in_library(target):
        return _of_kind(target, _library_class(kind, target), kind, fits, functions=False)
    return _of_kind(target, _trusted_object(target, trusted), kind, fits, functions=functions)


def trusted_target(
    node: Mapping[str, Any],
    kind: Kind,
    *,
    trusted: Sequence[str],
    key: str = "",
    functions: bool = True,
    option: str = "trusted_targets=[{}]",
) -> str:
    """Return the node's `_target_` if its name is allowed, without importing anything.

    Args:
        node: A mapping with `_target_`.
        kind: The required kind.
        trusted: As for `instantiate`.
        key: The configuration key of the node, for the message; by default the kind's.
        functions: As for `instantiate`.
        option: How the user would trust a package, ``{}``, for the message.

    Raises:
        ConfigError: the target is missing, or not allowed.
    """
    target, where = node.get("_target_"), f"{key or kind.key}._target_"
    if not isinstance(target, str) or not target:
        raise TargetError(f"{where} is missing. Name a class, such as _target_: my_package.Net.")
    parts = target.split(".")
    dotted = len(parts) > 1 and all(part.isidentifier() for part in parts) and "__main__" not in parts[1:]
    if len(target) > _LONGEST or not dotted:
        raise TargetError(f"{where}={target[:_LONGEST]!r} is not a dotted name. Name a class, such as my_package.Net.")
    known = kind.built_in(target, functions=functions) is not None or kind.in_library(target)
    if not known and not is_trusted(target, trusted):
        error = TargetError(
            f"{where}={target!r} is not trusted. Allowed are {kind.allowed(functions=functions)}, and the contents of "
            f"trusted packages: {', '.join(trusted) or 'none'}.\n{_remedy(parts[0], option)}"
        )
        error.trustable = not _is_pythons(parts[0])
        raise error
    return target


def _remedy(package: str, option: str) -> str:
    if _is_pythons(package):
        return f"{package} is part of Python, which has no such class. Don't use this if you did not write it."
    return f"If you trust this code, add its package: {option.format(package)}"


def _is_pythons(package: str) -> bool:
    """Return whether a package is of the standard library, ``builtins`` included: trusting it is never the remedy."""
    return package in sys.stdlib_module_names


def refuse_code(value: Any, *, key: str) -> None:
    """Check that arguments are plain data of limited size, without a nested `_target_`.

    Raises:
        ConfigError: the arguments contain a `_target_` or a value of another type, or are too large.
    """
    values, left = [(value, 0)], _MAX_VALUES
    while values:
        each, depth = values.pop()
        left -= 1
        if left < 0 or depth > _DEEPEST:
            raise TargetError(f"{key}: the arguments are too large or too deeply nested. Put them into a file.")
        if isinstance(each, Mapping):
            if depth and "_target_" in each:
                raise TargetError(f"{key}: the arguments contain a _target_. Make that object in your own class.")
            values += [(inner, depth + 1) for inner in each.values()]
        elif isinstance(each, list | tuple):
            values += [(inner, depth + 1) for inner in each]
        elif not isinstance(each, str | int | float | None) or (isinstance(each, int) and abs(each) >= _LARGEST):
            raise TargetError(f"{key}: the argument {str(each)[:80]!r} is not a string, number, list or mapping.")


def is_trusted(name: str, trusted: Sequence[str]) -> bool:
    """Return whether a dotted name is in one of the trusted packages."""
    packages = [package.rstrip(".") for package in trusted]
    return any(package and f"{name}.".startswith(f"{package}.") for package in packages)


def _library_class(kind: Kind, target: str) -> Any:
    """Return a class of the library's public interface by its public name."""
    door = vars(importlib.import_module(str(kind.library)))
    name = target.rpartition(".")[2]
    found = door.get(name)
    inside = kind.inside or f"{kind.library}.modules"
    home = str(getattr(found, "__module__", ""))
    if not inspect.isclass(found) or not f"{home}.".startswith(f"{inside}."):
        raise TargetError(f"{kind.key}._target_={target!r}: {kind.library} has no such class.{nearest(name, door)}")
    if target not in (f"{kind.library}.{name}", f"{inside}.{name}", f"{home}.{name}"):
        raise TargetError(f"{kind.key}._target_={target!r} is {home}.{name}. Name {kind.library}.{name}.")
    return found


def _trusted_object(target: str, trusted: Sequence[str]) -> Any:
    found = _locate(target)
    home = str(getattr(found, "__module__", ""))
    if not is_trusted(home, trusted):
        raise TargetError(
            f"_target_={target!r} is {home}.{getattr(found, '__qualname__', '?')}, which is defined outside the "
            f"trusted packages ({', '.join(trusted)}). Name it by that path, and add its package to trusted_targets "
            "if you trust it."
        )
    return found


def _locate(target: str) -> Any:
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise  # the user's module exists, but imports a package that is not installed
        raise TargetError(
            f"_target_={target!r}: there is no module {error.name!r}.\n"
            "Install the package, or add its folder to PYTHONPATH."
        ) from None
    public = [known for known in vars(module) if not known.startswith("_")]
    found = getattr(module, name, None)
    if found is None:
        raise TargetError(f"_target_={target!r}: {module_name} has no {name!r}.{nearest(name, public)}")
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        raise TargetError(f"_target_={target!r} is a {type(found).__name__}, not a class or a function.")
    return found


def _of_kind(
    target: str, found: Any, kind: Kind, fits: Callable[[type], bool], *, functions: bool
) -> Callable[..., Any]:
    if inspect.isclass(found) and fits(found):
        return found
    if inspect.isfunction(found) and kind.made_by_functions and functions:
        return found
    described = "a function" if inspect.isfunction(found) else f"the class {found.__qualname__}"
    raise TargetError(f"{kind.key}._target_={target!r} is {described}, not a {kind.noun}. Name one.")


def _refuse_misfit(target: str, found: Any, arguments: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(found)
    except ValueError:
        raise TargetError(f"_target_={target!r} is a built-in without a signature. Wrap it in a class.") from None
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = ", ".join(signature.parameters)
        raise TargetError(f"_target_={target!r}: {error}. It takes: {known}.") from None
