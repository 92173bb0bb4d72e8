"""The stage programs of language models, on a small model and text, without DVC."""

import contextlib
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from overwinter import models, training
from overwinter.bundle import BundleFacts, hibernate, wake
from overwinter.config.groups import BudgetConfig, EvaluateConfig
from overwinter.config.groups.budget import QualityConfig
from overwinter.errors import ConfigError, OverwinterError
from overwinter.files import read_json, write_json
from overwinter.metrics import ModelMetrics
from overwinter.models import CausalLanguageModel, Grid, IntegerLinear, replace_layer, save_model
from overwinter.records import to_json
from overwinter.runtime import build
from overwinter.signature import Signature
from overwinter.tasks.settings import LanguageModelingTaskConfig
from tests.support.gguf_files import write_gguf
from tests.support.given_runtime import GivenLanguage, given_runtime
from tests.support.settings import quantize_settings

__all__ = ["given_runtime"]

transformers = pytest.importorskip("transformers", reason="the extra llm is not installed")
tokenizers = pytest.importorskip("tokenizers")

NO_LIMITS = QualityConfig(min_quality=None, max_quality_loss=None, max_loss_increase=None, at_least={}, at_most={})
STAGES = Path(__file__).parents[2] / "stages"
LLAMA = {
    "vocab_size": 40,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "eos_token_id": 1,
}


class Stage:
    """The part of `overwinter.pipeline.Stage` that a stage program uses."""

    def __init__(self, folder, config, meter=None):
        self.folder, self.config, self.meter = folder, config, meter
        self.message, self.metrics = [], None

    def input(self, stage, out="model"):
        return self.folder / stage / out

    def earlier_models(self):
        return {"train": self.input("train")}

    def variants(self):
        given = {"train/given": self.input("train", "given")} if self.input("train", "given").exists() else {}
        return models.find_variants({"train": self.input("train"), **given, "quantize": self.input("quantize")})

    def out(self, name="model"):
        return self.folder / "out" / name

    def lineage(self):
        return {}

    def unsaved_progress(self, done, total):
        assert 0 < done <= total

    def log(self, text):
        self.message += text.splitlines()

    def save_metrics(self, metrics):
        self.metrics = to_json(metrics)

    def quiet_device(self):
        return contextlib.nullcontext()

    def candidates(self):
        return read_json(self.out("comparison.json"), remedy="")["candidates"]


@pytest.fixture
def model_folder(tmp_path):
    """A model and a tokenizer of single letters, as transformers saves them."""
    torch.manual_seed(0)
    folder = tmp_path / "llama"
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)).save_pretrained(folder)
    letters = {letter: at for at, letter in enumerate("?$abcdefghijklmnopqrstuvwxyz .,")}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(letters, unk_token="?"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="$", unk_token="?")
    fast.save_pretrained(folder)
    return folder


@pytest.fixture
def config(tmp_path, model_folder):
    for number in range(10):
        (tmp_path / f"{number}.txt").write_text("the cold months are long, and the bear sleeps. "[number:] * 3)
    data = {
        "_target_": "overwinter.data.Text",
        "root": str(tmp_path),
        "paths": ["*.txt"],
        "tokenizer": str(model_folder),
        "length": 16,
        "split_seed": 0,
        "validation_share": 0.2,
        "test_share": 0.2,
        "windows": {"train": 4, "validation": 2, "test": 3},
    }
    evaluate = EvaluateConfig(
        version=4,
        runtimes=["torch", "torch-bf16"],
        max_quality_loss=0.5,
        max_losses={},
        corruptions=[],
        measures={},
        prompt_tokens=8,
        written_tokens=2,
        repeats=3,
        sample_duration_s=0.001,
        threads=1,
        confidence=0.95,
    )
    model = {"_target_": "overwinter.models.pretrained", "root": str(model_folder)}
    quantize = quantize_settings("int4_gptq")
    return SimpleNamespace(
        model=model,
        data=data,
        task=LanguageModelingTaskConfig(),
        budget=BudgetConfig(quality=NO_LIMITS),
        quantize=quantize,
        evaluate=evaluate,
        seed=0,
        trusted_targets=[],
        device="auto",
    )


def program(name):
    spec = importlib.util.spec_from_file_location(name, STAGES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dense_and_variants(folder, config):
    """The outputs of the stages before evaluate."""
    dense = models.build_model(config.model, trusted=[], seed=0)
    assert isinstance(dense, CausalLanguageModel)
    arguments = {"model_config": dense.saved_as(), "signature": Signature.of_one([16], dtype="int64"), "lineage": {}}
    save_model(folder / "train/model", dense, variant="dense", **arguments)
    for variant, grid, activations in (("int4", Grid(bits=4, group_size=32), None), ("int8", Grid(bits=8), "dynamic")):
        model = models.load_model(folder / "train/model", trusted=[])
        name = "network.model.layers.0.mlp.up_proj"
        layer = IntegerLinear.from_float(model.get_submodule(name), grid, activations=activations)
        replace_layer(model, name, layer)
        save_model(folder / "quantize/model" / variant, model, variant=variant, **arguments)
    models.write_variants(folder / "quantize/model", ["int4", "int8"])


def bundled(folder, variant, runtime, tokens, extras=None):
    """Hibernate what was built for a runtime in ``folder/payload``."""
    description = models.load_description(variant)
    facts = BundleFacts(
        variant=description["variant"],
        runtime=runtime,
        signature=models.signature_of(description),
        task={"name": "language_modeling"},
        labels=(),
        preprocessing={},
        production_energy_j=None,
        lineage={},
    )
    hibernate(
        folder / "bundle",
        payload=folder / "payload",
        facts=facts,
        canary_inputs=tokens.numpy(),
        canary_tolerance=1e-3,
        extras=extras,
    )


def test_every_variant_is_measured_on_every_runtime_that_runs_it(tmp_path, config, make_meter):
    dense_and_variants(tmp_path, config)
    (tmp_path / "out").mkdir()
    stage = Stage(tmp_path, config, make_meter())
    program("evaluate").main(stage)
    names = {"dense@torch", "dense@torch-bf16", "int4@torch", "int4@torch-bf16", "int8@torch"}
    assert set(stage.candidates()) == names
    chosen = read_json(stage.out("chosen.json"), remedy="")
    assert f"{chosen['variant']}@{chosen['runtime']}" == stage.metrics["chosen"]["name"]
    assert {"tokens_per_s", "energy_per_token_j"} <= set(stage.candidates()[stage.metrics["chosen"]["name"]]["decode"])
    assert stage.candidates()["dense@torch-bf16"]["divergence_from_dense"] > 0


@pytest.mark.parametrize(
    ("train", "sparsify", "expected"),
    [("pretrained", "none", 5.0), ("fit", "none", 6.0), ("pretrained", "magnitude", 6.0)],
)
def test_only_weights_as_they_came_are_not_scored_again(tmp_path, config, monkeypatch, train, sparsify, expected):
    config.train, config.sparsify = SimpleNamespace(method=train), SimpleNamespace(method=sparsify)
    (tmp_path / "train").mkdir()
    found = ModelMetrics(headline="perplexity", measures={"perplexity": 5.0}, loss=1.5)
    write_json(tmp_path / "train/metrics.json", to_json(found))
    scored = SimpleNamespace(measures={"perplexity": 6.0}, loss=1.5)
    monkeypatch.setattr(training, "evaluate", lambda *_: scored)
    data = SimpleNamespace(split=lambda name: name)
    assert program("sparsify").score(Stage(tmp_path, config), None, data, None) == ({"perplexity": expected}, 1.5)


@pytest.mark.slow
def test_onnx_runtime_takes_part_and_a_bundle_of_it_wakes(tmp_path, config, make_meter):
    pytest.importorskip("onnxruntime_genai", reason="the extra onnx-llm is not installed")
    dense_and_variants(tmp_path, config)
    (tmp_path / "out").mkdir()
    config.evaluate.runtimes = ["torch", "onnxruntime"]
    stage = Stage(tmp_path, config, make_meter())
    program("evaluate").main(stage)
    names = {"dense@torch", "int4@torch", "int8@torch", "dense@onnxruntime", "int4@onnxruntime"}
    assert set(stage.candidates()) == names
    divergences = {name: stage.candidates()[name]["divergence_from_dense"] for name in names}
    assert divergences["dense@onnxruntime"] == pytest.approx(0, abs=1e-7)  # of float32, by processor
    assert divergences["int4@onnxruntime"] == pytest.approx(divergences["int4@torch"], rel=0.1)
    tokens = torch.arange(3, 35).reshape(2, 16)
    variant = stage.variants()["int4"]
    build(variant, "onnxruntime", tmp_path / "payload", examples=tokens.numpy(), trusted=[])
    bundled(tmp_path, variant, "onnxruntime", tokens)
    with torch.inference_mode():
        expected = models.load_model(variant, trusted=[])(tokens)[:, -1].numpy()
    np.testing.assert_allclose(wake(tmp_path / "bundle").run(tokens.numpy()), expected, atol=0.01)


def test_a_prompt_longer_than_a_window_is_refused_before_anything_is_loaded(tmp_path, config):
    dense_and_variants(tmp_path, config)
    config.evaluate.prompt_tokens = 17
    with pytest.raises(ConfigError, match=r"evaluate\.prompt_tokens=17 is larger than the window"):
        program("evaluate").main(Stage(tmp_path, config))


def test_on_another_device_every_variant_is_measured_there_with_the_joules_of_its_counter(
    tmp_path, config, make_meter, monkeypatch
):
    """torch treats `cpu:0` as another device than `cpu`, like a GPU; the meter's GPU stands in for it."""
    for setting in ("_IDLE_S", "_MIN_COUNTED_S"):
        monkeypatch.setattr(f"overwinter.evaluation.gpu_joules.{setting}", 0.001)
    dense_and_variants(tmp_path, config)
    (tmp_path / "out").mkdir()
    config.device = "cpu:0"
    stage = Stage(tmp_path, config, make_meter())
    program("evaluate").main(stage)
    assert read_json(stage.out("chosen.json"), remedy="")["device"] == stage.metrics["device"] == "cpu:0"
    for candidate in stage.candidates().values():
        for phase in ("prefill", "decode"):
            assert 0 < candidate[phase]["gpu_energy_per_token_j"] < candidate[phase]["energy_per_token_j"]
    assert any("% measured on the GPU, the CPU's modelled" in line for line in stage.message)
    assert stage.candidates()["int4@torch-bf16"]["divergence_from_dense"] > 0


@pytest.fixture
def of_a_file(tmp_path, config):
    """The outputs of train, of a GGUF file."""
    path = write_gguf(tmp_path / "of_a_user.gguf", hidden=128)
    for number in range(10):
        (tmp_path / f"{number}.txt").write_text("THECOLDMONTHSARELONGANDTHEBEARSLEEPS."[number:] * 5)
    config.model["root"] = config.data["tokenizer"] = str(path)
    dense = models.build_model(config.model, trusted=[], seed=0)
    about = {"model_config": dense.saved_as(), "signature": Signature.of_one([16], dtype="int64"), "lineage": {}}
    save_model(tmp_path / "train/model", dense, variant="dense", **about)
    assert models.write_given(tmp_path / "train/given", path, **about) == []
    models.write_variants(tmp_path / "quantize/model", [])
    (tmp_path / "out").mkdir()
    return path


def test_the_file_as_it_was_given_takes_part_and_is_kept_where_nothing_made_of_it_is_cheaper(
    tmp_path, config, of_a_file, make_meter, given_runtime
):
    config.evaluate.runtimes = ["torch", given_runtime]
    config.evaluate.measure_loading = False  # a fresh process does not know the stand-in
    stage = Stage(tmp_path, config, make_meter())
    program("evaluate").main(stage)
    assert set(stage.candidates()) == {"dense@torch", f"input_file@{given_runtime}", f"as_given@{given_runtime}"}
    for name in ("input_file", "as_given"):
        assert stage.candidates()[f"{name}@{given_runtime}"]["divergence_from_dense"] == pytest.approx(0, abs=1e-9)
    assert stage.metrics["given"] == stage.metrics["chosen"]
    assert stage.metrics["given"]["size_bytes"] == of_a_file.stat().st_size
    assert (stage.metrics["pays"], stage.metrics["prompt_tokens"], stage.metrics["written_tokens"]) == (False, 8, 2)
    assert read_json(stage.out("chosen.json"), remedy="")["runtime"] == given_runtime
    message = "\n".join(stage.message)
    assert "per response of 8+2 tokens" in message
    assert f"on {given_runtime}: nothing made of it here is cheaper beyond the uncertainty, and dense" in message


def test_a_variant_that_a_runtime_fails_to_build_is_left_out_with_the_reason(
    tmp_path, config, of_a_file, make_meter, given_runtime, monkeypatch
):
    def build(self, model_folder, out, **_):
        raise OverwinterError("its predictions differ from torch's by 3 nats.")

    monkeypatch.setattr(GivenLanguage, "build", build)
    config.evaluate.runtimes = ["torch", given_runtime]
    stage = Stage(tmp_path, config, make_meter())
    program("evaluate").main(stage)
    assert set(stage.candidates()) == {"dense@torch"}
    why = "its predictions differ from torch's by 3 nats."
    assert f"input_file@{given_runtime} is left out: {why}" in stage.message


def test_a_file_that_no_runtime_runs_is_left_out_with_the_reason(tmp_path, config, of_a_file, make_meter):
    stage = Stage(tmp_path, config, make_meter())
    program("evaluate").main(stage)
    assert set(stage.candidates()) == {"dense@torch", "dense@torch-bf16"}
    assert any(line.startswith("input_file is left out: no runtime") for line in stage.message)
    assert "given" not in stage.metrics


def test_a_bundle_of_the_file_wakes_with_what_it_said(tmp_path, config, of_a_file, given_runtime):
    variant = Stage(tmp_path, config).variants()["input_file"]
    tokens = torch.arange(3, 35).reshape(2, 16)
    build(variant, given_runtime, tmp_path / "payload", examples=tokens.numpy(), trusted=[])
    models.save_tokenizer(str(of_a_file), tmp_path / "extras/tokenizer")
    bundled(tmp_path, variant, given_runtime, tokens, extras=tmp_path / "extras")
    dense = models.load_model(tmp_path / "train/model", trusted=[])
    with torch.inference_mode():
        expected = dense(tokens)[:, -1].numpy()
    np.testing.assert_allclose(wake(tmp_path / "bundle").run(tokens.numpy()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_before_the_model_is_read(tmp_path, config):
    config.model["root"], config.device = "/nowhere", "cuda:0"
    config.quantize.methods = []
    with pytest.raises(ConfigError, match="which cannot compute on device=cuda:0: torch can use 0 CUDA devices"):
        program("evaluate").main(Stage(tmp_path, config))
