"""Which form is served: the fewest joules within the quality asked for; among equals the simplest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from overwinter.errors import OverwinterError

DENSE = "dense"


@dataclass(frozen=True, kw_only=True)
class Option:
    """A form on a runtime.

    Attributes:
        form: ``dense``, ``sparse``, ...
        runtime: which runs it.
        simplicity: 0 for dense, more for each transformation: the fewer, the simpler.
        quality: more is better.
        energy_j: per answer.
        energy_ci_j: its interval.
        broken_limits: on quality, in words; an option that breaks one is not chosen.
    """

    form: str
    runtime: str
    simplicity: int
    quality: float
    energy_j: float
    energy_ci_j: tuple[float, float]
    broken_limits: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``form@runtime``."""
        return f"{self.form}@{self.runtime}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is served.

    Attributes:
        chosen: the option.
        dense: dense at its best runtime, against which a saving counts.
        pays: whether ``chosen`` uses fewer joules than ``dense``, beyond both intervals.
    """

    chosen: Option
    dense: Option
    pays: bool

    @property
    def saving(self) -> float:
        """Share of dense's joules per answer that is saved; 0 where compression does not pay."""
        return 1.0 - self.chosen.energy_j / self.dense.energy_j if self.pays else 0.0


def choose(options: Sequence[Option], *, max_quality_loss: float) -> Choice:
    """Choose among forms on runtimes.

    The option with the fewest joules is the mark; if dense at its best runtime overlaps it, compression does
    not pay. Else, of the options that overlap the mark and beat dense as surely, the simplest wins, then the
    fewest joules.

    Args:
        options: dense on at least one runtime, and whatever competes.
        max_quality_loss: how much of dense's quality an option may lose, in quality's own unit.

    Raises:
        OverwinterError: there is no dense option.
    """
    dense_options = [option for option in options if option.form == DENSE]
    if not dense_options:
        raise OverwinterError(
            "No runtime runs the dense model, so there is nothing to compare with. Add one to evaluate.runtimes."
        )
    dense = min(dense_options, key=_energy_j)
    # A loss of exactly the limit is allowed: the difference of two shares carries rounding.
    good = [
        option
        for option in options
        if option.form == DENSE
        or (dense.quality - option.quality <= max_quality_loss + 1e-12 and not option.broken_limits)
    ]
    mark = min(good, key=_energy_j)
    if mark.form == DENSE or _overlap(mark, dense):
        return Choice(chosen=dense, dense=dense, pays=False)
    equals = [option for option in good if _overlap(option, mark) and not _overlap(option, dense)]
    return Choice(chosen=min(equals, key=_simplest_first), dense=dense, pays=True)


def _simplest_first(option: Option) -> tuple[int, float]:
    return option.simplicity, option.energy_j


def _energy_j(option: Option) -> float:
    return option.energy_j


def _overlap(one: Option, other: Option) -> bool:
    return one.energy_ci_j[0] <= other.energy_ci_j[1] and other.energy_ci_j[0] <= one.energy_ci_j[1]
