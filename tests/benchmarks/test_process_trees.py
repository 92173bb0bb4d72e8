"""A few random process trees: no counting method counts time twice, and the kernel's loses none."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SEEDS = (0, 4, 7, 11)
BUSY_MACHINE = 3.0  # sampling is late while other tests run


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location("process_trees", BENCHMARKS / "process_trees.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        spec.loader.exec_module(module)
    return module


def test_a_seed_always_draws_the_same_tree(program: ModuleType) -> None:
    trees = [program.tree(seed) for seed in range(50)]
    assert trees == [program.tree(seed) for seed in range(50)]
    assert len({str(tree) for tree in trees}) == 50
    for tree in trees:
        numbers = program.numbers(tree)
        assert len(numbers) % 9 == 0
        assert all(10_000 <= microseconds <= 10_000_000 for microseconds in numbers[::9])


@pytest.mark.parametrize("way", ["cgroup", "rusage", "proc"])
def test_counted_is_what_the_processes_report(program: ModuleType, tmp_path: Path, way: str) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (cc) to build the player with")
    places = dict(program.places(tmp_path))
    if way not in places:
        pytest.skip("no control group can be made here")
    program.compile_player(tmp_path)
    for seed in SEEDS:
        row = program.measured(seed, places[way])
        max_s = row["allowed_s"]
        least_s = max_s * (1.0 if way == "cgroup" else BUSY_MACHINE)
        assert -least_s <= row["counted_s"] - row["cpu_s"] <= max_s, row
