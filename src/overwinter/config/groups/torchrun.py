"""The group `torchrun/`: how the processes of a distributed training meet, and what happens when one dies."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.config.settings import setting


@dataclass
class TorchrunConfig:
    """Settings of torchrun, which starts the processes of `train.distributed`. They change no result."""

    rendezvous: str | None = setting(
        "host:port of the first machine, where the others meet it; null: this machine alone", default=None
    )
    rendezvous_timeout_s: int = setting(
        "seconds that the processes wait for each other, at the start and in a step", at_least=1, default=600
    )
    max_restarts: int = setting(
        "how often all processes start again from the last checkpoint after one of them died", at_least=0, default=3
    )
