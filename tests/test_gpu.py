"""Tests that need a GPU, on machines without one: they run on the stand-in, in another process."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
NEED_A_GPU = (
    "gpu",
    "quantization/test_torchao_variants.py::test_a_gpu_answers_as_the_cpu_does",
    "runtime/test_device.py::test_a_gpu_computes_integer_layers",
)


def stand_in():
    spec = importlib.util.spec_from_file_location("stand_in_gpu", HERE / "stand_in" / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: tests/gpu runs on it")
@pytest.mark.skipif(bool(stand_in().reason_against()), reason=str(stand_in().reason_against()))
def test_gpu_tests_pass_on_the_stand_in():
    environment = os.environ | stand_in().environment() | {"OMP_NUM_THREADS": "1"}
    tests = [str(HERE / test) for test in NEED_A_GPU]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=HERE.parent)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " skipped" not in done.stdout.splitlines()[-1], "there was no GPU in it"
