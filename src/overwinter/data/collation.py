"""How samples become a batch: in the data source's own way or the default one, with targets that the task read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from overwinter.data.preprocessing import Preprocessing
from overwinter.data.protocol import Batch
from overwinter.data.samples import Pad, as_sample, collate, collate_targets, raw_input, read_batch
from overwinter.errors import ConfigError, OverwinterError
from overwinter.inputs import to_tensors
from overwinter.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Collation:
    """Makes batches.

    Attributes:
        own: the data source's `collate`; None: `overwinter.data.samples.collate`.
        pad: values that fill up what is shorter; None: lengths must be equal.
        task: reads targets; None: they stay as they are.
        prepares: makes model inputs of raw samples; None: the data set gives model inputs.
        where: of the samples, for messages, such as "data: the split train".
    """

    own: Callable[[Sequence[Any]], Any] | None = None
    pad: Pad = None
    task: Task | None = None
    prepares: Preprocessing | None = None
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

    def prepared(self, raw: Any) -> Any:
        """Return raw samples as a batch of model inputs; what needs no preprocessing is returned as it is.

        Raises:
            ConfigError: a sample is not what the preprocessing takes.
        """
        return raw if self.prepares is None else to_tensors(self._explained(self.prepares.prepare, raw))

    def _collated(self, samples: Sequence[Any]) -> Batch:
        if self.prepares is not None:
            pairs = [as_sample(sample) for sample in samples]
            raw = [raw_input(value) for value, _ in pairs]
            return to_tensors(self.prepares.prepare(raw)), collate_targets([target for _, target in pairs], self.pad)
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
