"""docs/model-families.md, written from results/families.json; a test compares the two.

python benchmarks/family_page.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from family_models.catalog import FAMILIES
from overwinter.files import write_text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "model-families.md"
RESULT = ROOT / "benchmarks" / "results" / "families.json"
_HEAD = """# Which models go through which stage

Tiny models with random weights of {count} of the {listed} families in benchmarks/family_models, each trained for one
epoch on digits or text, and taken through `sparsify` (a quarter of the channels), the int8 quantizers, every runtime
that claims a variant, a bundle and its wake, in one process. {passed} of {count} go through. This page is written by
`benchmarks/families.py`.

- *int8* counts the quantizers that made a variant, of {quantizers}: {names}.
- *runtimes* are those that serve variants of it, from a bundle too.{again}
- *divergence* is the largest of a served int8 variant from the dense model: the mean Kullback-Leibler divergence in
  nats, or for regression and forecasting the error over the spread of the values. The limit is {limits}.

| family | task | dense | sparse | int8 | runtimes | divergence | |
|---|---|---|---|---|---|---|---|
"""
_AGAIN = """
- *sparse* and what `sparsify` left alone are of a later version than *int8* and *runtimes*, whose variants are of
  models that lost fewer channels{old}."""


def rendered(result: Mapping[str, Any]) -> str:
    """Return the page."""
    families = result["families"]
    methods = sorted({step for found in families.values() for step in found["steps"] if _is_quantizer(step)})
    head = _HEAD.format(
        count=len(families),
        listed=len(FAMILIES),
        passed=sum(found["verdict"] == "passed" for found in families.values()),
        quantizers=len(methods),
        names=", ".join(f"`{method}`" for method in methods),
        again=_again(families),
        limits=", ".join(f"{limit} {unit}" for unit, limit in result["limits"].items()),
    )
    return head + "".join(map(_line, families.values())) + "\n" + "\n".join(_notes(families)) + "\n"


def _again(families: Mapping[str, Any]) -> str:
    old = [found["title"] for found in families.values() if "sparsified_again" not in found]
    if len(old) == len(families):
        return ""
    return _AGAIN.format(old=f"; those of {', '.join(old)} are of the earlier one, too" if old else "")


def _line(found: Mapping[str, Any]) -> str:
    steps = found["steps"]
    served = {name: step for name, step in steps.items() if "@" in name and step["outcome"] == "passed"}
    runtimes = sorted({name.partition("@")[2] for name in served})
    far = [step["divergence"] for name, step in served.items() if name.startswith("int8")]
    quantizers = [step["outcome"] == "passed" for name, step in steps.items() if _is_quantizer(name)]
    cells = [
        found["title"],
        found["task"],
        *(_figure(steps.get(name, {}).get("headline")) for name in ("train", "sparsify")),
        f"{sum(quantizers)} of {len(quantizers)}",
        ", ".join(f"`{name}`" for name in runtimes) or "none",
        _figure(max(far, default=None)),
        {"passed": "goes through", "refused": "is refused in part", "failed": "fails"}[found["verdict"]],
    ]
    return f"| {' | '.join(cells)} |\n"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _is_quantizer(step: str) -> bool:
    return step.startswith("int8") and "@" not in step


def _notes(families: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is left alone or refused, family by family, as the stages say it."""
    yield "## What is left alone, and why\n"
    yield "As the stages log it; a runtime that does not claim a variant is not listed.\n"
    for found in families.values():
        yield f"### {found['title']}\n"
        said = [(name, step) for name, step in found["steps"].items() if step.get("words")]
        lines = [f"- {name}: {step['words']}" for name, step in said if step["outcome"] != "unclaimed"]
        yield "\n".join(lines or ["- nothing"]) + "\n"


def write() -> None:
    """Write the page."""
    write_text(PAGE, rendered(json.loads(RESULT.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    write()
