"""`--fail-if`: limits on figures and on their changes, such as `energy_per_response > +5 %`.

    NAME OPERATOR [SIGN] NUMBER [UNIT]

A sign makes it a limit on the change from A to B: `+5 %` of A's figure, `+2 kB`, `-1 points` of a share. Without a sign
it is a limit on B's own figure: `< 0.97`, `> 100 kB`.

A limit on a change fails if the change exceeds it *and* is beyond the noise: noise alone never fails it, and a real
change that is larger than the limit does. A limit on B's figure compares the figure as it is.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from overwinter.comparison.records import (
    BEYOND,
    FAILS,
    HOLDS,
    INCOMPARABLE,
    MISSING,
    NOT_JUDGED,
    UNKNOWN,
    FigureChange,
    LimitVerdict,
    RunComparison,
)
from overwinter.comparison.wording import describe_change, describe_relative, describe_value
from overwinter.errors import ConfigError, nearest
from overwinter.units import parse_quantity

LEVEL, CHANGE, RELATIVE = "level", "change", "relative"
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_EXPRESSION = re.compile(
    r"\s*(?P<name>[A-Za-z_][\w.]*)\s*(?P<operator>[<>]=?)\s*(?P<sign>[+-]?)\s*"
    r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*(?P<unit>%|[^\s\d%+.<>=-][^\s<>=]*)?\s*"
)
_DIMENSIONS = {"energy_per_response": "energy", "production_energy": "energy", "latency": "time", "size": "data"}
_POINTS = ("point", "points")
_EXAMPLE = "Write NAME > NUMBER UNIT, such as 'energy_per_response > +5 %', 'accuracy < 0.97' or 'size > 100 kB'."
_ROUNDING = 1e-12  # a change of exactly the limit is allowed: differences have rounding errors


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A parsed `--fail-if`.

    Attributes:
        expression: The expression as given.
        name: The figure's name.
        operator: `>`, `<`, `>=` or `<=`.
        kind: `level` for B's figure, `change` for a difference, `relative` for a difference as a share of A's figure.
        value: The limit in base units, with its sign.
        unit: The unit as written; None without one.
    """

    expression: str
    name: str
    operator: str
    kind: str
    value: float
    unit: str | None

    def is_exceeded(self, figure: float) -> bool:
        """Return whether a figure is on the wrong side of the limit."""
        if math.isclose(figure, self.value, rel_tol=_ROUNDING, abs_tol=_ROUNDING * abs(self.value)):
            return "=" in self.operator
        return _OPERATORS[self.operator](figure, self.value)


def parse_limit(text: str) -> Limit:
    """Parse an expression of `--fail-if`.

    Raises:
        ConfigError: it is no such expression, its unit does not fit, or its sign points in the other direction.
    """
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise ConfigError(f"--fail-if {text!r} is not a limit. {_EXAMPLE}")
    name, sign, unit = match["name"], match["sign"], match["unit"]
    if sign and (sign == "+") != match["operator"].startswith(">"):
        raise ConfigError(
            f"--fail-if {text!r}: a limit on a change is `> +` or `< -`. A demand that something improve is not one: "
            "limit B's own figure instead."
        )
    value = _value(text, name, match["number"], unit)
    kind = LEVEL if not sign else RELATIVE if unit == "%" else CHANGE
    return Limit(
        expression=" ".join(text.split()),
        name=name,
        operator=match["operator"],
        kind=kind,
        value=-value if sign == "-" else value,
        unit=unit,
    )


def check_names(limits: tuple[Limit, ...], comparison: RunComparison) -> None:
    """Check that every limit names a figure, with a unit that it has.

    Raises:
        ConfigError: an unknown name, with the nearest one, a unit of another kind of figure, or more than the whole
            of a share.
    """
    known = {each.name: each for each in comparison.figures}
    for limit in limits:
        if limit.name not in known and limit.name not in _DIMENSIONS:
            names = list(dict.fromkeys([*known, *_DIMENSIONS]))
            raise ConfigError(
                f"--fail-if {limit.expression!r}: there is no figure {limit.name!r}.{nearest(limit.name, names)} "
                f"Known: {', '.join(names)}."
            )
        if limit.name in known:
            _check_unit(limit, known[limit.name])
            _check_share(limit, known[limit.name])


def judge(limit: Limit, comparison: RunComparison) -> LimitVerdict:
    """Judge one limit, whose name and unit `check_names` accepts."""
    change = next((each for each in comparison.figures if each.name == limit.name), None)
    if change is None:
        return _verdict(limit, NOT_JUDGED, f"neither {comparison.a} nor {comparison.b} has it")
    if limit.kind == LEVEL:
        return _judge_level(limit, change, comparison)
    return _judge_change(limit, change, comparison)


def _judge_level(limit: Limit, change: FigureChange, comparison: RunComparison) -> LimitVerdict:
    if change.b is None:
        return _verdict(limit, NOT_JUDGED, f"{comparison.b} has no such figure")
    status = FAILS if limit.is_exceeded(change.b) else HOLDS
    return _verdict(limit, status, f"{comparison.b} has {describe_value(change, change.b)}")


def _judge_change(limit: Limit, change: FigureChange, comparison: RunComparison) -> LimitVerdict:
    if change.difference is None:
        without = [side for side, value in ((comparison.a, change.a), (comparison.b, change.b)) if value is None]
        return _verdict(limit, NOT_JUDGED, f"{' and '.join(without)}: no such figure")
    if change.verdict == INCOMPARABLE:
        return _verdict(limit, NOT_JUDGED, f"not comparable: {change.basis}")
    figure = _relative(change) if limit.kind == RELATIVE else change.difference
    words = describe_relative(change) if limit.kind == RELATIVE else describe_change(change)
    if not limit.is_exceeded(figure) or change.difference == 0:
        return _verdict(limit, HOLDS, words)
    if change.verdict in (UNKNOWN, MISSING):
        return _verdict(limit, NOT_JUDGED, f"{words}, but {change.basis}, so it may be noise")
    if change.verdict == BEYOND:
        return _verdict(limit, FAILS, f"{words}, beyond the noise")
    return _verdict(limit, HOLDS, f"{words} exceeds it, but is within the noise")


def _relative(change: FigureChange) -> float:
    if change.relative is not None:
        return change.relative
    return math.copysign(math.inf, change.difference) if change.difference else 0.0


def _verdict(limit: Limit, status: str, message: str) -> LimitVerdict:
    return LimitVerdict(expression=limit.expression, status=status, message=message)


def _value(text: str, name: str, number: str, unit: str | None) -> float:
    dimension = _DIMENSIONS.get(name.partition(".")[0])
    if dimension is not None:
        if unit is None:
            raise ConfigError(f"--fail-if {text!r} needs a unit. {_EXAMPLE}")
        return _quantity(text, number, unit, dimension)
    value = float(number)
    if not math.isfinite(value):
        raise ConfigError(f"--fail-if {text!r} must have a finite number.")
    return value / 100 if unit == "%" or unit in _POINTS else value


def _quantity(text: str, number: str, unit: str, dimension: str) -> float:
    if unit == "%" and not re.search(r"[<>]=?\s*[+-]", text):
        raise ConfigError(f"--fail-if {text!r}: a change has a sign. Write `> +{number} %`.")
    return parse_quantity(f"{number} {unit}", key="--fail-if", dimensions=(dimension, "share")).value


def _check_unit(limit: Limit, change: FigureChange) -> None:
    if limit.name.partition(".")[0] in _DIMENSIONS or limit.unit is None or limit.kind == RELATIVE:
        return
    allowed = ("%", *_POINTS) if change.unit == "share" else (change.unit,) if change.unit else ()
    if limit.unit not in allowed or (limit.unit in _POINTS and limit.kind == LEVEL):
        units = " or ".join(dict.fromkeys(each for each in allowed if each != "point")) or "no unit"
        raise ConfigError(
            f"--fail-if {limit.expression!r}: {limit.name} is not in {limit.unit!r}. It has {units}; a change may also "
            "be in % of A's figure."
        )


def _check_share(limit: Limit, change: FigureChange) -> None:
    """Refuse a limit that no share can be on either side of: `accuracy < 97`, `accuracy < -1`."""
    if change.unit != "share" or limit.kind == RELATIVE:
        return
    size, has_unit = abs(limit.value), limit.unit is not None
    if size < 1 or (size == 1 and (has_unit or limit.kind == LEVEL)):
        return
    meant = f"{limit.value:.10g} {'%' if limit.kind == LEVEL else 'points'}"
    hint = "" if has_unit or size > 100 else f" Did you mean {meant}?"
    raise ConfigError(
        f"--fail-if {limit.expression!r}: {limit.name} is a share, from 0 to 1 or 0 to 100 %, so this limit would "
        f"judge nothing.{hint}"
    )
