"""Models that take only real inputs: random ones are no tokens, or have no logarithm."""

import textwrap

import numpy as np
import pytest

from overwinter import models, runtime
from overwinter.runtime.examples import compared_inputs, traced_inputs
from overwinter.runtime.torch_compile import missing_compiler
from overwinter.signature import Signature

NETS = """
    import torch
    from torch import nn

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(32, 8), nn.Linear(8, 3)
        def forward(self, x):
            return self.head(self.words(x.long()).mean(dim=1))

    class Logarithm(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(6, 3)
        def forward(self, x):
            return self.head(torch.log(x))
"""
COUNTS = np.random.default_rng(0).integers(1, 32, (4, 6)).astype(np.float32)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["Words", "Logarithm"])
@pytest.mark.parametrize("each", ["torch", "onnxruntime", "openvino", "torch-compile"])
def test_a_model_is_traced_and_compared_on_the_examples_given(name, each, tmp_path, monkeypatch):
    if each == "torch-compile" and missing_compiler():
        pytest.skip("torch-compile needs a C++ compiler")
    (tmp_path / "real_inputs.py").write_text(textwrap.dedent(NETS))
    monkeypatch.syspath_prepend(str(tmp_path))
    config, trusted = {"_target_": f"real_inputs.{name}"}, ["real_inputs"]
    model = models.build_model(config, trusted=trusted)
    runtime.check_runtimes(model, [each], model_config=config, examples=COUNTS, trusted=trusted)
    models.save_model(
        tmp_path / "saved", model, variant="dense", model_config=config, signature=Signature.of_one([6]), lineage={}
    )
    runtime.build(tmp_path / "saved", each, tmp_path / "built", examples=COUNTS, trusted=trusted)
    outputs = runtime.open_session(tmp_path / "built", each, 1, trusted=trusted).run(COUNTS)
    assert np.isfinite(outputs).all()


@pytest.mark.parametrize("count", [1, 2, 8])
def test_batches_have_their_sizes_however_few_examples_there_are(count):
    examples = np.arange(count, dtype=np.float32)[:, None]
    assert len(traced_inputs(examples)) == 3
    assert [len(batch) for batch in compared_inputs(examples)] == [1, 5]
    assert set(np.concatenate(list(compared_inputs(examples))).ravel()) <= set(examples.ravel())
