import numpy as np
import pytest
import torch

from overwinter import models
from overwinter.errors import OverwinterError
from overwinter.runtime import measure_loading
from overwinter.signature import Signature
from tests.support.building import build

CONFIG = {"_target_": "overwinter.models.ConvNet", "input_shape": [1, 8, 8], "classes": 3, "channels": [4, 6]}
INPUTS = np.zeros((2, 1, 8, 8), np.float32)


@pytest.fixture
def built(tmp_path):
    torch.manual_seed(0)
    model = models.build_model({**CONFIG, "pool_after": [1]}, trusted=[])
    saved = tmp_path / "saved"
    config = {**CONFIG, "pool_after": [1]}
    models.save_model(
        saved, model.eval(), variant="dense", model_config=config, signature=Signature.of_one([1, 8, 8]), lineage={}
    )
    build(saved, "onnxruntime", tmp_path / "built", trusted=[])
    return tmp_path / "built"


def test_a_fresh_process_tells_its_own_memory_and_not_its_parents(built):
    ballast = np.ones(60_000_000)  # 480 MB that must not count for the child
    loading = measure_loading(built, "onnxruntime", INPUTS, threads=1, trusted=[])
    assert 20e6 < loading.peak_memory_bytes < 400e6 < ballast.nbytes
    assert 0 < loading.load_s < 60


def test_what_fails_there_says_why(built):
    (built / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(OverwinterError, match="built cannot be loaded by onnxruntime in a fresh process"):
        measure_loading(built, "onnxruntime", INPUTS, threads=1, trusted=[])
