"""The model of CPU and RAM: proportional to use, never negative, sums add up."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.energy import open_meter
from overwinter.energy.modelled import CpuModel, RamModel, open_modelled


class Tree:
    """A process tree whose CPU time and memory a test sets."""

    def __init__(self) -> None:
        self.cpu_s, self.gib = 5.0, 1.0

    def begin(self) -> float:
        return self.cpu_s

    def walk(self) -> float:
        return self.cpu_s

    def quick_cpu_s(self) -> float:
        return self.cpu_s

    def memory_gib(self) -> float:
        return self.gib


def cpu_model(tree: Any, **more: Any) -> CpuModel:
    return CpuModel(tree, thread_w=10.0, idle_fraction=0.3, threads=4, relative_uncertainty=0.4, **more)


def test_idle_is_the_share_of_the_machine_and_use_comes_on_top() -> None:
    tree = Tree()
    model = cpu_model(tree)
    model.start(100.0)
    assert model.advance(110.0, edge=True).energy_uj == 120_000_000  # 4 threads x 3 W x 10 s
    tree.cpu_s += 10.0
    assert model.advance(120.0, edge=True).energy_uj == 190_000_000  # and one busy thread x 7 W x 10 s


def test_a_machine_busy_on_all_threads_draws_its_design_power() -> None:
    tree = Tree()
    model = cpu_model(tree)
    model.start(0.0)
    tree.cpu_s += 4 * 60
    assert model.advance(60.0, edge=True).energy_uj == pytest.approx(40.0 * 60 * 1e6)


def test_since_process_start_counts_what_was_before() -> None:
    tree = Tree()
    model = cpu_model(tree, head_s=2.0)
    model.start(100.0)
    assert model.advance(100.0, edge=True).energy_uj == pytest.approx((5.0 * 7 + 2.0 * 12) * 1e6)


@given(steps=st.lists(st.tuples(st.floats(0, 50), st.floats(0, 200), st.booleans()), max_size=40))
def test_increments_are_never_negative_and_add_up(steps: list[tuple[float, float, bool]]) -> None:
    tree = Tree()
    model, now_s, total_uj, busy_s = cpu_model(tree), 0.0, 0, 0.0
    model.start(0.0)
    for elapsed_s, cpu_s, edge in steps:
        now_s += elapsed_s
        busy_s += cpu_s
        tree.cpu_s += cpu_s
        increment = model.advance(now_s, edge=edge)
        assert increment.energy_uj >= 0
        total_uj += increment.energy_uj
        assert (model.power_w() or 0.0) >= 0
    assert total_uj == pytest.approx((busy_s * 7 + now_s * 12) * 1e6, abs=2)


def test_memory_in_use_draws_by_the_gib() -> None:
    tree = Tree()
    model = RamModel(tree, w_per_gib=0.375, relative_uncertainty=0.4)  # type: ignore[arg-type]
    model.start(0.0)
    assert model.advance(100.0, edge=True).energy_uj == 37_500_000
    tree.gib = 3.0
    assert model.advance(200.0, edge=True).energy_uj == 75_000_000  # the mean of both looks


def test_only_what_no_counter_covers_is_modelled(opening: Any) -> None:
    opening.covered = {"cpu", "gpu"}
    assert [channel.device for channel in open_modelled(opening)] == ["ram"]
    opening.covered = {"cpu", "ram"}
    assert open_modelled(opening) == []


def test_child_processes_count(energy_config: Any, hardware_config: Any) -> None:
    energy_config.sources = ["modelled"]
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    with open_meter(energy_config, hardware_config, own_process=False) as meter:
        quiet = meter.window("quiet")
        time.sleep(0.2)
        quiet.close()
        busy = meter.window("busy")
        subprocess.run([sys.executable, "-S", "-c", burn], check=True)
        busy.close()
    above_quiet_j, above_busy_j = quiet.close().above_idle_j, busy.close().above_idle_j
    assert above_quiet_j == pytest.approx(0, abs=0.2)
    assert above_busy_j == pytest.approx(0.5 * 7, rel=0.25)  # 7 W above idle for half a CPU second
    assert busy.close().measured_fraction == 0
    assert busy.close().uncertainty_j == pytest.approx(0.4 * busy.close().energy_j, rel=0.1)


def test_the_root_of_several_ranks_is_their_launcher(energy_config: Any, hardware_config: Any, tmp_path: Any) -> None:
    """Two ranks under one launcher: rank 0's meter sees the CPU time of both."""
    rank = tmp_path / "rank.py"
    rank.write_text(
        "import json, os, sys, time\n"
        "from pathlib import Path\n"
        "from types import SimpleNamespace\n"
        "from overwinter.energy import open_meter\n"
        "from overwinter.records import to_json\n"
        "energy, hardware = (SimpleNamespace(**group) for group in json.loads(sys.argv[1]))\n"
        "with open_meter(energy, hardware) as meter:\n"
        "    me, other = os.environ['LOCAL_RANK'], '10'[int(os.environ['LOCAL_RANK'])]\n"
        "    Path(f'metering.{me}').touch()\n"
        "    while not Path(f'metering.{other}').exists(): time.sleep(0.02)\n"
        "    begun_s = time.process_time()\n"
        "    while me == '1' and time.process_time() < begun_s + 1.0: pass\n"
        "    Path(f'done.{me}').touch()\n"
        "    while not Path(f'done.{other}').exists(): time.sleep(0.02)\n"
        "print(json.dumps(to_json(meter.read())), flush=True)\n"
        "sys.stdin.read()\n"
    )
    launcher = tmp_path / "launcher.py"
    launcher.write_text(
        "import os, subprocess, sys\n"
        "ranks = [subprocess.Popen([sys.executable, sys.argv[1], sys.argv[2]], stdin=subprocess.PIPE,\n"
        "         env={**os.environ, 'LOCAL_RANK': str(n), 'LOCAL_WORLD_SIZE': '2'}) for n in range(2)]\n"
        "[rank.communicate() for rank in ranks]\n"
    )
    import json

    energy_config.sources = ["modelled"]
    groups = json.dumps([vars(energy_config), vars(hardware_config)])
    done = subprocess.run(
        [sys.executable, str(launcher), str(rank), groups], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    counted = [report for report in reports if report["components"]]
    assert len(counted) == 1
    assert counted[0]["above_idle_j"] > 5.0  # the other rank's second of CPU at 7 W
