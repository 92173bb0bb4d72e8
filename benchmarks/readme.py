"""Write the figures of benchmarks/results/ into the README and docs/figures.md, between markers; a test compares them.

python benchmarks/readme.py
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from figure_rows import Row, has_result, result
from figure_rows_distributed import distributed_rows, kill_rows
from figure_rows_fashion import fashion_rows, sparse_fashion_rows
from figure_rows_first_hour import first_hour_rows
from figure_rows_language import language_rows
from overwinter.files import write_text
from overwinter.report import StageSummary, render_summary

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "figures.md")

_PAYS = 0.995  # of dense's; above, it is shown as no saving


def closing_table() -> str:
    """Return the default case's closing table as Markdown."""
    rows = [StageSummary(**row) for row in result("overhead")["table"]]
    console = Console(file=io.StringIO(), record=True, width=110)
    console.print(render_summary(rows))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    return "```\n" + "\n".join(line for line in lines if line) + "\n```\n"


def payoff() -> str:
    """Return one Markdown table: what compression costs in quality and saves per response, case by case."""
    head = "| case | quality, dense -> compressed | batch 1 | batch 32 |\n|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in _payoff_rows())


def _payoff_rows() -> Iterator[tuple[str, str, str, str]]:
    digits, clothes = result("overhead")["case"], result("fashion")
    ratios = [
        cpu["chosen_cpu_s_per_response"] / cpu["dense_best_cpu_s_per_response"] for cpu in digits["batch"].values()
    ]
    yield "digits, convolutions: half of the weights, int8", _accuracies(digits), *_over_dense(ratios)
    ratios = [cost["ratio_to_dense_at_its_best"] for cost in clothes["cost"].values()]
    yield "Fashion-MNIST, convolutions: pruned, int8", _accuracies(clothes), *_over_dense(ratios)
    for case, found in result("cases")["cases"].items():
        rows = found["int8"].values()
        (first, *_) = rows
        quality = f"{found['headline']} {first['quality_dense']:.3f} -> {first['quality_int8']:.3f}"
        yield f"{case}: int8", quality, *_over_dense([row["joules_ratio"] for row in rows])
    text = result("text")
    best = text["best"]
    dense = text["rows"][best["1"]["dense"]]["accuracy"]
    lost = best["1"]["lost_points"][best["1"]["int8"]]
    quality = f"accuracy {dense:.2%} -> {dense - lost / 100:.2%}"
    yield "texts of 128 tokens, MiniLM: int8", quality, *_over_dense([row["ratio"] for row in best.values()])


def _accuracies(case: Mapping[str, Any]) -> str:
    return f"accuracy {case['accuracy_dense']:.2%} -> {case['accuracy_chosen']:.2%}"


def _over_dense(ratios: Iterable[float]) -> tuple[str, str]:
    one, many = (f"{ratio:.2f}" if ratio < _PAYS else f"{ratio:.2f}: does not pay" for ratio in ratios)
    return one, many


def figures() -> str:
    """Return one Markdown table of figures per topic that was measured: quantity, measured value, target."""
    tables = {topic: list(rows()) for topic, rows in _TOPICS.items()}
    return "\n".join(_table(topic, rows) for topic, rows in tables.items() if rows)


def _table(topic: str, rows: Iterable[Row]) -> str:
    lines = [f"| {what} | {value} | {target} |\n" for what, value, target in rows]
    return f"| {topic} | measured | target |\n|---|---|---|\n" + "".join(lines)


def _pipeline_rows() -> Iterator[Row]:
    overhead = result("overhead")
    seconds, case = overhead["medians"], overhead["case"]
    yield "default case, clean workspace", f"{seconds['pipeline_s']:.0f} s", "90 s"
    yield "overhead over one bare process", f"{seconds['above_bare_s']:.0f} s", "20 s"
    yield "test accuracy, dense", f"{case['accuracy_dense']:.2%}", "97.5 %"
    lost = 100 * (case["accuracy_dense"] - case["accuracy_chosen"])
    yield "points lost by both compressions", f"{lost:.2f}", "1"
    yield "size on disk, times smaller", f"{case['times_smaller']:.1f}", "4"
    for size, cpu in case["batch"].items():
        ratio = cpu["chosen_cpu_s_per_response"] / cpu["dense_best_cpu_s_per_response"]
        yield f"CPU time per response over dense at its best runtime, batch {size}", f"{ratio:.2f}", "below 1"
    for name, row in result("startup")["commands"].items():
        yield f"{name}", f"{row['median_s']:.2f} s", f"{row['limit_s']:g} s"


def _energy_rows() -> Iterator[Row]:
    metering = result("metering")
    ours, theirs = (metering["sampling"][name]["cpu_share"] for name in ("overwinter", "codecarbon"))
    yield "metering at 10 Hz, CPU time over wall time", f"{ours:.2%} (CodeCarbon {theirs:.2%})", "0.5 %"
    added_s = metering["measure_command"]["added_wall_s_median"]
    yield "time added by `overwinter measure`", f"{added_s:.2f} s", "0.2 s"
    for method, trees in result("process_trees")["ways"].items():
        what = (
            f"CPU time of {trees['trees']} random process trees by `{method}`: median error, worst share of the limit"
        )
        yield what, f"{trees['median_share']:.2%}, {trees['worst_share_of_allowed']:.0%}", "1 %, 100 %"
    kill = result("kill")
    what = f"`kill -9` at {kill['kills']} random moments: stages whose ledger is within 1 s of power"
    yield what, f"{kill['within_1_s']} of {kill['killed_stages']}", "all"


def _power_rows() -> Iterator[Row]:
    policies, guard = result("power_policies"), result("power_guard")
    for slack, target in (("1.1", "0.995"), ("1.25", "0.99"), ("1.5", "0.968"), ("2.0", "0.945")):
        share = _carbon_share(policies, slack=float(slack), pause_w=0.0)
        yield f"carbon_aware, share of the optimum's saving at slack {slack} (simulated)", share, target
    share = _carbon_share(policies, slack=2.0, pause_w=25.0)
    yield "the same at slack 2.0 with paid pauses (simulated)", share, "0.947"
    yield from _searching_rows()
    yield "control loop, CPU time over wall time", f"{guard['loop']['cpu_share']:.3%}", "0.2 %"
    kills = guard["kills"]
    value = f"{kills['restored_in_time']} of {kills['tries']}, slowest {1000 * kills['slowest_s']:.0f} ms"
    yield "limit restored after `kill -9` (stand-in driver)", value, "all, 2 s"


def _searching_rows() -> Iterator[Row]:
    searching = result("power_searching")
    targets, noises = searching["targets"], " / ".join(f"{100 * noise:g} %" for noise in searching["noises"])
    what = f"energy_optimal, joules of a job over the minimum at noise {noises} (simulated)"
    yield f"{what}, mean of devices", _ratios(searching["mean_of_devices"]), _ratios(targets["mean"])
    target = f"{_ratios(targets['device'])}; {targets['worst_workload_without_noise']}"
    for device, row in searching["leave_one_device_out"].items():
        ratios, worst = [each["mean_ratio"] for each in row["by_noise"]], row["by_noise"][0]["worst_ratio"]
        label = f"the same on {device.upper()}, constants chosen on the others; worst workload without noise"
        yield label, f"{_ratios(ratios)}; {worst:.3f}", target


def _ratios(ratios: Iterable[float]) -> str:
    return " / ".join(f"{ratio:.4f}".rstrip("0") for ratio in ratios)


def _carbon_share(policies: dict[str, Any], *, slack: float, pause_w: float) -> str:
    wanted = {"knowledge": "own_past", "device": "v100", "slack": slack, "pause_w": pause_w}
    (row,) = (row for row in policies["carbon_aware"] if wanted.items() <= row.items())
    return f"{row['mean_share']:.3f} ± {row['mean_share_error']:.3f}"


def _compression_rows() -> Iterator[Row]:
    yield from fashion_rows()
    yield from language_rows()
    yield from _case_rows()
    yield from _text_rows()
    yield from _adapter_rows()
    target = result("runtimes")["asked_ratio"]
    for size, best in result("runtimes")["best"].items():
        what = f"residual MLP 768 wide, CPU time per response over eager fp32, batch {size}"
        yield f"{what} ({best['chosen']})", f"{best['ratio_to_eager']:.2f}", f"{target[size]}"
        what = f"the same over dense on its best runtime ({best['dense_at_its_best']})"
        yield what, f"{best['ratio_to_dense_at_its_best']:.2f}", "below 1"
        yield f"the same over the best peer ({best['peer']})", f"{best['ratio_to_peer']:.2f}", "1.05"
    choosing = result("choosing")
    yield "same choice as a longer run", f"{choosing['right']} of {choosing['of']}", "all"
    near = result("choosing_near_ties")
    yield "the same where dense and int8 cost nearly the same", f"{near['right']} of {near['of']}", "all"


def _sparsity_rows() -> Iterator[Row]:
    storage = result("sparse_storage")
    ratios = {row["dtype"]: f"{row['size_ratio']:.2f}" for row in storage["rows"] if row["density"] == 0.2}
    yield f"80 % zeros, bytes over dense's: {', '.join(ratios)}", ", ".join(ratios.values()), ""
    for row in storage["rows"]:
        what = f"unpacked, GB/s of dense bytes a core: {row['dtype']}, {1 - row['density']:.0%} zeros"
        yield what, f"{row['unpacked_gb_per_s']:.2f}", f"{storage['asked_gb_per_s']}"
    yield from sparse_fashion_rows()


def _case_rows() -> Iterator[Row]:
    found = result("cases")
    for case, figures_of_case in found["cases"].items():
        rows = figures_of_case["int8"]
        deciding = rows[str(figures_of_case["deciding_batch_size"])]
        quality = f"{deciding['quality_dense']:.3f}, {deciding['quality_int8']:.3f}"
        yield f"pipelines/{case}: {figures_of_case['headline']} of dense, of int8", quality, ""
        yield (
            f"pipelines/{case}: lost by int8, of dense's",
            f"{deciding['loss_share']:.2%}",
            f"{found['allowed_loss']:.0%}",
        )
        sizes = ", ".join(rows)
        ratios = ", ".join(f"{row['joules_ratio']:.2f}" for row in rows.values())
        yield f"pipelines/{case}: joules per response over dense at its best, batch {sizes}", ratios, "below 1"


def _text_rows() -> Iterator[Row]:
    found = result("text")
    for size, best in found["best"].items():
        what = f"MiniLM at 128 tokens, CPU time per response of {best['int8']} over {best['dense']}, batch {size}"
        yield what, f"{best['ratio']:.2f}", f"{found['asked_ratio']}"
        name, (low, high) = best["int8"], found["rows"][best["int8"]]["lost_points_interval"]
        what = f"the same, points of accuracy lost of {100 * found['rows'][best['dense']]['accuracy']:.1f}"
        yield what, f"{best['lost_points'][name]:+.2f} ({low:+.2f} to {high:+.2f})", f"{found['asked_points']:g}"


def _adapter_rows() -> Iterator[Row]:
    if not has_result("training_lora"):
        return
    found = result("training_lora")
    whole, adapted = found["accuracy_test"].values()
    what = (
        f"MiniLM fine-tuned by adapters (LoRA), CPU time over all weights' for as many steps, seeds: {found['seeds']}"
    )
    yield what, f"{found['ratios']['cpu_s']:.2f}", "below 1"
    yield "the same: test accuracy by adapters; by all weights", f"{adapted:.1%}; {whole:.1%}", "no less"


def _hibernation_rows() -> Iterator[Row]:
    idle, first = result("server_idle"), result("server_wake")["first_response"]
    yield "supervisor, all models asleep: resident memory", f"{idle['resident_bytes'] / 1e6:.0f} MB", "40 MB"
    share = f"{idle['core_share']:.4%} over {idle['idle_s'] / 60:.0f} min"
    yield "supervisor, all models asleep: share of a core", share, "0.1 % over 10 min"
    ratio = first["ratio_off_to_bare"]["p50"]
    yield "first correct response from off, over a bare ONNX Runtime script", f"{ratio:.2f}", "1.25"
    for level, target in (("preforked", "80 ms"), ("parked", "30 ms")):
        p50, p95 = (1000 * first[level][key] for key in ("p50_s", "p95_s"))
        yield f"first correct response from {level}, p50 / p95", f"{p50:.0f} / {p95:.0f} ms", target
    load = result("server_load")
    ends = sum(load["disturbances"].values())
    what = f"{load['requests']:,} requests from {load['clients']} clients, worker put to sleep or killed {ends} times"
    yield what, ", ".join(f"{count:,} {kind}" for kind, count in load["outcomes"].items()), "right, or a clear 503"
    crypto, mutations = result("bundle_crypto"), result("bundle_mutations")
    yield "encrypted bundle, read and verified", f"{crypto['read']['2']['median_gb_per_s']:.2f} GB/s", "1.5 GB/s"
    yield "mutated bundles refused", f"{sum(mutations['refused'].values()):,} of {mutations['count']:,}", "all"
    saving = result("hibernation_saving")
    row = saving["every_level"]
    uncertainties_j = (row["claimed_uncertainty_j"], saving["observed_uncertainty_j"])
    what = f"joules saved in {row['duration_s'] / 60:.0f} min (modelled): claimed by the server; measured from outside"
    claimed, observed = (
        f"{row[key]:.1f} ± {uncertainty_j:.1f} J" for key, uncertainty_j in zip(_SAVINGS, uncertainties_j, strict=True)
    )
    yield what, f"{claimed}; {observed} ({row['share_of_never_asleep']:.0%})", "within the uncertainty"
    sleep = result("hibernation_policies")["summary_by_seed"]["0"]
    worst, mean = sleep["worst"]["break_even"], sleep["mean"]["learned"]
    yield "break_even, joules over the optimum, worst (simulated)", f"{worst:.3f}", "1.17"
    yield "learned, joules over the optimum, mean (simulated)", f"{mean:.3f}", "1.03"


_SAVINGS = ("claimed_j", "observed_saving_j")
_SEARCHES = {"gp": "gp", "TPE": "tpe", "NSGA-II": "nsga2", "random": "random_40"}


def _sweep_rows() -> Iterator[Row]:
    yield from _shared_stages()
    search = result("search")
    trials, drawn = search["trials"], search["random_points"]
    for row in search["comparisons"]:
        found = "; ".join(f"{name} {row[method]['median']:.3f}" for name, method in _SEARCHES.items())
        names = ", ".join(row["objectives"])
        what = f"{trials} trials on a grid of 240 measured points, share of the hypervolume of {names}"
        yield f"{what} (median)", found, f"{row[f'random_{drawn}']['median']:.3f}, of {drawn} random points"
    yield from _slurm_rows()


def _slurm_rows() -> Iterator[Row]:
    """Yield the rows of those parts that were measured: all of them take a machine with Slurm a quarter of an hour."""
    slurm = result("slurm") if has_result("slurm") else {}
    if shared := slurm.get("sharing"):
        what = "12 points on a Slurm of one node: trainings, sparsifications and quantizations executed"
        yield what, _counts(shared), "2; 6; 12"
    if killed := slurm.get("kills"):
        yield from kill_rows(killed, _counts(killed))
    if limited := slurm.get("timeout"):
        what = "a training longer than its time limit: finished executions, seconds kept from those before"
        yield what, f"{_counts(limited)}; {limited['resumed_duration_s']:.0f} s", "1"
    if submitted := slurm.get("submission"):
        what = f"1,000 points submitted as {submitted['jobs']} jobs in {submitted['submissions']} arrays"
        load = f"{submitted['wall_s']:.0f} s at a load of {submitted['load_average_1_min']:.0f}"
        yield what, f"{load}; {submitted['cpu_s']:.0f} s of processor time", "60 s"


def _counts(part: Mapping[str, Any]) -> str:
    return "; ".join(str(count) for count in part["executions"].values())


def _shared_stages() -> Iterator[Row]:
    sweep = result("sweep")
    what = "24 points: trainings, sparsifications, quantizations and evaluations executed, one after the other"
    counts = {part: "; ".join(str(count) for count in sweep[part]["executions"].values()) for part in _SWEEPS}
    yield what, counts["serial"], "2; 6; 24; 24"
    for part, how in _SWEEPS.items():
        if part != "serial":
            yield f"the same, {how}", counts[part], "" if part == "queue" else "2; 6; 24; 24"
    serial = sweep["serial"]
    yield "wall time over the stages' own, one after the other", f"{serial['wall_over_stages']:.2f}", "1.15"
    yield "time per point beside its stages", f"{serial['overhead_per_point_s']:.1f} s", "3 s"


def _hardware_rows() -> Iterator[Row]:
    hardware = result("hardware")
    for figure, name in (("energy_j", "joules (modelled)"), ("duration_s", "seconds")):
        found, guess = hardware["figures"][figure]["judged"], "median_error_of_the_other_machines_cost"
        runs = f"{hardware['sessions']} x {len(set(found['pipelines']))} pipelines"
        what = f"{name} of {runs} on a machine of half the speed, both busy, from a merged ledger"
        value = f"{found['median_error']:.1%}, {found['worst_error']:.1%} (the fast machine's cost: {found[guess]:.1%})"
        yield f"{what}: median, worst error", value, "stated"
        yield "the same: pipelines within the forecast's range", f"{found['covered']:.0%}", ""


_SWEEPS = {
    "serial": "",
    "workers": "two workers",
    "kills": "killed 20 times at random moments",
    "queue": "by `dvc exp run --queue` with two workers",
}
_TOPICS: dict[str, Callable[[], Iterator[Row]]] = {
    "the pipeline": _pipeline_rows,
    "first hour": first_hour_rows,
    "energy": _energy_rows,
    "power": _power_rows,
    "compression": _compression_rows,
    "sparsity": _sparsity_rows,
    "hibernation": _hibernation_rows,
    "sweeps": _sweep_rows,
    "hardware": _hardware_rows,
    "several devices": distributed_rows,
}


def filled(text: str) -> str:
    """Return a page with its blocks replaced."""
    for marker, block in (("table", closing_table()), ("payoff", payoff()), ("figures", figures())):
        between = rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)"
        text = re.sub(between, lambda found, block=block: found[1] + block + found[2], text, flags=re.DOTALL)
    return text


def main() -> None:
    """Update the pages."""
    for page in PAGES:
        write_text(page, filled(page.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
