"""What a source is given when its channels are opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overwinter.config.groups.energy import EnergyConfig, HardwareConfig


@dataclass(kw_only=True)
class Opening:
    """The settings, and what earlier sources have taken.

    Attributes:
        energy: the group `energy/`.
        hardware: the group `hardware/`.
        warn: takes one line for the user.
        own_process: whether this process's own CPU time counts, beside its children's.
        adopts_orphans: whether this process waits for every child that it gets, so that orphans may be made its own.
        since_process_start: whether modelled energy counts from the process's own start.
        covered: kinds of device that an earlier source meters, among `gpu`, `cpu`, `ram`, `platform` (those two in one)
            and `machine` (all in one).
        measured: those of them that a counter or sensor reads, and no assumption.
        closers: called when the meter closes.
        last_words: asked before that for a warning that the report of the whole must carry; empty for none.
    """

    energy: EnergyConfig
    hardware: HardwareConfig
    warn: Callable[[str], None]
    own_process: bool = True
    adopts_orphans: bool = False
    since_process_start: bool = False
    covered: set[str] = field(default_factory=set)
    measured: set[str] = field(default_factory=set)
    closers: list[Callable[[], None]] = field(default_factory=list)
    last_words: list[Callable[[], str]] = field(default_factory=list)
