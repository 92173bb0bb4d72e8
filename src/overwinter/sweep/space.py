"""The space of a search: the keys that vary, read from overrides in Hydra's sweep grammar.

A choice of numbers and a range are ordered: the sampler sees the place of a value among them, so that it learns from
neighbours. Other choices are categories.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from overwinter.errors import ConfigError, nearest

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from optuna.distributions import BaseDistribution

_LOG = "log"
_DIGITS = 4  # of a number drawn from an interval; more would only make equal points look different

Job = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A key with a list of values.

    Attributes:
        key: The key, with the prefix and the package of its override.
        texts: The values, as they stand in an override.
        ordered: Whether they are numbers, in ascending order.
    """

    key: str
    texts: tuple[str, ...]
    ordered: bool

    def distribution(self) -> BaseDistribution:
        """Return the distribution for Optuna."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        return IntDistribution(0, len(self.texts) - 1) if self.ordered else CategoricalDistribution(self.texts)

    def override(self, value: Any) -> str:
        """Return the override of a value that Optuna suggested."""
        return f"{self.key}={self.texts[value] if self.ordered else value}"

    def values(self) -> Sequence[Any]:
        """Return all values, as Optuna suggests them."""
        return range(len(self.texts)) if self.ordered else self.texts

    def first(self) -> Any:
        """Return the first value, as Optuna suggests it."""
        return self.values()[0]

    def at(self, share: float) -> Any:
        """Return the value at a share of the list, of 0 to 1, as Optuna suggests it."""
        return self.values()[min(int(share * len(self.texts)), len(self.texts) - 1)]

    def place(self, value: Any) -> float:
        """Return where a value lies: from 0 to 1 if there is an order, else its number in the list."""
        return value / max(1, len(self.texts) - 1) if self.ordered else float(self.texts.index(value))

    def describe(self) -> str:
        """Return the values in a word that changes with them."""
        return ",".join(self.texts)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A key with a range of numbers, both ends included.

    Attributes:
        key: As of `Choice`.
        low: The smallest value.
        high: The largest value.
        whole: Whether the values are whole numbers.
        log: Whether they are drawn evenly over their logarithm.
    """

    key: str
    low: float
    high: float
    whole: bool
    log: bool
    ordered = True

    def distribution(self) -> BaseDistribution:
        """Return the distribution for Optuna."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def override(self, value: Any) -> str:
        """Return the override of a value that Optuna suggested; a number has at most four significant digits."""
        if self.whole:
            return f"{self.key}={value}"
        return f"{self.key}={min(self.high, max(self.low, float(f'{value:.{_DIGITS}g}')))!r}"

    def values(self) -> Sequence[Any] | None:
        """Return all values, or None if they cannot be listed."""
        return range(int(self.low), int(self.high) + 1) if self.whole else None

    def first(self) -> Any:
        """Return the smallest value, as Optuna suggests it."""
        return int(self.low) if self.whole else self.low

    def at(self, share: float) -> Any:
        """Return the value at a share of the interval, of 0 to 1, as Optuna suggests it."""
        ratio, span = self.high / self.low if self.log else 1.0, self.high - self.low
        value = self.low * ratio**share if self.log else self.low + span * share
        return round(value) if self.whole else min(self.high, max(self.low, value))

    def place(self, value: Any) -> float:
        """Return where a value lies, from 0 to 1."""
        if self.low == self.high:
            return 0.0
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return float((value - self.low) / (self.high - self.low))

    def describe(self) -> str:
        """Return the interval in a word that changes with it."""
        return f"{_LOG if self.log else 'interval'}({self.low!r},{self.high!r})"


@dataclass(frozen=True, kw_only=True)
class Space:
    """All that a job's overrides may be.

    Attributes:
        fixed: Overrides that every job has.
        parameters: The keys that vary.
    """

    fixed: Job
    parameters: tuple[Choice | Interval, ...]

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the distributions for Optuna, by key."""
        return {each.key: each.distribution() for each in self.parameters}

    def job(self, values: Mapping[str, Any]) -> Job:
        """Return the overrides of a job from the values that Optuna suggested."""
        return (*self.fixed, *(each.override(values[each.key]) for each in self.parameters))

    def at(self, shares: Sequence[float]) -> dict[str, Any]:
        """Return the values at a share of each key, of 0 to 1."""
        return {each.key: each.at(share) for each, share in zip(self.parameters, shares, strict=True)}

    def places(self, values: Mapping[str, Any]) -> list[float]:
        """Return where the values of a point lie, by key; as of `Choice.place`."""
        return [each.place(values[each.key]) for each in self.parameters]

    def example(self) -> Job:
        """Return the overrides of one job of the space."""
        return self.job({each.key: each.first() for each in self.parameters})

    def size(self) -> int | None:
        """Return the number of points; None if they cannot be counted."""
        listed = [each.values() for each in self.parameters]
        return None if any(each is None for each in listed) else math.prod(len(each or ()) for each in listed)

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield the values of every point, in Hydra's order.

        Raises:
            ConfigError: a key has too many values to list.
        """
        listed = []
        for each in self.parameters:
            if (values := each.values()) is None:
                raise ConfigError(
                    f"{each.key} is an interval, whose values cannot be listed. Give a choice, "
                    "range(START, STOP, STEP), or hydra.sweeper.method=tpe."
                )
            listed.append(values)
        keys = [each.key for each in self.parameters]
        yield from (dict(zip(keys, point, strict=True)) for point in itertools.product(*listed))


def read_space(overrides: Sequence[str], loader: ConfigLoader | None = None) -> Space:
    """Read the space of a search from overrides; of two with the same key, the later wins.

    Args:
        overrides: Overrides in Hydra's grammar; at least one has several values.
        loader: Hydra's loader, which lists the options that a glob matches.

    Raises:
        ConfigError: an override cannot be read, an interval or a tag is wrong, or nothing varies.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        latest = {(each.is_delete(), each.key_or_group, each.package): each for each in parsed}
        parameters = tuple(_parameter(each) for each in latest.values() if each.is_sweep_override())
    except HydraException as error:
        raise ConfigError(str(error).splitlines()[0]) from None
    if not parameters:
        raise ConfigError(
            "A search needs a key with several values, such as sparsify.amount=interval(0.3,0.9) or "
            "quantize=int8_static,int8_dynamic, or hydra.sweeper.params in configs/sweep/."
        )
    fixed = tuple(str(each.input_line) for each in latest.values() if not each.is_sweep_override())
    return Space(fixed=fixed, parameters=parameters)


def _parameter(override: Override) -> Choice | Interval:
    return _interval(override) if override.is_interval_sweep() else _choice(override)


def _choice(override: Override) -> Choice:
    _refuse_tags(override, known=())
    texts = list(dict.fromkeys(override.sweep_string_iterator()))
    if not texts:
        raise ConfigError(f"{override.input_line} has no values. Name at least one.")
    numbers = [_number(text) for text in texts]
    ordered = all(number is not None for number in numbers)
    if ordered:
        texts = [text for _, text in sorted(zip(numbers, texts, strict=True))]
    return Choice(key=override.get_key_element(), texts=tuple(texts), ordered=ordered)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _interval(override: Override) -> Interval:
    _refuse_tags(override, known=(_LOG,))
    sweep: Any = override.value()
    low, high, log = sweep.start, sweep.end, _LOG in sweep.tags
    if not low <= high:
        raise ConfigError(f"{override.input_line} is empty: {low} is above {high}. Swap them.")
    if log and low <= 0:
        raise ConfigError(f"{override.input_line}: a logarithmic interval must start above 0.")
    whole = isinstance(low, int) and isinstance(high, int)
    return Interval(key=override.get_key_element(), low=low, high=high, whole=whole, log=log)


def _refuse_tags(override: Override, known: Sequence[str]) -> None:
    for tag in sorted(getattr(override.value(), "tags", ())):
        if tag not in known:
            hint = nearest(tag, known) if known else " Tags are of intervals: tag(log, interval(0.001, 0.1))."
            raise ConfigError(f"{override.input_line}: the tag {tag!r} is unknown.{hint}")
