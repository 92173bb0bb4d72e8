"""A bundle holds sparse weights packed, and wakes from them."""

import numpy as np
import pytest
import torch

from overwinter import models, runtime
from overwinter.bundle import wake
from overwinter.models import Grid, integer_type, load_description, replace_layer
from overwinter.signature import Signature
from tests.support.building import build
from tests.support.networks import CONVNET, seasoned

WIDE = CONVNET | {"channels": [16, 32]}


@pytest.fixture(params=["floats", "integers"])
def pruned(request, tmp_path):
    """Save a model with one weight in five, in floating point or in 8 bits."""
    model = seasoned(WIDE)
    with torch.no_grad():
        for weight in models.prunable_weights(model).values():
            weight.masked_fill_(torch.rand_like(weight) < 0.8, 0.0)
    if request.param == "integers":
        for name, layer in list(model.named_modules()):
            kind = integer_type(layer)
            if kind is not None:
                replace_layer(model, name, kind.from_float(layer, Grid(bits=8)))
    folder, signature = tmp_path / "saved", Signature.of_one([1, 8, 8])
    models.save_model(folder, model, variant="sparse", model_config=WIDE, signature=signature, lineage={})
    return folder


def test_what_is_woken_is_what_was_packed_and_nothing_is_written_unpacked(hibernate, pruned, tmp_path):
    payload = tmp_path / "payload"
    payload.mkdir()
    build(pruned, "torch", payload, trusted=[])
    bundle = hibernate("torch", payload=payload, variant="sparse")
    packed = [
        entry["packed"]["size_bytes"] for entry in load_description(pruned)["tensors"].values() if "packed" in entry
    ]
    assert packed
    stored = bundle.source / "payload" / "weights.safetensors"
    assert stored.read_bytes() == (pruned / "weights.safetensors").read_bytes()
    inputs = np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(
        wake(bundle.source).run(inputs), models.load_model(pruned, trusted=[])(torch.tensor(inputs)).detach()
    )


def test_other_runtimes_compute_with_the_unpacked_weights(pruned, tmp_path):
    payload = tmp_path / "payload"
    payload.mkdir()
    build(pruned, "onnxruntime", payload, trusted=[])
    inputs = np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)
    found = runtime.open_session(payload, "onnxruntime", 1).run(inputs)
    expected = models.load_model(pruned, trusted=[])(torch.tensor(inputs)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)
