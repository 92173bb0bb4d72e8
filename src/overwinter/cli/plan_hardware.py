"""`overwinter plan --compare-hardware`: rank machines and regions by what the whole pipeline would cost there."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.errors import EXIT_DONE, ConfigError
from overwinter.units import format_duration, format_si, parse_quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from overwinter.budget import Range
    from overwinter.pipeline.machines import MachineCost, Machines
    from overwinter.pipeline.regions import RegionCost
    from overwinter.units import Quantity

_FIGURES = {"joules": "energy_j", "grams": "carbon_g", "time": "duration_s", "money": "cost"}
_OPTIONS = ("ledger", "hardware", "region", "price", "deadline", "rank_by")
_TITLES = ("machine", "device", "energy", "carbon", "time", "money", "basis")
_REGION_TITLES = ("region", "now", "carbon now", "cleanest start (UTC)", "then", "carbon then", "kind", "source")
_DEADLINE_S = 24 * 3600.0
_BASES = {
    "history": "from its own executions",
    "transferred": "from stages that it and another machine have run",
    "modelled": "modelled from public figures: nothing has run on it",
    "unknown": "unknown",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the machines, the regions and the figure to rank by."""
    group = parser.add_argument_group("choice of hardware (--compare-hardware)")
    group.add_argument("--compare-hardware", action="store_true", help="rank machines and regions for the pipeline")
    group.add_argument(
        "--ledger", action="append", type=Path, metavar="FILE", help="ledger of other machines, such as a merged one"
    )
    group.add_argument(
        "--hardware", action="append", metavar="NAME", help="option of configs/hardware/ to model, such as h100"
    )
    group.add_argument(
        "--region",
        action="append",
        metavar="NAME",
        help="country (DEU), trace (grid.csv), or option of configs/carbon/ with its zone (electricity_maps:DE)",
    )
    group.add_argument(
        "--price", action="append", metavar="NAME=PRICE", help="price of an hour on a machine, such as h100=2.50EUR"
    )
    group.add_argument(
        "--deadline", metavar="WHEN", help="end of the work: 12h from now, or a time with its zone (24h)"
    )
    group.add_argument("--rank-by", choices=_FIGURES, help="figure to rank machines by (joules)")


def refuse_stray(arguments: argparse.Namespace) -> None:
    """Raise ConfigError if an option of the comparison is given without it."""
    if stray := [name for name in _OPTIONS if getattr(arguments, name) is not None]:
        raise ConfigError(f"--{stray[0].replace('_', '-')} belongs to --compare-hardware. Add that, or leave it out.")


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison; nothing runs and no budget is judged."""
    if arguments.multirun or arguments.probe is not None:
        raise ConfigError("--compare-hardware compares one configuration, and runs nothing. Leave out -m and --probe.")
    from overwinter.config import find_project
    from overwinter.config.composing_many import Composer
    from overwinter.pipeline.machines import compare_machines
    from overwinter.pipeline.regions import compare_regions

    composer, now_utc = Composer(find_project()), datetime.now(UTC)
    deadline_utc = _deadline(arguments.deadline, now_utc)
    costs = compare_machines(composer, arguments.overrides, _machines(arguments), now_utc=now_utc)
    ranked = _ranked(costs, _FIGURES[arguments.rank_by or "joules"])
    regions: list[RegionCost] = []
    known = _best_known(ranked)
    if known is not None and known.energy_j is not None and known.duration_s is not None:
        regions = compare_regions(
            composer,
            arguments.overrides,
            arguments.region or (),
            energy_j=known.energy_j,
            duration_s=known.duration_s,
            now_utc=now_utc,
            deadline_utc=deadline_utc,
        )
    regions.sort(key=lambda each: (each.kind, *_cleanest(each)))
    if arguments.json:
        print(json.dumps(_document(ranked, regions, known), indent=2, default=datetime.isoformat))
    else:
        _print(ranked, regions, known, arguments.rank_by or "joules")
    return EXIT_DONE


def _machines(arguments: argparse.Namespace) -> Machines:
    from overwinter.energy.nvml import nvml_status
    from overwinter.pipeline.machines import Machines

    available, gpus, _ = nvml_status()
    return Machines(
        ledgers=tuple(arguments.ledger or ()),
        hardware=tuple(arguments.hardware or ()),
        prices=_prices(arguments.price or ()),
        gpus=gpus if available else "",
        until=arguments.until,
    )


def _prices(texts: Sequence[str]) -> Mapping[str, Quantity]:
    found = {}
    for text in texts:
        name, equals, price = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"--price {text!r} names no machine. Write NAME=PRICE, such as h100=2.50EUR.")
        found[name] = parse_quantity(price, key=f"--price {name}", dimensions=("money",))
    return found


def _deadline(text: str | None, now_utc: datetime) -> datetime:
    from overwinter.power.settings import read_deadline

    deadline_utc = read_deadline(text, started_utc=now_utc, key="--deadline")
    if deadline_utc is None:
        return now_utc + timedelta(seconds=_DEADLINE_S)
    if deadline_utc <= now_utc:
        raise ConfigError(
            f"--deadline {text} is in the past: it is {now_utc:%Y-%m-%d %H:%M} UTC now. Name a later one."
        )
    return deadline_utc


def _ranked(costs: Sequence[MachineCost], figure: str) -> list[MachineCost]:
    """Return the machines with the lowest expected figure first, and those without one last."""

    def key(cost: MachineCost) -> tuple[bool, float]:
        range_: Range | None = getattr(cost, figure)
        return (range_ is None, 0.0 if range_ is None else range_.expected)

    return sorted(costs, key=key)


def _best_known(ranked: Sequence[MachineCost]) -> MachineCost | None:
    """Return the first machine with the best basis, whose joules the regions are compared by."""
    known = [each for each in ranked if each.energy_j is not None]
    return min(known, key=lambda each: list(_BASES).index(each.basis), default=None)


def _cleanest(region: RegionCost) -> tuple[bool, float]:
    known = region.best_g_per_kwh if region.best_g_per_kwh is not None else region.g_per_kwh
    return (known is None, known or 0.0)


def _document(
    costs: Sequence[MachineCost], regions: Sequence[RegionCost], known: MachineCost | None
) -> dict[str, object]:
    return {
        "machines": [asdict(each) for each in costs],
        "regions": [asdict(each) for each in regions],
        "regions_for": None if known is None else {"name": known.name, "device": known.device},
    }


def _print(costs: Sequence[MachineCost], regions: Sequence[RegionCost], known: MachineCost | None, rank: str) -> None:
    from overwinter.cli.ledger import print_table

    print(f"The whole pipeline, ranked by {rank}; forecasts, with their ranges:")
    print_table(_TITLES, [_row(each) for each in costs])
    for cost in costs:
        for note in cost.notes:
            print(f"{cost.name}, {cost.device}: {note}.")
    if not regions or known is None:
        print("Regions are compared once the pipeline's joules are known on some machine.")
        return
    print(f"\nRegions, for the joules and the time of {known.name}, {known.device}:")
    print_table(_REGION_TITLES, [_region_row(each) for each in regions])
    for region in regions:
        if region.note:
            print(f"{region.name}: {region.note}.")


def _row(cost: MachineCost) -> list[str]:
    return [
        cost.name,
        cost.device,
        _span(cost.energy_j, lambda value: format_si(value, "J")),
        _span(cost.carbon_g, _grams),
        _span(cost.duration_s, format_duration),
        "" if cost.cost is None else _span(cost.cost, lambda value: f"{value:.3g} {cost.currency}"),
        _basis(cost),
    ]


def _basis(cost: MachineCost) -> str:
    if cost.measured_fraction is None or cost.basis not in ("history", "transferred"):
        return _BASES[cost.basis]
    return f"{_BASES[cost.basis]}; {cost.measured_fraction:.0%} of its joules measured"


def _region_row(region: RegionCost) -> list[str]:
    return [
        region.name,
        "unknown" if region.g_per_kwh is None else f"{region.g_per_kwh:.0f} g/kWh",
        _span(region.carbon_g, _grams),
        "" if region.start_utc is None else f"{region.start_utc:%Y-%m-%d %H:%M}",
        "" if region.best_g_per_kwh is None else f"{region.best_g_per_kwh:.0f} g/kWh",
        "" if region.best_carbon_g is None else _span(region.best_carbon_g, _grams),
        region.kind,
        region.source,
    ]


def _grams(carbon_g: float) -> str:
    return format_si(carbon_g, "gCO2e")


def _span(range_: Range | None, form: Callable[[float], str]) -> str:
    if range_ is None:
        return "unknown"
    return f"{form(range_.expected)} ({form(range_.low)} to {form(range_.high)})"
