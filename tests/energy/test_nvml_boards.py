"""Boards one by one: a lost one takes no other along, and CUDA's order is not taken for NVML's."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from overwinter.energy import open_meter
from overwinter.energy.cuda_order import ask_cuda
from overwinter.energy.nvml import nvml_status, open_nvml
from overwinter.energy.nvml_boards import all_boards, visible_boards
from overwinter.energy.quiet import devices_of

STAND_IN = Path(__file__).parents[1] / "stand_in"
TROUBLES = {1: "GPU is lost", 3: "Not Supported", 4: "Insufficient Permissions", 999: "Unknown Error"}


def load_stand_in() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stand_in_nvml", STAND_IN / "nvml.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Three GPUs that draw 500 W."""
    module = load_stand_in()
    if module.compiler() is None:
        pytest.skip("the stand-in NVML library needs a C compiler")
    machine = module.StandIn(tmp_path, count=3)
    machine.enter(monkeypatch)
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return machine


@pytest.fixture
def started(gpus: Any) -> Any:
    """The same, with NVML initialised."""
    import pynvml

    pynvml.nvmlInit()
    yield gpus
    pynvml.nvmlShutdown()


@pytest.fixture
def cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A driver of CUDA, for processes that are started, which has the second board first."""
    library = tmp_path / "cuda" / "libcuda.so.1"
    library.parent.mkdir()
    compiler = load_stand_in().compiler() or "cc"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(STAND_IN / "cuda.c")], check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{library.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}")
    monkeypatch.setenv("OVERWINTER_STAND_IN_CUDA", "0000:02:00.0 0000:01:00.0 0000:03:00.0")
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def shown(**environ: str) -> list[str]:
    return [board.device for board in visible_boards(environ).boards]


@pytest.mark.parametrize("code", TROUBLES)
def test_a_lost_board_leaves_the_others(started: Any, code: int) -> None:
    started.device(1).lost = code
    boards = all_boards()
    assert [bool(board.handle) for board in boards] == [True, False, True]
    assert TROUBLES[code] in boards[1].trouble


@pytest.mark.parametrize("code", TROUBLES)
def test_a_lost_board_of_ours_is_named_and_assumed_and_the_others_are_metered(
    gpus: Any, opening: Any, hand_driven: Any, clock: Any, code: int
) -> None:
    gpus.device(0).lost = code
    meter = hand_driven(open_nvml(opening), opening).start()
    clock.forward(1.0)
    report = meter.read()
    parts = {part.device: part for part in report.components}
    assert [parts[f"gpu:{index}"].source for index in range(3)] == ["modelled", "nvml-counter", "nvml-counter"]
    assert parts["gpu:0"].energy_j == pytest.approx(60)
    assert parts["gpu:0"].uncertainty_j == pytest.approx(60)
    assert report.measured_fraction < 1
    assert any("gpu:0 does not respond" in text for text in report.warnings)


@pytest.mark.parametrize("value", ["0", "GPU-00000000-0000-0000-0000-000000000000", "0,2"])
def test_a_lost_board_that_is_hidden_does_not_matter(
    gpus: Any, opening: Any, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    gpus.device(1).lost = 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    channels = open_nvml(opening)
    assert "gpu:1" not in [channel.device for channel in channels]
    assert all(channel.measured for channel in channels)
    assert opening.warnings == []


def test_a_lost_board_named_by_its_uuid_is_known_as_the_only_one_that_is_silent(started: Any, opening: Any) -> None:
    uuid = started.device(1).uuid.decode()
    started.device(1).lost = 1
    assert shown(CUDA_VISIBLE_DEVICES=uuid) == ["gpu:1"]


def test_a_board_lost_in_the_middle_leaves_the_others_measured(
    gpus: Any, energy_config: Any, hardware_config: Any
) -> None:
    energy_config.sources = ["nvml"]
    with open_meter(energy_config, hardware_config) as meter:
        meter.tick()
        gpus.device(2).lost = 1
        with meter.window("after") as window:
            meter.tick()
    sources = {part.device: part.source for part in window.close().components if part.energy_j}
    assert sources["gpu:2"] == "modelled"
    assert sources["gpu:0"] == sources["gpu:1"] == "nvml-counter"
    assert any("gpu:2: nvml" in text and "GPU is lost" in text for text in meter.read().warnings)


def test_the_status_names_the_lost(gpus: Any) -> None:
    gpus.device(1).lost = 1
    available, reason, remedy = nvml_status()
    assert available
    assert "gpu:1 does not respond (GPU is lost)" in reason
    assert "Xid" in remedy
    for index in range(3):
        gpus.device(index).lost = 1
    assert nvml_status()[0] is False


def test_numbers_are_those_of_the_slots_where_the_boards_are_alike(started: Any) -> None:
    started.device(0).bus_id, started.device(2).bus_id = b"00000000:C1:00.0", b"00000000:0A:00.0"
    assert shown(CUDA_VISIBLE_DEVICES="0") == ["gpu:1"]  # 0000:02, before 0a and c1
    assert shown(CUDA_VISIBLE_DEVICES="2") == ["gpu:0"]


@pytest.mark.usefixtures("cuda")
def test_unlike_boards_are_in_cudas_own_order_and_cuda_is_asked(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started.device(1).name = b"NVIDIA Faster 900W"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert ask_cuda() == {"0000:02:00.0"}
    visible = visible_boards(os.environ)
    assert ([board.device for board in visible.boards], visible.doubt) == (["gpu:1"], "")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert [board.device for board in visible_boards(os.environ).boards] == ["gpu:0"]


def test_without_cudas_response_the_doubt_is_reported(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overwinter.energy.nvml_boards.ask_cuda", lambda: None)
    started.device(1).name = b"NVIDIA Faster 900W"
    visible = visible_boards({"CUDA_VISIBLE_DEVICES": "0"})
    assert [board.device for board in visible.boards] == ["gpu:0"]
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in visible.doubt
    assert visible_boards({"CUDA_VISIBLE_DEVICES": "2,1,0"}).doubt == ""  # all of them, in whatever order
    assert visible_boards({"CUDA_VISIBLE_DEVICES": started.device(1).uuid.decode()}).doubt == ""


def test_a_torch_that_has_initialised_cuda_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = types.SimpleNamespace(uuid="00000000-0000-0000-0000-000000000001")
    cuda = types.SimpleNamespace(
        is_initialized=lambda: True, device_count=lambda: 1, get_device_properties=lambda _index: properties
    )
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))  # type: ignore[arg-type]
    assert ask_cuda() == {"GPU-00000000-0000-0000-0000-000000000001"}


def test_where_cuda_is_not_there_no_one_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert ask_cuda() is None


def test_gpus_that_only_other_ranks_see_are_not_passed_over_in_silence(
    gpus: Any, opening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    open_nvml(opening)
    assert opening.warnings == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    open_nvml(opening)
    assert any("only other ranks see are not metered" in text for text in opening.warnings)


def test_the_command_measures_the_boards_that_are_left(gpus: Any) -> None:
    gpus.device(1).lost = 1
    command = [sys.executable, "-m", "overwinter.cli", "measure", "--json", "--", "sleep", "1"]
    environ = {**os.environ, **gpus.environment}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, cwd="/")
    report = json.loads(done.stderr)
    drawn_j = {part["device"]: part["energy_j"] for part in report["components"]}
    assert drawn_j["gpu:0"] == pytest.approx(500 * report["duration_s"], rel=0.2)
    assert any("gpu:1 does not respond" in text for text in report["warnings"])


@pytest.mark.usefixtures("gpus")
def test_a_quiet_device_is_the_board_and_not_its_number_among_the_visible_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, *boards = devices_of("auto")
    assert cpu == "cpu"
    assert len(set(boards)) == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,1")
    assert devices_of("auto") == ["cpu", boards[2], boards[1]]
    assert devices_of("cuda") == ["cpu", boards[2]]
    assert devices_of("cuda:1") == ["cpu", boards[1]]
    assert devices_of("cpu") == ["cpu"]
