"""What a model computes with real samples: every layer's call and every function of torch, with what goes in and out.

The model runs as it is, in Python, and a `TorchFunctionMode` listens; so control flow, several inputs, keywords and
layers of other libraries need nothing special. Layers of `torch.nn` are recorded as one step each, whatever they do
inside. What torch does not tell of, such as an own `torch.autograd.Function`, is a gap between two steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from overwinter.inputs import TensorInputs

# Layers of torch.nn that only call other layers: these are recorded themselves.
_CONTAINERS = (
    nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder,
    nn.TransformerEncoderLayer, nn.TransformerDecoderLayer,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor at one point of the computation.

    Attributes:
        shape: its shape.
    """

    shape: torch.Size


@dataclass(frozen=True, eq=False, kw_only=True)
class Step:
    """The call of a layer or of a function of torch.

    Attributes:
        layer: name of the layer; None: a function.
        function: name of the function, without underscores at its ends; empty: a layer.
        args: its positional arguments, values in the place of tensors.
        keywords: its keyword arguments, likewise.
        outputs: what it returns, as far as they are tensors.
    """

    layer: str | None
    function: str
    args: tuple[Any, ...]
    keywords: Mapping[str, Any]
    outputs: tuple[Value, ...]

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The tensors among its arguments."""
        return tuple(_values_in((*self.args, *self.keywords.values())))


@dataclass(kw_only=True)
class Trace:
    """A whole pass.

    Attributes:
        steps: in the order of calling.
        outputs: the model's own.
        users: value -> the steps that it goes into.
        makers: value -> the step that it comes from.
        calls: layer -> how often it was called.
        read: layers whose parameters go into functions, not only into their own call.
    """

    steps: list[Step] = field(default_factory=list)
    outputs: tuple[Value, ...] = ()
    users: dict[Value, list[Step]] = field(default_factory=dict)
    makers: dict[Value, Step] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    read: set[str] = field(default_factory=set)


def trace(model: nn.Module, examples: TensorInputs) -> Trace:
    """Return what a model computes for some samples; what its code raises is not caught."""
    recorder = _Recorder(model)
    with recorder.listening(), torch.no_grad():
        output = model(examples)
    recorder.trace.outputs = tuple(_values_in((recorder.replaced(output),)))
    return recorder.trace


class _Recorder(TorchFunctionMode):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.trace = Trace()
        self._layers = {name: module for name, module in model.named_modules() if _is_one_step(module)}
        self._owners = {id(own): name for name, each in model.named_modules() for own in each.parameters(recurse=False)}
        self._values: Any = WeakIdKeyDictionary()
        self._depth = 0

    def listening(self) -> ExitStack:
        stack = ExitStack()
        for name, layer in self._layers.items():
            stack.callback(layer.register_forward_pre_hook(self._entering()).remove)
            leaving = layer.register_forward_hook(self._leaving(name), with_kwargs=True, always_call=True)
            stack.callback(leaving.remove)
        stack.enter_context(self)
        return stack

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self._depth == 0:
            self._note(None, getattr(func, "__name__", str(func)).strip("_"), args, kwargs or {}, result)
        return result

    def _entering(self) -> Any:
        def enter(_layer: nn.Module, _args: Any) -> None:
            self._depth += 1

        return enter

    def _leaving(self, name: str) -> Any:
        def leave(_layer: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any], result: Any) -> None:
            if self._depth == 1:  # still inside: what this does is no step
                self.trace.calls[name] += 1
                self._note(name, "", args, keywords, result)
            self._depth -= 1

        return leave

    def _note(
        self, layer: str | None, function: str, args: tuple[Any, ...], keywords: dict[str, Any], result: Any
    ) -> None:
        given, named = self.replaced(args), self.replaced(keywords)
        outputs = tuple(self._made(each) for each in _tensors_in(result))
        step = Step(layer=layer, function=function, args=given, keywords=named, outputs=outputs)
        self.trace.steps.append(step)
        for value in dict.fromkeys(step.inputs):
            self.trace.users.setdefault(value, []).append(step)
        self.trace.makers.update(dict.fromkeys(outputs, step))
        if layer is None and outputs:
            owners = (self._owners.get(id(each)) for each in _tensors_in((args, keywords)))
            self.trace.read.update(owner for owner in owners if owner is not None)

    def replaced(self, given: Any) -> Any:
        """Return arguments with values in the place of tensors."""
        if isinstance(given, torch.Tensor):
            return self._values[given] if given in self._values else self._made(given)
        if isinstance(given, tuple | list):
            return tuple(map(self.replaced, given))
        if isinstance(given, Mapping):
            return {name: self.replaced(each) for name, each in given.items()}
        return given

    def _made(self, tensor: torch.Tensor) -> Value:
        """Return a new value; a tensor that was changed in place is a new one, too."""
        value = Value(tensor.shape)
        self._values[tensor] = value
        return value


def _is_one_step(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn") and not isinstance(module, _CONTAINERS)


def _tensors_in(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _tensors_in(each)
    elif isinstance(value, Mapping):
        yield from _tensors_in(list(value.values()))


def _values_in(value: Any) -> Iterator[Value]:
    if isinstance(value, Value):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _values_in(each)
    elif isinstance(value, Mapping):
        yield from _values_in(list(value.values()))
