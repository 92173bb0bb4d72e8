"""Quantization-aware training of models of every task, and the variant that holds their grids."""

import numpy as np
import pytest
import torch

from overwinter import quantization
from overwinter.data import InMemory, Split
from overwinter.inputs import named, to_arrays
from overwinter.models import integer_layers, load_model, own_models, save_model
from overwinter.models.adapting import adapt
from overwinter.signature import Signature, TensorSpec, dtype_name
from overwinter.training import fit
from overwinter.training.qat import make_aware
from tests.support.kinds import cases
from tests.support.settings import quantize_settings

LEFT = {
    "forecasting": {"smooth": "Conv1d", "memory": "LSTM"},
    "token_classification": {"embedding": "Embedding", "attention": "MultiheadAttention"},
}


def built(name):
    return cases()[name][0]


def signature(inputs):
    specs = (
        TensorSpec(name=name, dtype=dtype_name(tensor), shape=(None, *tensor.shape[1:]))
        for name, tensor in named(inputs).items()
    )
    return Signature(inputs=tuple(specs), outputs=())


@pytest.mark.parametrize("name", sorted(set(cases()) - {"language_modeling"}))
def test_a_model_of_any_task_is_served_on_the_grids_that_it_was_trained_for(name, train_config, straight, tmp_path):
    model, inputs, targets, task = cases()[name]
    model, config = adapt(model), train_config(straight)
    split = Split(InMemory(inputs, targets)).use(task)
    awareness = make_aware(model, config)
    for layer, kind in LEFT.get(name, {}).items():
        assert kind in awareness.left_in_float[layer]
    fit(
        model, split, split, config, task=task, seed=0, device=torch.device("cpu"), threads=1, hooks=awareness.hooks
    )  # fmt: skip
    grids = awareness.finish()
    with torch.inference_mode():
        before = model.eval()(inputs)
    described = {"_target_": f"{__name__}.built", "name": name}
    with own_models():
        save_model(
            tmp_path / "float", model, variant="dense", model_config=described, signature=signature(inputs), lineage={},
            quantization_aware=grids,
        )  # fmt: skip
        report = quantization.quantize(
            "qat", tmp_path / "float", tmp_path / "qat", calibration=to_arrays(inputs), held_out=to_arrays(inputs),
            task=task, settings=quantize_settings("qat"), lineage={}, trusted=[__name__],
        )  # fmt: skip
        served = load_model(tmp_path / "qat", trusted=[__name__])
    assert set(report.quantized) == set(grids)
    assert set(integer_layers(served)) == set(grids)
    assert report.agreement > 0.8
    with torch.inference_mode():
        assert np.isfinite(served(inputs).numpy()).all()
        assert served(inputs).shape == before.shape
