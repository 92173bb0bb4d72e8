"""A run's part of the machine's CPU time, since the previous call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from overwinter.energy import proc
from overwinter.energy.cpu_share import CpuShare

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Tree:
    """CPU seconds as a test sets them."""

    cpu_s = 0.0

    def quick_cpu_s(self) -> float:
        return self.cpu_s


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A share on a machine whose /proc/stat a test writes."""
    monkeypatch.setattr(proc, "_PROC", str(tmp_path))
    share = CpuShare(Tree(), idle_fraction=0.3)  # type: ignore[arg-type]
    share.stat = tmp_path / "stat"  # type: ignore[attr-defined]
    return share


def test_the_use_since_the_previous_call(share: Any) -> None:
    share.stat.write_text("cpu 100 0 50 9999 99 1 2 3 0 0\ncpu0 1\n")
    share._tree.cpu_s = 7.0
    share.begin()
    share.stat.write_text("cpu 150 10 70 10089 109 6 17 3000 0 0\ncpu0 1\n")
    share._tree.cpu_s += 80 * TICK_S
    use = share.use()
    assert use.busy == pytest.approx(100 / 200)
    assert use.own == pytest.approx(80 / 200)
    assert share.use().own == 0.0


@pytest.mark.parametrize("content", ["", "cpu 1 2 3\n", "cpu a b c d e f g\n", "cpu0 1 2 3 4 5 6 7\n"])
def test_what_is_not_reported_is_not_known(share: Any, content: str) -> None:
    share.stat.write_text(content)
    share.begin()
    assert share.use() is None
    assert "/proc/stat" in share.trouble


def test_this_machine_tells() -> None:
    times = proc.cpu_times()
    assert times is not None
    assert times.busy_s > 0
    assert times.idle_s >= 0
