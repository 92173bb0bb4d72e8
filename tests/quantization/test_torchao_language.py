"""torchao's variants of a language model: fp8 with activations in fp8 is on torch's own float8 product on the CPU."""

import numpy as np
import pytest
import torch

from overwinter import runtime
from overwinter.registries import RUNTIMES
from tests.support.building import build
from tests.support.networks import WIDE_LLAMA, language_model, save_language_model

pytest.importorskip("transformers", reason="the extra llm is not installed")

TOKENS = np.random.default_rng(0).integers(48, size=(12, 10))


@pytest.mark.parametrize(("name", "head"), [("torch", "as_layers"), ("torch-bf16", "as_embedding")])
def test_a_language_model_reads_and_writes_in_float8(quantize, tmp_path, beside, name, head):
    model = language_model(WIDE_LLAMA)
    save_language_model(tmp_path / "dense", model, length=10)
    report = quantize("fp8_dynamic", tmp_path / "dense", TOKENS, device=beside, head=head)
    tied = head == "as_embedding"
    assert len(report.quantized) == 2 * 7 + (not tied)
    assert report.untied == (() if tied else ("network.lm_head",))
    assert report.agreement > 0.8
    build(tmp_path / "fp8_dynamic", name, tmp_path / "built", trusted=[], device=beside)
    served = RUNTIMES.find(name)().load(tmp_path / "built", trusted=[], device=beside)
    network = served.network
    assert (network.get_output_embeddings().weight is network.get_input_embeddings().weight) == tied
    with torch.inference_mode():
        tokens = torch.from_numpy(TOKENS[:2])
        expected, whole = model(tokens), served(tokens)
        kept = None
        for at in range(tokens.shape[1]):
            logits, kept = served.step(tokens[:, at : at + 1], kept)
    assert float((whole - expected).norm() / expected.norm()) < 0.1
    assert float((logits - expected[:, -1]).norm() / expected[:, -1].norm()) < 0.1


@pytest.mark.parametrize("method", ["int8_dynamic", "fp8_weight_only"])
def test_a_language_model_takes_torchaos_other_variants(quantize, tmp_path, method):
    model = language_model(WIDE_LLAMA)
    save_language_model(tmp_path / "dense", model, length=10)
    report = quantize(method, tmp_path / "dense", TOKENS, head="as_layers")
    assert len(report.quantized) == 2 * 7 + 1
    assert report.untied == ("network.lm_head",)
    assert report.agreement > 0.8
    refusal = runtime.refusal(tmp_path / method, "torch-bf16")
    assert refusal == (None if method == "int8_dynamic" else "its layers take inputs in float32")
    for name in ("torch", "torch-bf16") if refusal is None else ("torch",):
        build(tmp_path / method, name, tmp_path / name, trusted=[])
        served = RUNTIMES.find(name)().load(tmp_path / name, trusted=[])
        with torch.inference_mode():
            found, expected = (each(torch.from_numpy(TOKENS[:2])) for each in (served, model))
        assert 0 < float((found - expected).norm() / expected.norm()) < 0.1
