"""The signature of a model: its inputs and outputs by name, dtype, shape, and which axes vary.

``model.json`` and ``bundle.json`` keep it; export, runtimes, calibration and the server go by it.
`overwinter.models.find_signature` finds it from real samples. Neither torch nor numpy is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from overwinter.errors import ConfigError
from overwinter.inputs import INPUT, Inputs, TensorInputs, named

OUTPUT = "output"
"""The name of the output that counts."""

DTYPES = ("float32", "int64", "bool")


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """A batch of one input or output.

    Attributes:
        name: by which forward() takes it; ``input`` or a number for one that is passed by position.
        dtype: ``float32``, ``int64`` or ``bool``.
        shape: sides of the whole batch; None for an axis that varies, as the first one, of samples, always does.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def fits(self, tensor: Any) -> bool:
        """Return whether an array or a tensor has this dtype, and this shape where it is fixed."""
        return dtype_name(tensor) == self.dtype and self.fits_shape(tensor.shape)

    def fits_shape(self, shape: Sequence[int]) -> bool:
        """Return whether a batch of this shape has the fixed axes."""
        return len(shape) == len(self.shape) and all(
            fixed in (None, side) for fixed, side in zip(self.shape, shape, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the entry for ``model.json``."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, entry: Any) -> Self:
        """Create it from an entry of `to_json`.

        Raises:
            ValueError: it is malformed.
        """
        if not isinstance(entry, Mapping) or set(entry) != {"name", "dtype", "shape"}:
            raise ValueError(f"{entry!r} has other keys than name, dtype and shape")
        name, dtype, shape = entry["name"], entry["dtype"], entry["shape"]
        if not isinstance(name, str) or dtype not in DTYPES:
            raise ValueError(f"name={name!r} or dtype={dtype!r} is wrong")
        if not isinstance(shape, list) or not all(side is None or (type(side) is int and side >= 0) for side in shape):
            raise ValueError(f"shape={shape!r} is not a list of sides")
        return cls(name=name, dtype=dtype, shape=tuple(shape))

    def __str__(self) -> str:
        sides = ", ".join("any" if side is None else str(side) for side in self.shape)
        return f"{self.name}: {self.dtype} [{sides}]"


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a model takes and what it returns.

    Attributes:
        inputs: in the order in which exporters and runtimes pass them.
        outputs: the one that counts; empty if an older Overwinter saved the model.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @classmethod
    def of_one(
        cls, shape: Sequence[int | None], *, dtype: str = "float32", output: Sequence[int | None] | None = None
    ) -> Self:
        """Return the signature of a model that takes one tensor.

        Args:
            shape: of one sample, without the batch.
            dtype: of the input.
            output: shape of the output to one sample, float32; None if unknown.
        """
        outputs = () if output is None else (TensorSpec(name=OUTPUT, dtype="float32", shape=(None, *output)),)
        return cls(inputs=(TensorSpec(name=INPUT, dtype=dtype, shape=(None, *shape)),), outputs=outputs)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(spec.name for spec in self.inputs)

    @property
    def sample_shape(self) -> tuple[int | None, ...]:
        """Shape of a sample of the only input, without the batch; empty if there are several inputs."""
        return self.inputs[0].shape[1:] if len(self.inputs) == 1 else ()

    def input_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Return input -> shape of the whole batch, with None where it varies."""
        return {spec.name: spec.shape for spec in self.inputs}

    def check(self, inputs: Inputs | TensorInputs, *, what: str = "Inputs") -> None:
        """Refuse a batch that the model does not take.

        Args:
            inputs: arrays or tensors.
            what: these inputs, as the message calls them.

        Raises:
            ConfigError: with what was expected and what was given.
        """
        given = named(inputs)
        if set(given) != set(self.names):
            raise ConfigError(
                f"{what} are called {', '.join(given)}; the model takes {', '.join(self.names)}. "
                "Was it trained on other data?"
            )
        for spec in self.inputs:
            tensor = given[spec.name]
            if not spec.fits(tensor):
                came = TensorSpec(name=spec.name, dtype=dtype_name(tensor), shape=tuple(tensor.shape))
                raise ConfigError(f"{what}: {came}; the model takes {spec}. Was it trained on other data?")

    def to_json(self) -> dict[str, Any]:
        """Return the entry for ``model.json``."""
        return {
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
        }

    @classmethod
    def from_json(cls, entry: Any) -> Self:
        """Create it from an entry of `to_json`.

        Raises:
            ValueError: it is malformed.
        """
        if not isinstance(entry, Mapping) or set(entry) != {"inputs", "outputs"}:
            raise ValueError(f"{entry!r} has other keys than inputs and outputs")
        if not all(isinstance(specs, list) for specs in entry.values()) or not entry["inputs"]:
            raise ValueError("inputs and outputs must be lists, and there must be an input")
        inputs, outputs = (tuple(map(TensorSpec.from_json, entry[key])) for key in ("inputs", "outputs"))
        return cls(inputs=inputs, outputs=outputs)


def dtype_name(tensor: Any) -> str:
    """Return the name of the dtype of an array or a tensor, such as ``float32``."""
    return str(tensor.dtype).removeprefix("torch.")
