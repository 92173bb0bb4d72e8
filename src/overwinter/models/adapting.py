"""A batch as the data gives it in, one tensor out: hooks around the forward() of any model.

`adapt` lets everybody call ``model(batch)``, whether forward() takes one tensor, several, or keywords, and whether it
returns a tensor, a tuple, a dict or a ModelOutput. The model stays the user's own: its layers keep their names. Hooks
survive copies and torch.compile, and are no part of what is saved: `overwinter.models.rebuild_model` adds them again.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from overwinter.errors import ConfigError
from overwinter.inputs import INPUT

# Names that libraries give to the output that counts, the first one first.
_OUTPUTS = ("logits", "out", "prediction", "last_hidden_state")
_TENSORS = (torch.Tensor, fx.Proxy)  # a proxy stands for a tensor while torch.fx traces
_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def adapt(model: nn.Module, output: str | int | None = None) -> nn.Module:
    """Make ``model(batch)`` take a batch as the data gives it and return one tensor; return the model.

    A batch of tensors by name is passed as keywords, by position if the names are numbers, or as it is to a forward()
    that takes one mapping.

    Args:
        model: changed in place, once: adapted again, it only takes the other ``output``.
        output: which output counts: a key of a dict, an index of a tuple; None: ``logits``, ``out``, ``prediction``,
            ``last_hidden_state`` or the only floating-point tensor of a dict, the first of a tuple.
    """
    for hooks in (model._forward_pre_hooks, model._forward_hooks):
        for number in [number for number, hook in hooks.items() if isinstance(hook, (_Spread, _Pick))]:
            del hooks[number]
            model._forward_pre_hooks_with_kwargs.pop(number, None)
    model.register_forward_pre_hook(_Spread.before(model), with_kwargs=True)
    model.register_forward_hook(_Pick(None if output is None else str(output)))
    return model


def counted_output(model: nn.Module) -> str | None:
    """Return which output of a model counts, as `adapt` was asked for; None: its default."""
    return next((hook.name for hook in model._forward_hooks.values() if isinstance(hook, _Pick)), None)


class Positional(nn.Module):
    """An adapted model with its inputs as separate arguments, for exporters and tracers.

    Args:
        model: adapted; shared, not copied.
        names: of its inputs, in the order of the arguments.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)
        self.training = model.training  # exporters put the mode of the whole back

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Return the model's output (batch, ...) for its inputs, each (batch, ...)."""
        if self.names == (INPUT,):
            output: torch.Tensor = self.model(*tensors)
        else:
            output = self.model(dict(zip(self.names, tensors, strict=True)))
        return output


def arguments(model: nn.Module, inputs: Any) -> dict[str, Any]:
    """Return parameter of forward() -> tensor, for tools that call it without the model's hooks, as `torch.fx` does.

    Args:
        model: adapted or not.
        inputs: a batch, one tensor or several by name.

    Raises:
        ConfigError: forward() does not take them.
    """
    positional, keywords = _Spread.before(model)(model, (inputs,), {})
    return dict(inspect.signature(model.forward).bind(*positional, **keywords).arguments)


@dataclass(frozen=True)
class _Spread:
    """Hook before forward(): a batch by name becomes arguments.

    Attributes:
        parameters: names that forward() takes as keywords.
        anything: whether it takes any keyword.
        one: whether it can be called with one argument, which is then the batch itself.
    """

    parameters: frozenset[str]
    anything: bool
    one: bool

    @classmethod
    def before(cls, model: nn.Module) -> _Spread:
        try:
            parameters = inspect.signature(model.forward).parameters.values()
        except (TypeError, ValueError):  # code of torch.jit has none
            return cls(parameters=frozenset(), anything=False, one=True)
        required = [each for each in parameters if each.default is each.empty and each.kind in _KINDS]
        return cls(
            parameters=frozenset(each.name for each in parameters if each.kind in _KINDS),
            anything=any(each.kind is each.VAR_KEYWORD for each in parameters),
            one=len(required) <= 1,
        )

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        if len(args) != 1 or kwargs or not isinstance(args[0], Mapping):
            return args, kwargs
        batch: Mapping[str, Any] = args[0]
        if all(name.isdigit() for name in batch):
            return tuple(batch[name] for name in sorted(batch, key=int)), {}
        if self.anything or self.parameters.issuperset(batch):
            return (), dict(batch)
        if self.one and len(batch) == 1:
            return tuple(batch.values()), {}
        if self.one and not self.parameters.intersection(batch):
            return args, {}
        unknown = [name for name in batch if name not in self.parameters]
        raise ConfigError(
            f"The data gives inputs called {', '.join(batch)}, and forward() of {type(module).__name__} has no "
            f"{', '.join(unknown)}; it takes {', '.join(sorted(self.parameters))}.\nUse the same names in both, or let "
            "the data set return a tuple of inputs, which are passed by position."
        )


@dataclass(frozen=True)
class _Pick:
    """Hook after forward(): one tensor of what it returned.

    Attributes:
        name: of the output that counts, or None.
    """

    name: str | None

    def __call__(self, module: nn.Module, _args: Any, output: Any) -> Any:
        if isinstance(output, _TENSORS):
            return output
        if isinstance(output, tuple) and hasattr(output, "_asdict"):
            output = output._asdict() if self.name is None or not self.name.isdigit() else tuple(output)
        if isinstance(output, Mapping):
            return self._of_mapping(module, output)
        if isinstance(output, tuple | list):
            return self._of_sequence(module, output)
        raise ConfigError(
            f"forward() of {type(module).__name__} returns a {type(output).__name__}. It must return a tensor, or a "
            "tuple or dict of tensors of which task.output names one."
        )

    def _of_mapping(self, module: nn.Module, output: Mapping[str, Any]) -> Any:
        floats = [key for key, value in output.items() if _is_float(value)]
        known = [key for key in _OUTPUTS if key in output] or (floats if len(floats) == 1 else [])
        value = output.get(self.name or next(iter(known), ""))
        if not isinstance(value, _TENSORS):
            wanted = "" if self.name is None else f", and task.output={self.name} is no tensor of them"
            options = ", ".join(map(str, floats)) or "none is a tensor of floats"
            raise ConfigError(
                f"forward() of {type(module).__name__} returns {', '.join(map(str, output))}{wanted}.\n"
                f"Set task.output to the one that counts: {options}."
            )
        return value

    def _of_sequence(self, module: nn.Module, output: Sequence[Any]) -> torch.Tensor:
        index = 0 if self.name is None else int(self.name) if self.name.isdigit() else len(output)
        if index >= len(output) or not isinstance(output[index], _TENSORS):
            raise ConfigError(
                f"forward() of {type(module).__name__} returns a {type(output).__name__} of {len(output)}, and "
                f"task.output={'null, which is the first,' if self.name is None else self.name} names no tensor of "
                f"it.\nSet it to the index of the one that counts, from 0."
            )
        chosen: torch.Tensor = output[index]
        return chosen


def _is_float(value: Any) -> bool:
    return isinstance(value, fx.Proxy) or (isinstance(value, torch.Tensor) and value.is_floating_point())
