"""Recorded requests: a CSV of arrivals, or of counts in bins."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overwinter.errors import ConfigError

Seconds = NDArray[np.float64]


def read_arrivals(path: Path, *, seed: int) -> Seconds:
    """Return the arrival times of recorded requests, ascending.

    Args:
        path: A CSV file with a column `seconds`, one row per request, ascending; or with `seconds` and `count`, one
            row per bin. The requests of a bin are spread over it uniformly at random, since evenly spaced requests
            would be too regular. A bin has the most common width, or ends where the next one begins.
        seed: The random seed of that spread.

    Raises:
        ConfigError: The file cannot be read, a column is missing, a number is wrong, times are negative or not
            ascending, or there are fewer than two requests.
    """
    columns = _read_columns(path)
    seconds = columns["seconds"]
    if "count" in columns:
        _refuse_unless_ascending(path, seconds, strictly=True)
        seconds = _spread(path, seconds, columns["count"], seed)
    else:
        _refuse_unless_ascending(path, seconds, strictly=False)
    if len(seconds) < 2 or seconds[-1] <= seconds[0]:
        raise ConfigError(f"{path} holds {len(seconds)} request(s) and no time between any two: nothing to replay.")
    return seconds


def _read_columns(path: Path) -> dict[str, Seconds]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            if "seconds" not in names:
                found = f"only {', '.join(names)}" if names else "is empty"
                raise ConfigError(f"{path} has no column `seconds`, {found}. Its first line must name the columns.")
            wanted = [name for name in ("seconds", "count") if name in names]
            rows = [[_number(path, reader.line_num, name, row[name]) for name in wanted] for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if not rows:
        raise ConfigError(f"{path} names its columns but holds no request.")
    return dict(zip(wanted, np.array(rows, dtype=np.float64).T, strict=True))


def _number(path: Path, line: int, name: str, text: Any) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value < 1e15:
        raise ConfigError(f"{path}, line {line}: {name}={text!r} must be a number, zero or more.")
    if name == "count" and value != int(value):
        raise ConfigError(f"{path}, line {line}: count={text!r} must be a whole number.")
    return value


def _refuse_unless_ascending(path: Path, seconds: Seconds, *, strictly: bool) -> None:
    steps = np.diff(seconds)
    wrong = np.flatnonzero(steps <= 0 if strictly else steps < 0)
    if len(wrong):
        row = int(wrong[0])
        raise ConfigError(
            f"{path}: seconds={seconds[row + 1]:g} comes after seconds={seconds[row]:g} (line {row + 3}). "
            f"Sort the rows by time{', one row per bin' if strictly else ''}."
        )


def _spread(path: Path, starts_s: Seconds, counts: Seconds, seed: int) -> Seconds:
    if len(starts_s) < 2:
        raise ConfigError(f"{path} holds one bin only, so that its width is unknown. Give two bins or more.")
    if counts.sum() > 50e6:
        raise ConfigError(f"{path} counts {counts.sum():.3g} requests. Replay at most 50 million at a time.")
    steps = np.diff(starts_s)
    usual = float(np.median(steps))
    widths = np.minimum(np.append(steps, usual), usual)
    repeats = counts.astype(np.int64)
    places = np.random.default_rng(seed).random(int(repeats.sum()))
    return np.sort(np.repeat(starts_s, repeats) + np.repeat(widths, repeats) * places)
