"""A real process, really killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import sys, time
from pathlib import Path
import torch
from overwinter.signature import Signature
from overwinter import data, models, tasks, training
from overwinter.config.groups import FitConfig

def progress(done, total, **figures):
    time.sleep(float(sys.argv[2]))

settings = FitConfig(epochs=4, batch_size=16, learning_rate=0.01, weight_decay=0.0, warmup_fraction=0.1,
                     gradient_clip_norm=1.0, patience_epochs=0, precision="fp32",
                     checkpoint_interval_s=0.0)
config = {"_target_": "overwinter.models.ConvNet", "input_shape": [1, 4, 4], "classes": 2,
          "channels": [4], "dropout": 0.1}
generator = torch.Generator().manual_seed(0)
split = data.Split(data.InMemory(torch.randn(160, 1, 4, 4, generator=generator), torch.arange(160) % 2))
result = training.fit(models.build_model(config, trusted=[]), split, split, settings, seed=1, threads=1,
                      task=tasks.Classification(["even", "odd"]), device=torch.device("cpu"), progress=progress,
                      checkpoints=Path(sys.argv[1]) / "checkpoints")
models.save_model(Path(sys.argv[1]) / "model", result.model, variant="dense", model_config=config,
                  signature=Signature.of_one([1, 4, 4]), lineage={})
print(result.resumed)
"""


def start(folder, pause_s):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", PROGRAM, str(folder), str(pause_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def model_bytes(folder):
    return [(folder / "model" / name).read_bytes() for name in ("model.json", "weights.safetensors")]


@pytest.mark.slow
def test_kill_9_then_the_same_command_gives_the_same_bytes(tmp_path):
    undisturbed = start(tmp_path / "undisturbed", 0)
    killed = start(tmp_path / "killed", 0.1)
    deadline_s = time.monotonic() + 60
    while not list((tmp_path / "killed").glob("checkpoints/step-000000003.json")):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed" / "model").exists()
    output, _ = start(tmp_path / "killed", 0).communicate(timeout=60)
    assert output.strip() == "True"
    assert undisturbed.communicate(timeout=60)[0].strip() == "False"
    assert model_bytes(tmp_path / "killed") == model_bytes(tmp_path / "undisturbed")
