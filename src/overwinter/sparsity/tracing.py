"""What a model computes with real samples: each function of torch is met as it is called, with what went in and out.

The model runs as it is, in Python, and a `TorchFunctionMode` listens; so control flow, several inputs, keywords and
layers of other libraries need nothing special. `operators` says for each function which entries belong together. What
torch does not tell of, such as an own `torch.autograd.Function`, is a gap: what comes out of it has no labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from overwinter.inputs import TensorInputs
from overwinter.models import is_resizable, layer_by_layer
from overwinter.sparsity.couplings import Couplings, Labels, compact

MAKES, TAKES, FOLLOWS = "makes", "takes", "follows"
"""What a dimension of a parameter does with channels: a layer's outputs, its inputs, or an entry for each."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """The call of a function of torch.

    Attributes:
        name: of the function, without underscores at its ends; of a property, the property's.
        function: what was called.
        args: its positional arguments.
        keywords: its keyword arguments.
        result: what it returned.
        where: name of the innermost layer that called it; empty: the model itself.
    """

    name: str
    function: Any
    args: tuple[Any, ...]
    keywords: Mapping[str, Any]
    result: Any
    where: str

    @property
    def inputs(self) -> list[torch.Tensor]:
        """The tensors among its arguments."""
        return list(tensors_in((self.args, self.keywords)))

    @property
    def outputs(self) -> list[torch.Tensor]:
        """The tensors that it returned."""
        return list(tensors_in(self.result))

    def argument(self, position: int, keyword: str, default: Any = None) -> Any:
        """Return an argument that may be given by position or by keyword."""
        return self.args[position] if position < len(self.args) else self.keywords.get(keyword, default)

    def __str__(self) -> str:
        return f"{self.name} in {self.where}" if self.where else self.name


class Rule(Protocol):
    """What a kind of function does with labels."""

    def __call__(self, met: Tracer, call: Call) -> None:
        """Couple or pin the labels of the inputs, and label the outputs."""


@dataclass(kw_only=True)
class Marks:
    """The labels of parameters and buffers, by name and dimension, and what each dimension does.

    Attributes:
        couplings: of all labels.
        labels: (name, dimension) -> labels (entries,).
        roles: (name, dimension) -> some of `MAKES`, `TAKES` and `FOLLOWS`.
        heads: labels of what attention treats as a head each.
        whole: names of tensors that must keep their sizes -> why.
    """

    couplings: Couplings = field(default_factory=Couplings)
    labels: dict[tuple[str, int], torch.Tensor] = field(default_factory=dict)
    roles: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    heads: list[torch.Tensor] = field(default_factory=list)
    whole: dict[str, str] = field(default_factory=dict)


def trace(model: nn.Module, examples: TensorInputs, marks: Marks, rules: Mapping[str, Rule], otherwise: Rule) -> None:
    """Run a model and couple the labels of its parameters; what its code raises is not caught.

    Args:
        model: runs once.
        examples: real samples (batch, ...).
        marks: taken further; several passes, as in evaluation and in training mode, can share them.
        rules: name of a function -> what it does.
        otherwise: for all other functions.
    """
    met = Tracer(model, marks, rules, otherwise)
    with met.listening(), torch.no_grad():
        output = model(examples)
    for tensor in tensors_in(output):
        met.pin(tensor, "its output is the model's output")


class Tracer(TorchFunctionMode):
    """Knows the labels of every tensor while a model runs.

    Args:
        model: runs once.
        marks: the labels of its parameters.
        rules: name of a function -> what it does.
        otherwise: for all other functions.
    """

    def __init__(self, model: nn.Module, marks: Marks, rules: Mapping[str, Rule], otherwise: Rule) -> None:
        super().__init__()
        self.couplings, self.marks = marks.couplings, marks
        self._model, self._rules, self._otherwise = model, rules, otherwise
        own = (*reversed([*model.named_parameters(remove_duplicate=False)]), *reversed([*model.named_buffers()]))
        self._leaves = {id(tensor): name for name, tensor in own}  # a shared one by its first name
        self._labels: Any = WeakIdKeyDictionary()
        self._calling: list[str] = []

    def listening(self) -> ExitStack:
        """Return the context in which the calls of functions are met."""
        stack = ExitStack()
        for name, module in self._model.named_modules():
            stack.callback(module.register_forward_pre_hook(self._entering(name)).remove)
            stack.callback(module.register_forward_hook(self._leaving, always_call=True).remove)
        stack.enter_context(layer_by_layer())
        stack.enter_context(self)
        return stack

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function, and do with the labels what its rule says."""
        keywords = kwargs or {}
        result = func(*args, **keywords)
        where = self._calling[-1] if self._calling else ""
        call = Call(name=_name(func), function=func, args=args, keywords=keywords, result=result, where=where)
        self._rules.get(call.name, self._otherwise)(self, call)
        return result

    def labels(self, tensor: Any) -> Labels | None:
        """Return the compact labels of a tensor; None: it has none."""
        found: Labels | None = self._labels.get(tensor) if isinstance(tensor, torch.Tensor) else None
        return found

    def give(self, tensor: torch.Tensor, labels: torch.Tensor | None) -> None:
        """Label a tensor; those of a single entry tell nothing apart and are dropped."""
        held = None if labels is None else compact(labels)
        if held is not None and held.numel() > 1 and bool(held.any()):
            self._labels[tensor] = held
        else:
            self._labels.pop(tensor, None)

    def leaf(self, tensor: Any) -> str | None:
        """Return the name of a parameter or buffer that a tensor is, as long as nothing was written into it."""
        return self._leaves.get(id(tensor)) if isinstance(tensor, torch.Tensor) else None

    def mark(self, name: str, dimension: int, count: int, role: str) -> torch.Tensor:
        """Return the labels (count,) of a parameter along a dimension, and note what the dimension does."""
        key = (name, dimension)
        if key not in self.marks.labels:
            self.marks.labels[key] = self.couplings.fresh(count)
            owner = self._model.get_submodule(name.rpartition(".")[0])
            if not is_resizable(owner):
                self.marks.whole[name] = f"the size of {name}, a parameter of {type(owner).__name__}, stays"
        self.marks.roles.setdefault(key, set()).add(role)
        return self.marks.labels[key]

    def pin(self, tensor: torch.Tensor, reason: str) -> None:
        """Let all that a tensor carries, or a parameter as a whole, stay."""
        labels, name = self.labels(tensor), self.leaf(tensor)
        if labels is not None:
            self.couplings.pin(labels, reason)
        if name is not None:
            self.marks.whole.setdefault(name, reason)

    def _entering(self, name: str) -> Any:
        def enter(_layer: nn.Module, _args: Any) -> None:
            self._calling.append(name)

        return enter

    def _leaving(self, _layer: nn.Module, _args: Any, _result: Any) -> None:
        self._calling.pop()


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of nested tuples, lists and mappings."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from tensors_in(each)
    elif isinstance(value, Mapping):
        yield from tensors_in(list(value.values()))


def _name(function: Any) -> str:
    name = getattr(function, "__name__", str(function))
    if name == "__get__":  # of a property, such as Tensor.T
        name = getattr(getattr(function, "__self__", None), "__name__", name)
    return str(name).strip("_")
