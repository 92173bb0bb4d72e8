"""Checkpoints that are memory-mapped, and those left to transformers."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from overwinter import models
from overwinter.models.pages import mapped_weights
from tests.support.networks import LLAMA

transformers = pytest.importorskip("transformers", reason="the extra llm is not installed")

TOKENS = torch.tensor([[3, 5, 8, 13]])


@pytest.fixture
def network():
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA, tie_word_embeddings=True))


@pytest.fixture
def known(network):
    return network.state_dict(keep_vars=True)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("max_shard_size", ["1GB", "4KB"])
def test_a_checkpoint_answers_as_transformers_reads_it(network, tmp_path, kind, max_shard_size, monkeypatch):
    network.to(kind).save_pretrained(tmp_path, max_shard_size=max_shard_size)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) is (max_shard_size == "4KB")
    expected = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", None)
    model = models.pretrained(root=str(tmp_path))
    with torch.inference_mode():
        assert torch.equal(model(TOKENS), expected(input_ids=TOKENS).logits)
    assert {each.dtype for each in model.parameters()} == {torch.float32}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of mapped files")
def test_weights_are_pages_of_files_and_changing_them_leaves_the_checkpoint_alone(network, known, tmp_path):
    network.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    before, weights = file.read_bytes(), mapped_weights(tmp_path, known)
    assert str(file) in Path("/proc/self/maps").read_text()
    for tensor in weights.values():
        tensor.fill_(3.0)
    assert file.read_bytes() == before


def renamed(weights):
    return {f"old.{name}": tensor for name, tensor in weights.items()}


def of_other_shape(weights):
    return weights | {"model.norm.weight": torch.ones(3)}


def in_other_numbers(weights):
    return weights | {"model.norm.weight": torch.ones(16, dtype=torch.int8)}


def with_one_missing(weights):
    return {name: tensor for name, tensor in weights.items() if name != "model.norm.weight"}


@pytest.mark.parametrize("changed", [renamed, of_other_shape, in_other_numbers, with_one_missing])
def test_what_does_not_fit_as_it_stands_is_left_to_transformers(known, tmp_path, changed):
    weights = {name: tensor.detach().clone() for name, tensor in known.items() if name != "lm_head.weight"}
    save_file(changed(weights), tmp_path / "model.safetensors")
    assert mapped_weights(tmp_path, known) is None
    save_file(weights, tmp_path / "model.safetensors")
    assert set(mapped_weights(tmp_path, known)) == set(weights)


@pytest.mark.parametrize("index", ["{", "[]", "{}", json.dumps({"weight_map": {"x": "none.safetensors"}})])
def test_a_broken_index_is_left_to_transformers(network, known, tmp_path, index):
    network.save_pretrained(tmp_path, max_shard_size="4KB")
    assert mapped_weights(tmp_path, known) is not None
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert mapped_weights(tmp_path, known) is None


def test_a_full_disk_takes_memory(network, known, tmp_path, monkeypatch):
    network.bfloat16().save_pretrained(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    weights = mapped_weights(tmp_path, known)
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        assert torch.equal(weights[name], tensor.float())
