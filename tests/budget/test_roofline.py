"""Costs modelled from public figures: wide, in order, and unknown where nothing is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from overwinter.budget import Forecast, Range
from overwinter.budget.roofline import Peak, modelled, peak_of
from overwinter.config.groups.energy import HardwareConfig

HARDWARE = Path(__file__).parents[2] / "configs" / "hardware"
TIME = Range(low=90.0, expected=100.0, high=110.0)
KNOWN = Forecast(stage="train", basis="exact", energy_j=TIME.scaled(5), duration_s=TIME)


def option(name):
    files = [OmegaConf.load(HARDWARE / f"{each}.yaml") for each in dict.fromkeys(("auto", name))]
    for each in files:
        each.pop("defaults", None)
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(HardwareConfig), *files))


def peak(name, threads=1):
    return peak_of(option(name), threads=threads, thread_w=4.0)


def test_every_named_accelerator_has_its_figures():
    named = [each for each in (option(path.stem) for path in HARDWARE.glob("*.yaml")) if each.accelerator.name]
    assert len(named) >= 8
    for each in named:
        board = each.accelerator
        assert None not in (board.tdp_w, board.peak_tflops, board.memory_gb, board.memory_gb_per_s, board.figures_from)


def test_from_a_cpu_to_a_gpu_the_speed_up_may_be_anything_from_none():
    found = modelled(KNOWN, peak("auto"), peak("l4"), intensity_g_per_kwh=360.0)
    assert found.basis == "modelled"
    assert found.duration_s is not None
    assert found.duration_s.high == TIME.high
    assert found.duration_s.low == pytest.approx(TIME.low / (121 / 0.05))
    assert found.energy_j is not None
    assert found.energy_j.high == pytest.approx(TIME.high * (72 + 5))  # the board at its design power, and its host
    assert found.carbon_g is not None
    assert found.carbon_g.high == pytest.approx(found.energy_j.high * 1e-4)


def test_a_slower_gpu_is_not_expected_to_be_faster():
    found = modelled(KNOWN, peak("h100"), peak("l4"), intensity_g_per_kwh=None)
    assert found.duration_s is not None
    assert found.duration_s.low == TIME.low
    assert found.duration_s.expected > TIME.expected
    assert found.carbon_g is None


def test_the_same_hardware_takes_the_same_time():
    found = modelled(KNOWN, peak("h100"), peak("h100"), intensity_g_per_kwh=None)
    assert found.duration_s == TIME


def test_more_threads_of_a_cpu_do_and_draw_more():
    assert peak("auto", 4) == Peak(
        tflops=0.2, memory_gb_per_s=40.0, low_w=pytest.approx(4.8), high_w=16.0, accelerator=False
    )


def test_what_is_unknown_here_is_unknown_there():
    unknown = Forecast(stage="train", basis="unknown")
    assert modelled(unknown, peak("auto"), peak("h100"), intensity_g_per_kwh=1.0).basis == "unknown"
