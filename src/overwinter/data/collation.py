"""How samples become a batch: in the data source's own way or the default one, with targets that the task read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from overwinter.data.protocol import Batch
from overwinter.data.samples import Pad, collate, read_batch
from overwinter.errors import ConfigError, OverwinterError
from overwinter.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Collation:
    """Makes batches.

    Attributes:
        own: the data source's `collate`; None: `overwinter.data.samples.collate`.
        pad: values that fill up what is shorter; None: lengths must be equal.
        task: reads targets; None: they stay as they are.
        where: of the samples, for messages, such as "data: the split train".
    """

    own: Callable[[Sequence[Any]], Any] | None = None
    pad: Pad = None
    task: Task | None = None
    where: str = "data"

    def __call__(self, samples: Sequence[Any]) -> Batch:
        """Return the batch of samples.

        Raises:
            ConfigError: they fit into none, or a target is none of the task's.
        """
        inputs, targets = self._explained(self._collated, samples)
        return inputs, self.typed(targets)

    def typed(self, targets: torch.Tensor) -> torch.Tensor:
        """Return targets in the task's type.

        Raises:
            ConfigError: one is none of the task's.
        """
        if self.task is None:
            return targets
        return torch.from_numpy(self._explained(self.task.read_targets, targets.numpy()))

    def _collated(self, samples: Sequence[Any]) -> Batch:
        return collate(samples, self.pad) if self.own is None else read_batch(self.own(samples))

    def _explained(self, function: Callable[[Any], Any], value: Any) -> Any:
        try:
            return function(value)
        except OverwinterError as error:
            raise ConfigError(f"{self.where}: {error}") from error
        except Exception as error:
            if self.own is None:
                raise
            raise ConfigError(
                f"{self.where}: `collate` fails: {type(error).__name__}: {error}.\n"
                "It is given a list of samples and returns inputs and targets; OVERWINTER_DEBUG=1 shows the traceback."
            ) from error
