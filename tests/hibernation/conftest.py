"""A bundle of a small model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from overwinter import hibernation, models, runtime, serving

CONVNET = {
    "_target_": "overwinter.models.ConvNet",
    "input_shape": [1, 8, 8],
    "classes": 3,
    "channels": [4, 6],
    "pool_after": [1],
}


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    model = models.build_model(CONVNET, trusted=[]).eval()
    folder = tmp_path_factory.mktemp("saved")
    models.save_model(folder, model, form="dense", model_config=CONVNET, input_shape=[1, 8, 8], lineage={})
    return folder


@pytest.fixture(scope="session")
def payloads(saved, tmp_path_factory) -> dict[str, Path]:
    """Runtime -> payload."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("torch", "onnxruntime")}
    for name, folder in folders.items():
        runtime.build(saved, name, folder, trusted=[])
    return folders


@pytest.fixture
def hibernate(payloads, tmp_path):
    def hibernate(name="onnxruntime", **changes):
        arguments = {
            "payload": payloads[name],
            "canary_inputs": np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype(np.float32),
            "canary_tolerance": 1e-3,
        }
        facts = {
            "form": "dense",
            "runtime": name,
            "labels": ("a", "b", "c"),
            "preprocessing": {"mean": 8.0, "std": 4.0, "raw": {"shape": [8, 8], "range": [0, 16]}},
            "production_energy_j": None,
            "lineage": {"stage": "hibernate"},
            "device": None,
        }
        facts |= {key: changes.pop(key) for key in list(changes) if key in facts}
        arguments |= changes
        facts["input_shape"] = arguments["canary_inputs"].shape[1:]
        return hibernation.hibernate(tmp_path / "bundle", facts=serving.BundleFacts(**facts), **arguments)

    return hibernate
