"""The thermal design power of a CPU, from CodeCarbon's table, read without importing CodeCarbon."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from overwinter.codecarbon_tables import codecarbon_data

_NOISE = re.compile(r"\((r|tm|c)\)|@.*$|\b(cpu|processor|\d+-core|with radeon.*)\b", re.IGNORECASE)


def design_power_w(cpu_name: str, table: Path | None = None) -> float | None:
    """Look up the thermal design power of one package.

    The entry with the most words that all occur in ``cpu_name`` wins; it must name the model (a word with a
    digit).

    Args:
        cpu_name: The name in /proc/cpuinfo, such as `Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz`.
        table: A CSV file with the columns Name and TDP; CodeCarbon's by default.

    Returns:
        Watts, or None if the name is not in the table or matches entries that differ.
    """
    words = _words(cpu_name)
    models = [word for word in words if any(c.isdigit() for c in word)]
    if not models:
        return None
    matches = [(len(entry), power_w) for entry, power_w in _entries(table, models) if entry <= words]
    longest = max((length for length, _ in matches), default=0)
    powers_w = {power_w for length, power_w in matches if length == longest}
    return powers_w.pop() if len(powers_w) == 1 else None


def _entries(table: Path | None, models: list[str]) -> list[tuple[frozenset[str], float]]:
    """Return the rows that contain one of ``models``, a few of the table's thousands."""
    path = table or _default_table()
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    rows = csv.reader(line for line in lines[1:] if any(model in line.lower() for model in models))
    return [entry for row in rows if (entry := _entry(row))]


def _entry(row: list[str]) -> tuple[frozenset[str], float] | None:
    try:
        words, power_w = _words(row[0]), float(row[1])
    except (IndexError, ValueError):
        return None
    named = any(c.isdigit() for word in words for c in word)
    return (words, power_w) if named and power_w > 0 else None


def _words(name: str) -> frozenset[str]:
    return frozenset(_NOISE.sub(" ", name).lower().split())


def _default_table() -> Path | None:
    data = codecarbon_data()
    return data / "hardware" / "cpu_power.csv" if data else None
