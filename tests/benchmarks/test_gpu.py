"""The benchmark for a real GPU, on the stand-in driver: sections without CUDA run, and a failing one stops no other."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch


def stand_in():
    spec = importlib.util.spec_from_file_location("stand_in_nvml", Path(__file__).parents[1] / "stand_in" / "nvml.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def program(load_benchmark, monkeypatch, tmp_path):
    loaded = load_benchmark("gpu")
    monkeypatch.setattr(loaded.common, "RESULTS", tmp_path)
    monkeypatch.setattr(loaded, "IDLE_S", 0.5)
    return loaded


@pytest.fixture
def driver(tmp_path, monkeypatch):
    if stand_in().compiler() is None:
        pytest.skip("needs a C compiler for the stand-in driver")
    machine = stand_in().StandIn(tmp_path, count=2)
    machine.enter(monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return machine


def run(program, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["gpu.py", *words])
    return program.main()


def written(program):
    return json.loads((program.common.RESULTS / "gpu.json").read_text())


def test_without_a_gpu_it_says_so_and_writes_nothing(program, monkeypatch, capsys):
    monkeypatch.setattr(program, "nvml_status", lambda: (False, "no NVIDIA driver", ""))
    assert run(program, monkeypatch) == 0
    assert "nothing is measured, nothing is written" in capsys.readouterr().out
    assert not (program.common.RESULTS / "gpu.json").exists()


def test_boards_idle_and_agreement_on_the_stand_in(program, driver, monkeypatch):
    """Two GPUs that always draw 500 W each."""
    code = run(program, monkeypatch, "--sections", "boards,idle,agreement,rapl", "--seconds", "1.5", "--rounds", "2")
    reported = written(program)
    assert code == 0, reported["checks"]
    assert [board["limit_w"] for board in reported["boards"]] == [650, 650]
    assert all(board["has_counter"] for board in reported["boards"])
    assert reported["idle"]["gpu:1"]["idle_w"] == pytest.approx(500, rel=0.2)
    assert reported["idle"]["gpu:1"]["read_w"] == pytest.approx(500)
    assert reported["agreement"]["to_integral"] < 0.05
    assert [driver.device(index).sets for index in range(2)] == [0, 0]  # limits were read and not changed
    assert {"check": "limits are as they were", "pass": True} in reported["checks"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_section_that_fails_is_noted_and_the_others_go_on(program, driver, monkeypatch, capsys):
    assert run(program, monkeypatch, "--sections", "order,tokens,boards") == 1
    reported = written(program)
    assert "torch sees no CUDA device" in reported["order"]["error"]
    assert "torch sees no CUDA device" in reported["tokens"]["error"]
    assert len(reported["boards"]) == 2
    assert "order failed" in capsys.readouterr().out


def test_a_lost_board_is_described_as_such(program, driver, monkeypatch):
    driver.device(0).lost = 1
    run(program, monkeypatch, "--sections", "boards")
    lost, other = written(program)["boards"]
    assert lost["trouble"] == "GPU is lost"
    assert other["limit_w"] == 650


@pytest.mark.parametrize(("zeus", "holds"), [(0.004, True), (0.02, False)])
def test_more_than_a_per_cent_from_zeus_is_a_failure(program, zeus, holds):
    content = {"agreement": {"to_zeus": zeus, "to_integral": None}}
    (reported,) = [check for check in program.checks(content) if "to_zeus" in check["check"]]
    assert reported["pass"] is holds


def test_a_device_metered_as_another_board_is_a_failure(program):
    rows = [{"cuda": 0, "metered": "gpu:1", "board": "gpu:1"}, {"cuda": 1, "metered": "gpu:1", "board": "gpu:0"}]
    assert [check["pass"] for check in program.checks({"order": rows})] == [True, True, False]


def test_limits_that_moved_are_a_failure(program):
    before, after = [{"uuid": "GPU-1", "limit_w": 650.0}], [{"uuid": "GPU-1", "limit_w": 300.0}]
    checks = program.checks({"boards": before, "boards_after": after})
    assert checks[-1] == {"check": "limits are as they were", "pass": False}
