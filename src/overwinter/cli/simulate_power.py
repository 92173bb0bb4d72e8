"""`overwinter simulate power`: replay carbon or prices through a power policy, or search for the least energy."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from overwinter.errors import EXIT_DONE, ConfigError, nearest

if TYPE_CHECKING:
    from overwinter.carbon.trace import Trace
    from overwinter.power.interface import PowerPolicy
    from overwinter.power.settings import PowerConfig, SearchingPowerConfig
    from overwinter.power.simulation.replay import Job
    from overwinter.power.simulation.report import Comparison
    from overwinter.power.simulation.searching import Found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the trace, the device and the job."""
    parser.add_argument(
        "--policy",
        required=True,
        help="name of a power policy; one that searches, such as energy_optimal, needs no trace",
    )
    parser.add_argument("--carbon", type=Path, metavar="TRACE.csv", help="time_utc,g_per_kwh")
    parser.add_argument(
        "--prices",
        type=Path,
        metavar="PRICES.csv",
        help="CSV file with time_utc,price_per_kwh, for a policy that needs prices",
    )
    parser.add_argument(
        "--published",
        type=int,
        default=0,
        metavar="H",
        help="hours ahead that the policy knows, such as tomorrow's prices (0)",
    )
    parser.add_argument(
        "--budget", metavar="AMOUNT", help="budget of one job, for a policy that paces it: '4 kWh' or '900 gCO2e'"
    )
    parser.add_argument(
        "--device", type=Path, metavar="TABLE.csv", required=True, help="power_limit,time_per_epoch,average_power,..."
    )
    parser.add_argument("--select", metavar="COLUMN=VALUE,...", help="rows of the device's table to use")
    parser.add_argument("--hours", type=float, default=24.0, help="duration of the work at full speed (24)")
    parser.add_argument(
        "--slack", type=float, default=1.5, help="time to the deadline, as a multiple of that duration (1.5)"
    )
    parser.add_argument(
        "--starts", type=int, default=150, help="number of jobs, which start at random whole hours (150)"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (0)")
    parser.add_argument("--pause-w", type=float, default=0.0, help="power draw in a pause before the job's end (0)")
    parser.add_argument("--max-slowdown", type=float, help="search only: 0.2 allows 20 %% more time; default: any")
    parser.add_argument("--job", type=int, default=200, help="search only: equal pieces of work in a job (200)")
    parser.add_argument(
        "--noise", type=float, default=0.0, help="search only: relative noise of measured joules; 0.02 is 2 %% (0)"
    )
    parser.add_argument("--repeats", type=int, default=1, help="search only: jobs per workload (1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("overrides", nargs="*", metavar="power.KEY=VALUE", help="override of the policy's settings")


def run(arguments: argparse.Namespace) -> int:
    """Simulate, and print a table or JSON."""
    _check(arguments)
    from overwinter.power.settings import SearchingPowerConfig

    schema = _schema(arguments.policy)
    return _search(arguments, schema) if issubclass(schema, SearchingPowerConfig) else _compare(arguments, schema)


def _schema(name: str) -> type[PowerConfig]:
    """Return the settings class of the policy, which declares its needs."""
    from overwinter.config.groups import SCHEMAS
    from overwinter.registries import POWER_POLICIES

    known = POWER_POLICIES.names()
    if name not in known:
        raise ConfigError(f"--policy {name} is unknown. Known: {', '.join(known)}.{nearest(name, known)}")
    return SCHEMAS["power"]({"policy": name})


def _check(arguments: argparse.Namespace) -> None:
    for name, least in (
        ("hours", 0.0),
        ("slack", 1.0),
        ("starts", 1.0),
        ("pause_w", 0.0),
        ("max_slowdown", 0.0),
        ("job", 1.0),
        ("repeats", 1.0),
        ("noise", 0.0),
    ):
        value = getattr(arguments, name)
        too_low = value is not None and (not least <= value < float("inf") or (name == "hours" and value == 0))
        if too_low:
            least_text = "above 0" if name == "hours" else f"at least {least:g}"
            raise ConfigError(f"--{name.replace('_', '-')} {value:g} must be {least_text}.")
    for name in ("seed", "published"):
        if getattr(arguments, name) < 0:
            raise ConfigError(f"--{name} {getattr(arguments, name)} must be at least 0.")


def _compare(arguments: argparse.Namespace, schema: type[PowerConfig]) -> int:
    from overwinter.carbon.forecast import by_hour
    from overwinter.power.simulation.device import parse_select, read_device_table
    from overwinter.power.simulation.report import simulate

    priced = schema.needs == "prices" or (arguments.prices is not None and arguments.carbon is None)
    job, (path, trace) = _job(arguments, schema, priced=priced), _trace(arguments, priced=priced)
    policy = _policy(arguments, schema)
    device = read_device_table(arguments.device, parse_select(arguments.select))
    settings = {"count": arguments.starts, "seed": arguments.seed, "published": arguments.published}
    found = simulate(policy, device, job, by_hour(trace), **settings)
    if arguments.json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        _print_comparison(found, arguments)
    if trace.interpolated:
        missing = f"{len(trace.interpolated)} of {len(trace.values)} steps of {path.name} are missing"
        print(f"{missing}: interpolated.", file=sys.stderr if arguments.json else sys.stdout)
    return EXIT_DONE


def _trace(arguments: argparse.Namespace, *, priced: bool) -> tuple[Path, Trace]:
    """Read the trace of prices or of carbon intensity."""
    from overwinter.carbon.trace import INTENSITY, read_trace
    from overwinter.power.prices import COLUMN

    if priced:
        option, path, column = "--prices PRICES.csv", arguments.prices, COLUMN
    else:
        option, path, column = "--carbon TRACE.csv", arguments.carbon, INTENSITY
    if path is None:
        raise ConfigError(f"--policy {arguments.policy} needs {option} with time_utc,{column}.")
    return path, read_trace(path, column)


def _job(arguments: argparse.Namespace, schema: type[PowerConfig], *, priced: bool) -> Job:
    from overwinter.power.simulation.replay import Job
    from overwinter.units import parse_quantity

    if schema.needs == "budget" and arguments.budget is None:
        raise ConfigError(f"--policy {arguments.policy} needs --budget for one job, such as --budget '4 kWh'.")
    allowed = ("energy",) if priced else ("energy", "carbon")
    budget = parse_quantity(arguments.budget, key="--budget", dimensions=allowed) if arguments.budget else None
    return Job(
        hours=arguments.hours,
        slack=arguments.slack,
        pause_w=arguments.pause_w,
        priced=priced,
        budget_j=budget.value if budget and budget.dimension == "energy" else None,
        budget_cost=budget.value if budget and budget.dimension == "carbon" else None,
    )


def _search(arguments: argparse.Namespace, schema: type[SearchingPowerConfig]) -> int:
    from overwinter.power.simulation.device import parse_select, read_workloads
    from overwinter.power.simulation.searching import Search, find_least_energy, summed_up

    if arguments.overrides:
        raise ConfigError(
            f"--policy {arguments.policy} takes no {arguments.overrides[0]} here: the table gives the limits, and "
            "--max-slowdown 0.2 how much longer the work may take."
        )
    search = Search(
        pieces=arguments.job,
        noise=arguments.noise,
        repeats=arguments.repeats,
        max_slowdown=arguments.max_slowdown,
    )
    workloads = read_workloads(arguments.device, parse_select(arguments.select))
    found = [find_least_energy(workload, search, arguments.seed, policy_of=schema) for workload in workloads]
    if arguments.json:
        print(json.dumps(summed_up(found) | {"workloads": [each.to_json() for each in found]}, indent=2))
    else:
        _print_found(found, arguments)
    return EXIT_DONE


def _policy(arguments: argparse.Namespace, schema: type[PowerConfig]) -> PowerPolicy:
    """Open the policy with its settings in configs/power (the project's, or the built-in ones) and the overrides."""
    from overwinter.config import check_settings

    prices = [f"power.prices={arguments.prices}"] if schema.needs == "prices" else []
    config = _settings(arguments.policy, schema, [*prices, *arguments.overrides])
    check_settings(config, key="power")
    config.check("power")
    return config.open()


def _settings(name: str, schema: type[PowerConfig], overrides: list[str]) -> PowerConfig:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from overwinter.documents import check_yaml_files

    path = _configs() / "power" / f"{name}.yaml"
    check_yaml_files([path] if path.is_file() else [])
    content = OmegaConf.load(path) if path.is_file() else OmegaConf.create({"policy": name})
    for override in overrides:
        if not override.startswith("power.") or "=" not in override:
            raise ConfigError(f"{override!r} is not a setting of the policy. Write power.KEY=VALUE.")
    try:
        own = OmegaConf.from_dotlist(overrides).get("power", {})
        settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), content, own))
        return cast("PowerConfig", settings)
    except OmegaConfBaseException as error:
        raise ConfigError(f"power.{error.full_key}: {str(error).splitlines()[0]}. See {path}.") from None


def _configs() -> Path:
    from overwinter.config.project import find_project
    from overwinter.template import template_folder

    try:
        return find_project().configs
    except ConfigError:
        return template_folder() / "configs"


def _print_comparison(found: Comparison, arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"{len(found.starts)} jobs of {arguments.hours:g} h of work, slack {arguments.slack:g}, "
        f"pauses at {arguments.pause_w:g} W",
        caption=f"Simulated on {arguments.device.name} and {_trace_name(found, arguments)}; all figures are sums.",
    )
    budgeted = ("over budget",) if arguments.budget else ()
    unit = "cost" if found.job.priced else "carbon"
    for column in ("", unit, "energy", "hours", "missed", *budgeted, "of the possible saving"):
        table.add_column(column, justify="left" if not column else "right")
    rows = {
        arguments.policy: found.policy,
        "no cap": found.no_cap,
        f"best single limit ({found.best_static_w:g} W)": found.best_static,
        "optimum with perfect foresight": found.optimum,
    }
    for name, outcomes in rows.items():
        table.add_row(name, *_cells(found, outcomes))
    Console().print(table)


def _trace_name(found: Comparison, arguments: argparse.Namespace) -> str:
    return str((arguments.prices if found.job.priced else arguments.carbon).name)


def _cells(found: Comparison, outcomes: Any) -> list[str]:
    from overwinter.units import format_si

    share, cost = found.share_of_saving(outcomes), sum(each.cost for each in outcomes)
    budgeted = found.job.budget_j is not None or found.job.budget_cost is not None
    return [
        f"{cost:.4g}" if found.job.priced else format_si(cost, "gCO2e"),
        format_si(sum(each.energy_j for each in outcomes), "J"),
        f"{sum(each.hours for each in outcomes):.0f}",
        str(sum(each.missed for each in outcomes)),
        *([str(sum(each.over_budget for each in outcomes))] if budgeted else []),
        "-" if share is None else f"{100 * share:.1f} %",
    ]


def _print_found(found: list[Found], arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from overwinter.power.simulation.searching import summed_up
    from overwinter.units import format_si

    summary = summed_up(found)
    table = Table(
        title=f"Jobs of {arguments.job} pieces of work that search for the limit with the least energy",
        caption=f"Simulated on {arguments.device.name}: each measurement comes from the table, with noise of "
        f"{100 * arguments.noise:g} %. Above the least: mean {_above(summary['mean_ratio'])}, "
        f"worst {_above(summary['worst_ratio'])}.",
    )
    for column in ("workload", "limit", "tried", "of", "energy of a job", "above the least", "slower by"):
        table.add_column(column, justify="left" if column == "workload" else "right")
    for each in found:
        name = " ".join(each.select.values()) or "all rows"
        cells = [f"{each.limit_w:g} W", f"{each.probes:.3g}", str(each.full_sweep), format_si(each.job_energy_j, "J")]
        table.add_row(name, *cells, _above(each.ratio), f"{100 * each.slowdown:.1f} %")
    Console().print(table)


def _above(ratio: float) -> str:
    return f"{100 * (ratio - 1):.1f} %"
