"""What the tables of figures are made of: result files, and rows of three cells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

Row = tuple[str, str, str]  # quantity, measured value, target


def result(name: str) -> dict[str, Any]:
    """Read a result file."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def has_result(name: str) -> bool:
    """Return whether there is a result file; some take a quiet machine the better part of an hour."""
    return (RESULTS / f"{name}.json").exists()


def interval(found: Mapping[str, float], digits: int = 2) -> str:
    """Return a mean with its interval, if there is one, signed."""
    mean, *bounds = (f"{found[key]:+.{digits}f}" for key in ("mean", "low", "high") if key in found)
    return f"{mean} ({' to '.join(bounds)})" if bounds else mean
