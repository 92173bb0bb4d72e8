"""Models of several inputs, of integers and of axes that vary, on every runtime."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from overwinter import models, runtime
from overwinter.errors import OverwinterError
from overwinter.inputs import take, to_tensors
from overwinter.runtime.onnx_export import export_onnx
from overwinter.runtime.torch_compile import missing_compiler

NETS = """
    import torch
    from torch import nn
    from overwinter.models import replace_tensors

    class Encoder(nn.Module):
        '''A text encoder: keywords in, a dict out.'''
        def __init__(self):
            super().__init__()
            self.words, self.norm = nn.Embedding(50, 16), nn.LayerNorm(16)
            self.query, self.key, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        def forward(self, input_ids, attention_mask):
            words = self.words(input_ids)
            projected = (self.query(words), self.key(words), words)
            query, key, value = (each.view(*words.shape[:2], 2, 8).transpose(1, 2) for each in projected)
            mask = attention_mask[:, None, None, :].bool()
            hidden = nn.functional.scaled_dot_product_attention(query, key, value, mask)
            hidden = self.norm(hidden.transpose(1, 2).reshape(words.shape) + words)
            return {"hidden": hidden, "logits": self.head(hidden.mean(1))}

    class Attention(nn.Module):
        '''Torch's own attention, where tracing freezes the length.'''
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(50, 16)
            self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
            self.head = nn.Linear(16, 3)
        def forward(self, input_ids, attention_mask):
            return self.head(self.block(self.words(input_ids) * attention_mask[..., None])).mean(1)

    class FewerHeads(Attention):
        '''The same without one of its two heads.'''
        def __init__(self):
            super().__init__()
            attention, left = self.block.self_attn, [*range(8), *range(16, 24), *range(32, 40)]
            for each in ("in_proj_weight", "in_proj_bias"):
                replace_tensors(attention, {each: getattr(attention, each).detach()[left]})
            replace_tensors(attention.out_proj, {"weight": attention.out_proj.weight.detach()[:, :8]})

    class Pixels(nn.Module):
        '''Images of any size to a class for each pixel.'''
        def __init__(self):
            super().__init__()
            self.down, self.up = nn.Conv2d(3, 8, 4, stride=4), nn.ConvTranspose2d(8, 2, 4, stride=4)
        def forward(self, images):
            return self.up(torch.relu(self.down(images)))

    class Fixed(nn.Module):
        '''Uses the length of the example as a constant.'''
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(50, 16)
        def forward(self, input_ids, attention_mask):
            words = self.words(input_ids) * attention_mask[..., None]
            return words.sum(1) / float(input_ids.shape[1] * torch.ones(()))

    class Columns(nn.Module):
        '''Two tensors by position, one of them not used.'''
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 2)
        def forward(self, numbers, unused):
            return self.head(numbers), numbers
"""
TRUSTED = ["several_nets"]
NUMBERS = np.random.default_rng(0)


def texts(length):
    mask = np.ones((6, length), np.int64)
    mask[0, length // 2 :] = 0
    return {"input_ids": NUMBERS.integers(1, 50, (6, length)), "attention_mask": mask}


def columns(count=6):
    return {"0": NUMBERS.standard_normal((count, 4)).astype(np.float32), "1": np.arange(count)[:, None]}


def images(size):
    return NUMBERS.standard_normal((4, 3, size, size)).astype(np.float32)


INPUTS = {
    "Encoder": (texts(20), [texts(20), texts(7), texts(33)]),
    "Attention": (texts(20), [texts(20), texts(7), texts(33)]),
    "FewerHeads": (texts(20), [texts(20), texts(7), texts(33)]),
    "Pixels": (images(24), [images(24), images(8), images(36)]),
    "Columns": (columns(), [columns(), columns(2)]),
}
EXPORT = """
import sys
import numpy as np
from pathlib import Path
from overwinter import runtime
saved, out = map(Path, sys.argv[1:])
texts = {name: np.ones((2, 9), np.int64) for name in ("input_ids", "attention_mask")}
runtime.build(saved, "onnxruntime", out, examples=texts, trusted=["several_nets"])
"""
RUNTIMES = [
    "torch",
    "torch-bf16",
    "onnxruntime",
    pytest.param("openvino", marks=pytest.mark.special),
    pytest.param("torch-compile", marks=[pytest.mark.special, pytest.mark.slow]),
]


@pytest.fixture
def save(tmp_path, monkeypatch):
    """Save a network by its class name, with the signature of samples; return its folder and the module."""
    (tmp_path / "several_nets.py").write_text(textwrap.dedent(NETS))
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name, samples):
        torch.manual_seed(0)
        config = {"_target_": f"several_nets.{name}"}
        model = models.build_model(config, trusted=TRUSTED).eval()
        singles = [take(batch, slice(at, at + 1)) for batch in samples for at in range(2)]
        signature = models.find_signature(model, singles)
        models.save_model(tmp_path / name, model, variant="dense", model_config=config, signature=signature, lineage={})
        return tmp_path / name, model

    return make


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", list(INPUTS))
@pytest.mark.parametrize("each", RUNTIMES)
def test_a_runtime_takes_inputs_of_any_size_and_returns_the_output_that_counts(name, each, save, tmp_path):
    if each == "openvino":
        pytest.importorskip("openvino")
    if each == "torch-compile" and missing_compiler():
        pytest.skip("torch-compile needs a C++ compiler")
    examples, served = INPUTS[name]
    folder, model = save(name, served)
    runtime.build(folder, each, tmp_path / "built", examples=examples, trusted=TRUSTED)
    session = runtime.open_session(tmp_path / "built", each, 1, trusted=TRUSTED)
    for inputs in served:
        with torch.inference_mode():
            expected = model(to_tensors(inputs)).numpy()
        outputs = session.run(inputs)
        assert outputs.dtype == np.float32
        assert runtime.largest_difference(outputs, expected) < (0.05 if each == "torch-bf16" else 1e-4)


@pytest.mark.parametrize("each", ["onnxruntime"])
def test_a_length_used_as_a_constant_is_found_at_build_time(each, save, tmp_path):
    folder, _ = save("Fixed", [texts(20), texts(8)])
    with pytest.raises(OverwinterError, match="differ"):
        runtime.build(folder, each, tmp_path / "built", examples=texts(20), trusted=TRUSTED)


def test_layers_keep_their_names_in_the_graph(save, tmp_path):
    _, model = save("Attention", [texts(20), texts(8)])
    signature = models.find_signature(model, [take(texts(length), slice(1)) for length in (8, 20)])
    graph = export_onnx(model, texts(20), signature).graph
    layers = {runtime.layer_of(node.name) for node in graph.node if node.op_type in ("MatMul", "Gemm")}
    assert {"block.linear1", "block.linear2", "head"} <= layers
    assert "words.weight" in runtime.initializers(graph)
    assert not any(node.metadata_props or node.doc_string for node in graph.node), "it would hold paths of this machine"


@pytest.mark.slow
def test_two_processes_export_the_same_bytes_silently(save, tmp_path):
    folder, _ = save("Attention", [texts(20), texts(8)])
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", EXPORT, str(folder), str(tmp_path / seed)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
        )
        assert done.stdout + done.stderr == b""
    assert (tmp_path / "1" / "model.onnx").read_bytes() == (tmp_path / "2" / "model.onnx").read_bytes()


def test_a_fresh_process_is_given_all_inputs(save, tmp_path):
    folder, _ = save("Encoder", [texts(20), texts(8)])
    runtime.build(folder, "onnxruntime", tmp_path / "built", examples=texts(20), trusted=TRUSTED)
    ready = runtime.measure_loading(tmp_path / "built", "onnxruntime", texts(9), threads=1, trusted=TRUSTED)
    assert ready.peak_memory_bytes > 0
