"""CPU time of random process trees by each counting method, compared with what every process reports.

    python benchmarks/process_trees.py [--trees 300] [--seed 0] [--jobs 2] [--kept FILE]

Each tree runs under `overwinter measure` once for each `energy.cpu_time` (`cgroup`, `rusage`, `proc`), by itself,
at one watt a busy thread, so that joules are CPU seconds. Trees are drawn by seed: up to 8 processes, without those
that double forks add, up to 4 deep, 10 ms to 10 s of CPU time, children waited for one by one, together or never,
double forks, ignored SIGCHLD, new sessions, chains of exec, two threads, fast forking and slow. Allowed are 5 % of
the tree's time or 20 ms a process, whichever is more. Writes benchmarks/results/process_trees.json; exits 1 where a
figure is missed. With `--kept`, trees are added to FILE as they come, and those that are in it are not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from common import write_result
from overwinter.energy.control_group import SHARED
from overwinter.energy.cpu_time import WAYS

PLAYER = Path(__file__).with_name("process_tree_player.c")
CONFIGS = Path(__file__).parents[1] / "configs"
MIN_S, MAX_S = 0.01, 10.0
MAX_PROCESSES, DEEPEST = 8, 4
LIMIT_SHARE, LIMIT_S = 0.05, 0.02
LIMIT_MEDIAN = 0.01

Node = dict[str, Any]


def main() -> None:
    """Draw the trees, run them by each way, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of the first tree; the next ones count up")
    parser.add_argument("--jobs", type=int, default=2, help="trees that run at once")
    parser.add_argument("--kept", type=Path, default=Path(os.devnull), help="file of trees that were run before")
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + arguments.trees)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        compile_player(Path(folder))
        runs, ways = Runs(arguments.kept), places(Path(folder))
        trees = list(pool.map(lambda seed: {way: runs.measured(seed, way, place) for way, place in ways}, seeds))
    found = {way: [tree[way] for tree in trees] for way, _ in ways}
    summaries = {way: summary(rows) for way, rows in found.items()}
    show(summaries)
    print(f"wrote {write_result('process_trees', {'ways': summaries, 'trees': found})}")
    sys.exit(not all(each["holds"] for each in summaries.values()))


class Runs:
    """Trees that were run, kept in a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        self._known: dict[tuple[str, int], dict[str, Any]] = {(row.pop("way"), row["seed"]): row for row in rows}

    def measured(self, seed: int, way: str, place: Path) -> dict[str, Any]:
        """Return both accounts of one tree, from the file if they are there."""
        if known := self._known.get((way, seed)):
            return known
        row = measured(seed, place)
        with self._path.open("a") as lines:
            lines.write(json.dumps({"way": way, **row}) + "\n")
        return row


def compile_player(folder: Path) -> None:
    """Compile the program that plays trees into ``folder``."""
    subprocess.run(["cc", "-O1", "-pthread", "-o", str(folder / "player"), str(PLAYER)], check=True)


def places(folder: Path) -> list[tuple[str, Path]]:
    """Make one project for each way that works here, whose joules are CPU seconds."""
    ways = [way for way in WAYS if way != "cgroup" or group_works()]
    return [(way, project(folder / way, way)) for way in ways]


def group_works() -> bool:
    """Return whether a control group can be created here."""
    group = SHARED.enter([])
    if group is not None:
        SHARED.leave()
    return group is not None


def project(folder: Path, way: str) -> Path:
    """Make a project that models one watt a busy thread, and nothing else."""
    groups = {"energy": loaded("energy/default"), "hardware": loaded("hardware/auto")}
    groups["energy"] |= {"sources": ["modelled"], "cpu_time": way}
    groups["hardware"] |= {"cpu_tdp_w": 1.0, "cpu_threads": 1, "cpu_idle_fraction": 0.0, "ram_w_per_gib": 0.0}
    (folder / ".dvc").mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(groups))
    return folder


def loaded(name: str) -> dict[str, Any]:
    """Read a group's file."""
    content: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    return content


def tree(seed: int) -> Node:
    """Draw a tree."""
    chance = random.Random(seed)  # noqa: S311 -- draws trees, no secrets
    max_s = log_uniform(chance, 10 * MIN_S, MAX_S)
    nodes = [node(chance, max_s) for _ in range(chance.randint(1, MAX_PROCESSES))]
    depths = [1]
    for place, each in enumerate(nodes[1:], start=1):
        parent = chance.choice([index for index in range(place) if depths[index] < DEEPEST])
        nodes[parent]["children"].append(each)
        depths.append(depths[parent] + 1)
    total_s = sum(each["burn_s"] for each in nodes)
    for each in nodes:
        each["burn_s"] = max(MIN_S, each["burn_s"] * min(1.0, MAX_S / total_s))
    return nodes[0]


def node(chance: random.Random, max_s: float) -> Node:
    """Draw one process."""
    return {
        "burn_s": log_uniform(chance, MIN_S, max_s),
        "children": [],
        "order": chance.choice(["serial", "parallel", "leave"]),
        "double": chance.random() < 0.2,
        "ignore": chance.random() < 0.25,
        "setsid": chance.random() < 0.1,
        "exec": chance.random() < 0.2,
        "pause_s": chance.choice([0.0, 0.0, log_uniform(chance, 0.001, 0.2)]),
        "threads": chance.choice([1, 1, 1, 2]),
    }


def numbers(node: Node) -> list[int]:
    """Put a tree as the player takes it."""
    own = [round(node["burn_s"] * 1e6), ("serial", "parallel", "leave").index(node["order"])]
    own += [int(node[name]) for name in ("double", "ignore", "setsid", "exec")]
    own += [round(node["pause_s"] * 1e6), node["threads"], len(node["children"])]
    return own + [number for child in node["children"] for number in numbers(child)]


def log_uniform(chance: random.Random, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return math.exp(chance.uniform(math.log(low), math.log(high)))


def measured(seed: int, place: Path) -> dict[str, Any]:
    """Run one tree under `overwinter measure`; return both accounts of it."""
    report = place / f"{seed}.json"
    command = [str(place.parent / "player"), " ".join(map(str, numbers(tree(seed))))]
    measure = [sys.executable, "-m", "overwinter.cli", "measure", "--output", str(report), "--", *command]
    done = subprocess.run(measure, cwd=place, capture_output=True, text=True, check=True)
    output = json.loads(done.stdout)
    components = json.loads(report.read_text())["components"]
    counted_s = sum(part["energy_j"] for part in components if part["device"] == "cpu")
    allowed_s = max(LIMIT_SHARE * output["cpu_s"], LIMIT_S * output["processes"])
    return {"seed": seed, **output, "counted_s": counted_s, "allowed_s": allowed_s}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors over the trees, and the worst tree by what was allowed."""
    errors = [abs(row["counted_s"] - row["cpu_s"]) for row in rows]
    shares = [error / row["cpu_s"] for error, row in zip(errors, rows, strict=True)]
    used = [error / row["allowed_s"] for error, row in zip(errors, rows, strict=True)]
    worst = max(range(len(rows)), key=used.__getitem__)
    return {
        "trees": len(rows),
        "median_share": statistics.median(shares),
        "worst_share": max(shares),
        "worst_share_of_allowed": used[worst],
        "worst_tree": rows[worst],
        "sum_share": sum(row["counted_s"] for row in rows) / sum(row["cpu_s"] for row in rows) - 1,
        "holds": statistics.median(shares) <= LIMIT_MEDIAN and used[worst] <= 1,
    }


def show(summaries: dict[str, dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(title="CPU time counted against what every process reports of itself")
    for heading in ("way", "trees", "median", "worst", "worst of what is allowed", "its seed", "sum of all", "holds"):
        table.add_column(heading)
    for way, each in summaries.items():
        table.add_row(
            way,
            str(each["trees"]),
            f"{each['median_share']:.2%}",
            f"{each['worst_share']:.1%}",
            f"{each['worst_share_of_allowed']:.0%}",
            str(each["worst_tree"]["seed"]),
            f"{each['sum_share']:+.2%}",
            "yes" if each["holds"] else "NO",
        )
    Console().print(table)
    print(f"allowed: median {LIMIT_MEDIAN:.0%}; each tree {LIMIT_SHARE:.0%} or {LIMIT_S * 1000:g} ms a process")


if __name__ == "__main__":
    main()
