"""A run's share of a GPU, from NVML's samples by process: the real pynvml on the stand-in library."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from overwinter.energy import open_meter
from overwinter.energy.gpu_share import GpuShare

UUID = "GPU-0aaa-bbbb"
NOW_S = 1_000_000.0


@pytest.fixture
def share(nvml: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The share of the processes 100 and 101 in the first GPU, where process ids are the host's."""
    import pynvml

    pynvml.nvmlInit()
    monkeypatch.setattr("overwinter.energy.gpu_share._sees_host_ids", lambda: True)
    share = GpuShare(UUID, lambda: {100, 101}, clock=lambda: NOW_S)
    share.uses = nvml.devices[0].uses  # type: ignore[attr-defined]
    share.device = nvml.devices[0]  # type: ignore[attr-defined]
    return share


def sample(slot: Any, pid: int, sm: int, *, age_s: float = 0.5, now_s: float = NOW_S) -> None:
    slot.pid, slot.sm, slot.time_us = pid, sm, round((now_s - age_s) * 1e6)


def test_ours_over_all(share: Any) -> None:
    sample(share.uses[0], 100, 30)
    sample(share.uses[1], 101, 10)
    sample(share.uses[2], 999, 20)
    share.begin()
    use = share.use()
    assert (use.own, use.busy) == pytest.approx((0.4, 0.6))
    assert share.trouble == ""


def test_processes_that_run_side_by_side_use_no_more_than_all(share: Any) -> None:
    sample(share.uses[0], 100, 100)
    sample(share.uses[1], 999, 100)
    use = share.use()
    assert (use.own, use.busy) == pytest.approx((0.5, 1.0))


def test_old_samples_are_over_and_the_latest_of_a_process_counts(share: Any) -> None:
    sample(share.uses[0], 999, 90, age_s=3.0)
    sample(share.uses[1], 100, 50, age_s=0.2)
    sample(share.uses[2], 100, 80, age_s=1.2)
    use = share.use()
    assert (use.own, use.busy) == pytest.approx((0.5, 0.5))


def test_a_gpu_that_no_one_uses_is_idle(share: Any) -> None:
    use = share.use()
    assert (use.own, use.busy) == (0.0, 0.0)


def test_a_driver_that_does_not_tell(share: Any) -> None:
    share.device.use_rc = 3
    assert share.use() is None
    assert "does not report its processes" in share.trouble
    share.device.use_rc = 0
    assert share.use() is not None
    assert share.trouble == ""


@pytest.mark.parametrize(("link", "known"), [("pid:[4026531836]", True), ("pid:[4026532201]", False), (None, False)])
def test_process_ids_of_a_container_are_not_the_host_s(
    nvml: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str | None, known: bool
) -> None:
    import pynvml

    pynvml.nvmlInit()
    if link:
        (tmp_path / "pid").symlink_to(link)
    monkeypatch.setattr("overwinter.energy.gpu_share._OWN_IDS", tmp_path / "pid")
    share = GpuShare(UUID, lambda: {100}, clock=lambda: NOW_S)
    sample(nvml.devices[0].uses[0], 100, 50)
    assert (share.use() is not None) is known
    assert (share.trouble == "") is known


def test_a_run_takes_its_part_of_a_gpu(
    nvml: Any, energy_config: Any, hardware_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An opened meter, while another process reads the first of two GPUs."""
    monkeypatch.setattr("overwinter.energy.gpu_share._sees_host_ids", lambda: True)
    monkeypatch.setattr("overwinter.energy.neighbours.Neighbours.look", lambda self: {UUID: frozenset({999})})
    gpu, other = nvml.devices[0], nvml.devices[1]
    sample(gpu.uses[0], os.getpid(), 60, now_s=time.time())
    sample(gpu.uses[1], 999, 20, now_s=time.time())
    energy_config.sources = ["nvml"]
    with open_meter(energy_config, hardware_config) as meter, meter.window("work") as window:
        gpu.energy_mj += 100_000
        other.energy_mj += 100_000
    report = window.close()
    reported = {(part.device, part.source): part for part in report.components if part.energy_j}
    part_j = 100 * (0.15 / 2 + 0.85 * 0.6) / (0.15 + 0.85 * 0.8)
    assert {name: part.energy_j for name, part in reported.items()} == pytest.approx(
        {("gpu:0", "modelled"): part_j, ("gpu:1", "nvml-counter"): 100.0}
    )
    assert reported["gpu:0", "modelled"].uncertainty_j == pytest.approx(hardware_config.relative_uncertainty * part_j)
    assert report.measured_fraction == pytest.approx(100 / (100 + part_j))
    assert any(
        text.startswith("gpu:0: process 999") and "divided by the processes' GPU utilisation" in text
        for text in report.warnings
    )
    assert not any(text.startswith("gpu:1") for text in report.warnings)
