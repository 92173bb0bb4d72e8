"""The context in which a source opens its channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overwinter.config.groups.energy import EnergyConfig, HardwareConfig


@dataclass(kw_only=True)
class Opening:
    """The settings, and the parts that earlier sources meter.

    Attributes:
        energy: The group `energy/`.
        hardware: The group `hardware/`.
        warn: A function that shows one line to the user.
        own_process: Whether this process's own CPU time counts, in addition to its children's.
        adopts_orphans: Whether this process waits for all its children, so that orphans can be made its children.
        head_s: Seconds before the meter's start from which modelled energy counts, with all CPU time of the process so
            far; None: it counts from the meter's start.
        covered: Kinds of device that an earlier source meters: `gpu`, `cpu`, `ram`, `platform` (the latter two) or
            `machine` (all).
        measured: The kinds of these that are measured, not assumed.
        closers: Functions called when the meter closes.
        last_words: Functions called before that, which return a warning for the final report; empty for none.
    """

    energy: EnergyConfig
    hardware: HardwareConfig
    warn: Callable[[str], None]
    own_process: bool = True
    adopts_orphans: bool = False
    head_s: float | None = None
    covered: set[str] = field(default_factory=set)
    measured: set[str] = field(default_factory=set)
    closers: list[Callable[[], None]] = field(default_factory=list)
    last_words: list[Callable[[], str]] = field(default_factory=list)
