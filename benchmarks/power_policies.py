"""Savings of the power policies on recorded traces and measured tables, compared with perfect knowledge.

    python benchmarks/power_policies.py DATA [--starts 150]

DATA holds carbon/*.csv and power/zeus_power_*.csv. Simulated: the tables' watts and seconds were measured on real
GPUs, by others. `carbon_aware` is judged three ways, since what it may know matters: with the region's own past
alone (as `overwinter simulate power` does), with the past of the other regions too, and with its own past but without
the intensity of the running hour. No way sees a later hour; another region's hours count only once they are past.
`energy_optimal` has a program of its own: power_searching.py.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from common import write_result
from overwinter.carbon.forecast import Forecaster, Hours, by_hour
from overwinter.carbon.trace import read_trace
from overwinter.power.interface import Decision, Observation, PowerPolicy, Series
from overwinter.power.policies.budget_pacing import BudgetPacing
from overwinter.power.policies.energy_optimal import EnergyOptimal
from overwinter.power.policies.limits import read_limit
from overwinter.power.policies.no_cap import NoCap
from overwinter.power.policies.planned import CarbonAware, PriceAware
from overwinter.power.policies.schedule import Schedule, ScheduleRule, read_rules, read_time_zone
from overwinter.power.policies.static import StaticCap
from overwinter.power.simulation.device import DeviceTable, read_device_table
from overwinter.power.simulation.replay import ForecastMemory, Job, draw_starts
from overwinter.power.simulation.report import Comparison, compare

TRACES = ("gb_2019", "gb_2021", "us_nyis_2022", "us_pjm_2022")
DEVICES = {"v100": {"network": "resnet50", "batch_size": "360"}, "p100": {"network": "resnet50", "batch_size": "128"}}
HOURS, SEED = 24.0, 0
JOBS = tuple(Job(hours=HOURS, slack=slack) for slack in (1.1, 1.25, 1.5, 2.0))
PAID = Job(hours=HOURS, slack=2.0, pause_w=25.0)
KNOWLEDGE = {
    "own_past": (False, True),
    "all_past": (True, True),
    "own_past_without_now": (False, False),
}
_PAST = 35 * 24  # hours
_KEPT = 26 * 7  # days of history that a live source keeps
_SPANS = {"": slice(0, 24), ", 1 to 6 h": slice(1, 7), ", 24 to 48 h": slice(24, 48)}
RULE = ScheduleRule(days="mon-fri", hours="07:00-22:00", limit="40 %", pause=False)


@dataclass(kw_only=True)
class Timed:
    """A policy, and the longest and mean time of its decisions."""

    policy: PowerPolicy
    max_s: float = 0.0
    total_s: float = 0.0
    count: int = 0

    def decide(self, observation: Observation) -> Decision:
        """Answer as the policy does; the time is CPU time, since this machine does other work too."""
        began = time.thread_time()
        decision = self.policy.decide(observation)
        spent_s = time.thread_time() - began
        self.max_s, self.total_s = max(self.max_s, spent_s), self.total_s + spent_s
        self.count += 1
        return decision


def main() -> None:
    """Run everything, print it, and write results/power_policies.json."""
    arguments = _arguments()
    traces = {name: by_hour(read_trace(arguments.data / "carbon" / f"{name}.csv")) for name in TRACES}
    power = arguments.data / "power"
    devices = {name: read_device_table(power / f"zeus_power_{name}.csv", select) for name, select in DEVICES.items()}
    content = {
        "label": "simulated on measured tables",
        "starts": arguments.starts,
        "carbon_aware": carbon_aware(traces, devices, arguments.starts),
        "forecast_error": {name: forecast_error(traces[name]) for name in TRACES},
        "decision_s": decision_times(traces["gb_2021"], devices["v100"]),
        "forecast_s": forecast_times(traces["gb_2021"]),
    }
    print(f"Written to {write_result('power_policies', content)}.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--starts", type=int, default=150)
    return parser.parse_args()


def carbon_aware(traces: dict[str, Hours], devices: dict[str, DeviceTable], starts: int) -> list[dict[str, Any]]:
    """Compare on every device, trace, job and kind of knowledge."""
    rows = []
    for kind, (pooled, now_known) in KNOWLEDGE.items():
        found: dict[tuple[str, Job], list[dict[str, Any]]] = {}
        for trace_name, trace in traces.items():
            others = [other for name, other in traces.items() if name != trace_name] if pooled else []
            forecasts = ForecastMemory(trace, others, now_known=now_known)
            for device_name in devices if kind == "own_past" else ("v100",):
                # the longest job first, so that its forecasts serve the others
                for job in (PAID, *reversed(JOBS)):
                    drawn = draw_starts(trace, job, starts, SEED)
                    compared = compare(CarbonAware(), devices[device_name], job, trace, drawn, forecasts)
                    found.setdefault((device_name, job), []).append(_row(trace_name, compared))
        rows += [_summary(kind, device_name, job, each) for (device_name, job), each in found.items()]
    return rows


def _row(trace_name: str, compared: Comparison) -> dict[str, Any]:
    return {
        "trace": trace_name,
        "share": compared.share_of_saving(),
        "share_error": _share_error(compared),
        "share_best_static": compared.share_of_saving(compared.best_static),
        "best_static_w": compared.best_static_w,
        "missed_deadlines": sum(run.missed for run in compared.policy),
        "saving": 1 - _grams(compared.policy) / _grams(compared.no_cap),
    }


def _share_error(compared: Comparison) -> float:
    """Return the standard error of the pooled share over the draw of starts, as a ratio's: by linearisation."""
    uncapped, policy, least = (
        np.array([run.cost for run in runs]) for runs in (compared.no_cap, compared.policy, compared.optimum)
    )
    saved, possible = uncapped - policy, uncapped - least
    away = saved - saved.sum() / possible.sum() * possible
    return float(away.std(ddof=1) * math.sqrt(len(away)) / possible.sum())


def _grams(outcomes: Iterable[Any]) -> float:
    return sum(each.cost for each in outcomes)


def _summary(kind: str, device_name: str, job: Job, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    shares = [row["share"] for row in rows]
    summary = {
        "knowledge": kind,
        "device": device_name,
        "slack": job.slack,
        "pause_w": job.pause_w,
        "mean_share": fmean(shares),
        "mean_share_error": math.sqrt(sum(row["share_error"] ** 2 for row in rows)) / len(rows),
        "min_share": min(shares),
        "least_lead_on_best_static": min(row["share"] - row["share_best_static"] for row in rows),
        "missed_deadlines": sum(row["missed_deadlines"] for row in rows),
        "traces": rows,
    }
    named = f"{device_name} slack {job.slack:<4} pause {job.pause_w:>2.0f} W  {kind:<20}"
    share = f"share {summary['mean_share']:.5f} +- {summary['mean_share_error']:.4f}, least {min(shares):.3f}"
    lead = f"lead on the best single limit {summary['least_lead_on_best_static']:+.4f}"
    print(f"{named}  {share}  {lead}  missed {summary['missed_deadlines']}", flush=True)
    return summary


def forecast_error(trace: Hours) -> dict[str, float]:
    """Return the mean absolute error over the mean intensity: of forecasts made at midnight, by how far they look.

    `own` knows all that is past, `own_from_5_weeks` as much as a live source has after five weeks (the cache keeps
    half a year, and repeats the last day in its first four weeks).
    """
    whole, away, level = Forecaster(trace), defaultdict[str, list[float]](list), []
    for place in range(_PAST, len(trace.values) - 48, 24):
        actual, hour = trace.values[place : place + 48], trace.first + place
        recent = Hours(first=hour - _PAST, values=trace.values[place - _PAST : place + 1])
        made = {
            "own": whole.at(hour, 48),
            "own_from_5_weeks": Forecaster(recent).at(hour, 48),
            "repeating_yesterday": np.resize(trace.values[place - 24 : place], 48),
        }
        for name, forecast in made.items():
            for label, span in _SPANS.items():
                away[f"{name}{label}"].append(float(abs(forecast - actual)[span].mean()))
        level.append(float(actual.mean()))
    error = {name: fmean(each) / fmean(level) for name, each in away.items()}
    print("forecast error", {name: round(value, 4) for name, value in error.items()}, flush=True)
    return error


def decision_times(trace: Hours, device: DeviceTable) -> dict[str, dict[str, float]]:
    """Return the CPU time of a decision, longest and mean, on plans of two days and of a fortnight."""
    began = datetime.fromtimestamp((trace.first + 1000) * 3600, tz=UTC)
    policies: dict[str, PowerPolicy] = {
        "none": NoCap(),
        "static": StaticCap(limit=read_limit("60 %", key="limit")),
        "energy_optimal": EnergyOptimal(max_slowdown=0.2, step_w=25.0),
        "schedule": Schedule(rules=read_rules([RULE]), time_zone=read_time_zone("Europe/Berlin")),
        "budget_pacing": BudgetPacing(),
        "carbon_aware": CarbonAware(),
        "price_aware": PriceAware(),
    }
    times = {}
    for name, policy in policies.items():
        for hours, pause_w in ((48, 0.0), (336, 0.0), (48, 25.0), (336, 25.0)):
            timed = Timed(policy=policy)
            for place in range(100):
                timed.decide(_observation(trace, device, began, 1000 + place, hours, pause_w))
            times[f"{name}, {hours} h, pause {pause_w:.0f} W"] = {
                "mean": timed.total_s / timed.count,
                "longest": timed.max_s,
            }
    for name, each in times.items():
        print(f"{name}: {1e3 * each['mean']:.3f} ms, at most {1e3 * each['longest']:.3f} ms", flush=True)
    return times


def forecast_times(trace: Hours) -> dict[str, float]:
    """Return the longest CPU time of a forecast of four days from half a year: with the day's refit, and without."""
    spent: dict[str, list[float]] = {"with the refit of the day": [], "without": []}
    for day in range(_KEPT, _KEPT + 20):
        hour = trace.first + day * 24
        forecaster = Forecaster(Hours(first=hour - _KEPT * 24, values=trace.values[(day - _KEPT) * 24 : day * 24 + 2]))
        for label, place in (("with the refit of the day", hour), ("without", hour + 1)):
            began = time.thread_time()
            forecaster.at(place, 96)
            spent[label].append(time.thread_time() - began)
    longest = {label: max(each) for label, each in spent.items()}
    print("forecast", {label: f"{1e3 * value:.1f} ms" for label, value in longest.items()}, flush=True)
    return longest


def _observation(
    trace: Hours, device: DeviceTable, began: datetime, place: int, hours: int, pause_w: float
) -> Observation:
    forecast = Series(start_utc=began, step_s=3600.0, values=tuple(trace.values[place : place + hours]))
    return Observation(
        time_utc=began,
        devices=(device.state,),
        points=(device.points[0], device.points[2], device.points[-1]) if place % 2 else device.points,
        work_done=0.0,
        work_total=hours / 2,
        deadline_utc=began + timedelta(hours=hours),
        intensity_g_per_kwh=forecast.values[0],
        intensity_forecast=forecast,
        price_forecast=forecast,
        remaining_energy_j=1e8,
        pause_w=pause_w,
    )


if __name__ == "__main__":
    main()
