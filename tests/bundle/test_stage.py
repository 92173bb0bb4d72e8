"""The stage program `hibernate`: what evaluate chose is put to sleep where it was measured."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from overwinter.files import write_json

PROGRAM = Path(__file__).parents[2] / "stages" / "hibernate.py"


@pytest.mark.parametrize(("named", "device"), [({}, "cpu"), ({"device": "cuda:1"}, "cuda:1")])
def test_it_reads_the_device_that_evaluate_measured_on(tmp_path, named, device):
    spec = importlib.util.spec_from_file_location("hibernate_stage", PROGRAM)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    write_json(tmp_path / "chosen.json", {"form": "dense", "runtime": "torch"} | named)
    stage = SimpleNamespace(input=lambda _stage, out: tmp_path / out)
    assert program.chosen(stage) == ("dense", "torch", device)
