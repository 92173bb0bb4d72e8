"""`torch.compile` in a fit, where it repays: estimated before it is done, checked on real steps, undone where it loses.

A few steps are timed as they are. If even twice as fast steps could not make up for the compilation until the end of
the fit, nothing is compiled. Otherwise the compiled model has to give the loss of the plain one, and its steps have to
be faster. Batches of another shape than the one compiled for are computed as they are: each would compile again.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
from torch import nn

from overwinter.errors import OverwinterError
from overwinter.inputs import named

NEVER, AUTO, ALWAYS = "never", "auto", "always"
_WARM, _TIMED = 2, 5  # steps
_COMPILE_S = 41.0  # measured for a network of four convolutions on two CPUs
_FASTEST = 2.0  # how many times faster compiled steps are at best; on CPUs measured ones hardly gain
_TOLERANCE = 1e-2  # of the loss: another order of sums, in bfloat16 at worst; a wrong kernel is far above


class Compiling:
    """Decides, step by step, whether a fit computes with a compiled model.

    Args:
        model: that is trained.
        mode: `NEVER`, `AUTO`: where it is estimated to repay, or `ALWAYS`.

    Attributes:
        verdict: what was decided, and why; empty until then, and if it was never asked.
    """

    def __init__(self, model: nn.Module, mode: str) -> None:
        self._model, self._mode = model, mode
        self._compiled: Callable[[Any], Any] | None = None
        self._shapes: dict[str, torch.Size] = {}
        self._eager_s: list[float] = []
        self._compiled_s: list[float] = []
        self._compile_s = 0.0
        self._is_settled = mode == NEVER
        self.verdict = ""

    def model_for(
        self, inputs: Any, left: int, compute: Callable[[Callable[[Any], Any]], torch.Tensor]
    ) -> Callable[[Any], Any]:
        """Return what computes the outputs of a batch: the model as it is, or compiled.

        Args:
            inputs: the batch.
            left: steps of the fit that are left.
            compute: returns the loss of the batch with a model.

        Raises:
            OverwinterError: it is to be compiled always, and cannot be.
        """
        if not self._is_settled and self._compiled is None and len(self._eager_s) >= _WARM + _TIMED:
            self._decide(inputs, left, compute)
        return self._compiled if self._compiled is not None and self._shapes == _shapes(inputs) else self._model

    def took_step(self, inputs: Any, duration_s: float) -> None:
        """Take in how long the step of a batch took."""
        if self._is_settled:
            return
        if self._compiled is None:
            self._eager_s.append(duration_s)
        elif self._shapes == _shapes(inputs):
            self._compiled_s.append(duration_s)
            if len(self._compiled_s) >= _WARM + _TIMED:
                self._compare()

    def _decide(self, inputs: Any, left: int, compute: Callable[[Callable[[Any], Any]], torch.Tensor]) -> None:
        left_s = left * self._eager_step_s()
        if self._mode == AUTO and left_s * (1 - 1 / _FASTEST) <= _COMPILE_S:
            return self._settle(
                f"not compiled: {left} steps of {_ms(self._eager_step_s())} are left, {left_s:.3g} s together; "
                f"compiling could save half of that at best, and takes about {_COMPILE_S:.0f} s"
            )
        began = time.perf_counter()
        trouble = self._trouble(compute)
        self._compile_s = time.perf_counter() - began
        if trouble is None:
            self._shapes = _shapes(inputs)
            return None
        self._compiled = None
        if self._mode == ALWAYS:
            raise OverwinterError(f"The model cannot be compiled for its training: {trouble}.\nSet compile=never.")
        return self._settle(f"not compiled, after {self._compile_s:.3g} s of trying: {trouble}")

    def _trouble(self, compute: Callable[[Callable[[Any], Any]], torch.Tensor]) -> str | None:
        """Compile the model, and return why it cannot be used, or None."""
        compiled = compiled_model(self._model)
        try:
            with _undone(self._model):
                expected = float(compute(self._model).detach())
            with _undone(self._model), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # advice on settings of torch's compiler
                loss = compute(compiled)
                torch.autograd.backward(loss)
        except Exception as error:  # noqa: BLE001 - whatever torch or the user's code raises while it is compiled
            return (str(error).splitlines() or [type(error).__name__])[0][:200]
        found = float(loss.detach())
        if not abs(found - expected) <= _TOLERANCE * abs(expected):
            return f"its loss is {found:.6g} compiled, and {expected:.6g} as it is"
        self._compiled = compiled
        return None

    def _compare(self) -> None:
        """Keep what is faster."""
        eager_s, compiled_s = self._eager_step_s(), median(self._compiled_s[_WARM:])
        figures = f"its steps take {_ms(compiled_s)} compiled and {_ms(eager_s)} as they are"
        if compiled_s >= eager_s and self._mode == AUTO:
            self._compiled = None
            return self._settle(f"not compiled any more: {figures}; trying it took {self._compile_s:.3g} s")
        repaid = (
            f", which repays it after {self._compile_s / (eager_s - compiled_s):.0f}" if compiled_s < eager_s else ""
        )
        return self._settle(f"compiled in {self._compile_s:.3g} s: {figures}{repaid}")

    def _settle(self, verdict: str) -> None:
        self._is_settled, self.verdict = True, verdict

    def _eager_step_s(self) -> float:
        return median(self._eager_s[_WARM:])


def compiled_model(model: nn.Module) -> Callable[[Any], Any]:
    """Return the model compiled, which happens with its first batch; it draws the random numbers of the plain one."""
    compiled: Callable[[Any], Any] = torch.compile(model, dynamic=False, options={"fallback_random": True})
    return compiled


@contextlib.contextmanager
def _undone(model: nn.Module) -> Iterator[None]:
    """Put buffers, such as the statistics of normalisations, gradients and random generators back as they were."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    gpus = sorted({each.device.index or 0 for each in model.parameters() if each.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices=gpus):
            yield
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
        model.zero_grad(set_to_none=True)


def _shapes(inputs: Any) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in named(inputs).items()}


def _ms(duration_s: float) -> str:
    return f"{duration_s * 1e3:.3g} ms"
