"""No sparsity: the dense model goes on as it is."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from overwinter.data import Split
from overwinter.models import StepHook
from overwinter.sparsity.report import SparsityReport
from overwinter.sparsity.settings import SparsifyConfig


class Nothing:
    """The sparsifier ``none``."""

    def __init__(self, config: SparsifyConfig) -> None:
        self._method = config.method

    def prepare(self, model: nn.Module, train: Split) -> Sequence[StepHook]:  # noqa: ARG002 - see the class
        """Leave ``model`` as it is."""
        return []

    def report(self, model: nn.Module) -> SparsityReport:  # noqa: ARG002 - see the class
        """Say that nothing was asked and nothing was done."""
        return SparsityReport(method=self._method, unit="weights", asked=0.0, layers=(), left_alone={})
