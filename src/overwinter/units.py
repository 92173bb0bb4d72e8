"""Parsing and printing of quantities: ``2 kWh``, ``500 gCO2e``, ``30 min``, ``1.5 EUR``.

Inside the library every number is in the base unit that ends its name: joules, grams, seconds, watts.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from overwinter.errors import ConfigError, nearest

# unit -> (dimension, factor to the base unit)
_UNITS: dict[str, tuple[str, float]] = {
    "uJ": ("energy", 1e-6),
    "µJ": ("energy", 1e-6),
    "mJ": ("energy", 1e-3),
    "J": ("energy", 1.0),
    "kJ": ("energy", 1e3),
    "MJ": ("energy", 1e6),
    "GJ": ("energy", 1e9),
    "mWh": ("energy", 3.6),
    "Wh": ("energy", 3.6e3),
    "kWh": ("energy", 3.6e6),
    "MWh": ("energy", 3.6e9),
    "mgCO2e": ("carbon", 1e-3),
    "gCO2e": ("carbon", 1.0),
    "kgCO2e": ("carbon", 1e3),
    "tCO2e": ("carbon", 1e6),
    "us": ("time", 1e-6),
    "µs": ("time", 1e-6),
    "ms": ("time", 1e-3),
    "s": ("time", 1.0),
    "min": ("time", 60.0),
    "h": ("time", 3600.0),
    "d": ("time", 86400.0),
    "mW": ("power", 1e-3),
    "W": ("power", 1.0),
    "kW": ("power", 1e3),
    "B": ("data", 1.0),
    "kB": ("data", 1e3),
    "MB": ("data", 1e6),
    "GB": ("data", 1e9),
}
_CURRENCIES = ("EUR", "USD", "GBP", "CHF", "JPY", "CNY", "INR", "SEK", "NOK", "DKK", "PLN", "CAD", "AUD")
_UNITS.update(dict.fromkeys(_CURRENCIES, ("money", 1.0)))
BASE_UNITS = {"energy": "J", "carbon": "gCO2e", "time": "s", "power": "W", "data": "B"}
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµ]\w*|%)\s*")
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A non-negative amount in the base unit of its dimension.

    Attributes:
        value: the amount, in ``unit``.
        dimension: ``energy``, ``carbon``, ``time``, ``power``, ``data``, ``money`` or ``share``.
        unit: ``J``, ``gCO2e``, ``s``, ``W``, ``B``, the currency, or ``1`` for a share.
    """

    value: float
    dimension: str
    unit: str

    def __str__(self) -> str:
        if self.dimension == "share":
            return f"{100 * self.value:g} %"
        if self.dimension == "money":
            return f"{self.value:.4g} {self.unit}"
        if self.dimension == "time":
            return format_duration(self.value)
        return format_si(self.value, self.unit)


def parse_quantity(text: str, *, key: str, dimensions: tuple[str, ...]) -> Quantity:
    """Parse ``text`` such as ``"2 kWh"`` into base units.

    Args:
        text: a number and a unit; ``%`` gives a share.
        key: configuration key, for error messages.
        dimensions: the allowed dimensions.

    Raises:
        ConfigError: no number, an unknown unit, a unit of another dimension, or a negative or infinite value.
    """
    match = _QUANTITY.fullmatch(text)
    allowed = _units_of(dimensions)
    if match is None:
        raise ConfigError(f"{key}={text!r} is not a quantity. Write a number and a unit, one of: {', '.join(allowed)}.")
    number, unit = match.groups()
    dimension, factor = ("share", 0.01) if unit == "%" else _UNITS.get(unit, ("", 0.0))
    if dimension not in dimensions:
        raise ConfigError(
            f"{key}={text!r} has the wrong unit {unit!r}. Allowed: {', '.join(allowed)}.{nearest(unit, allowed)}"
        )
    value = float(number) * factor
    if value < 0 or not math.isfinite(value):
        raise ConfigError(f"{key}={text!r} must be a finite amount, zero or more.")
    return Quantity(value=value, dimension=dimension, unit=_base_unit(dimension, unit))


def format_si(value: float, unit: str) -> str:
    """Return ``value`` with three digits and a metric prefix, such as ``1.23 kJ``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s * 0.9995), _PREFIXES[-1])
    return f"{_three_digits(value / scale)} {prefix}{unit}"


def format_duration(duration_s: float) -> str:
    """Return a readable duration: ``0.52 s``, ``1 min 05 s``, ``2 h 03 min``."""
    if abs(duration_s) < 59.95:
        return format_si(duration_s, "s") if abs(duration_s) < 0.0995 else f"{_three_digits(duration_s)} s"
    minutes, seconds = divmod(round(duration_s), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def format_bytes(size_bytes: float) -> str:
    """Return a size in decimal units: ``83.2 kB``."""
    return format_si(size_bytes, "B")


def _three_digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".") if abs(value) < 999.5 else f"{value:.0f}"


def _units_of(dimensions: tuple[str, ...]) -> list[str]:
    return [unit for unit, (dimension, _) in _UNITS.items() if dimension in dimensions] + (
        ["%"] if "share" in dimensions else []
    )


def _base_unit(dimension: str, unit: str) -> str:
    if dimension == "money":
        return unit
    return "1" if dimension == "share" else BASE_UNITS[dimension]
