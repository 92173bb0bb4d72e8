"""The benchmark of the 4-bit language model measures what the case does, not settings of its own."""

import copy
from pathlib import Path

import pytest
import torch

from overwinter.config import Project, compose, validate
from overwinter.models import integer_layers
from overwinter.quantization import Recipe
from tests.support.decoders import decoder

ROOT = Path(__file__).parents[2]


def test_the_distilled_variant_is_the_cases(load_benchmark):
    pytest.importorskip("transformers", reason="the extra llm is not installed")
    benchmark = load_benchmark("quantization_smollm2")
    project = Project(root=ROOT / "pipelines/smollm2", configs=ROOT / "configs", config_name="smollm2")
    config = validate(compose(project, ["quantize=int4_distilled"]))
    settings, measured = config.quantize, benchmark.METHODS["int4_distilled"].scale_distillation
    assert vars(settings.scale_distillation).items() <= vars(measured).items()
    assert (settings.calibration_samples, settings.written_windows) == (benchmark.CALIBRATION, 16)
    assert settings.methods == ["int4_gptq"]
    assert config.data["windows"]["train"] >= settings.calibration_samples


def test_a_method_leaves_integer_layers_that_predict(load_benchmark, tmp_path):
    pytest.importorskip("transformers", reason="the extra llm is not installed")
    benchmark = load_benchmark("quantization_smollm2")
    dense = decoder("llama")
    model, calibration = copy.deepcopy(dense), torch.arange(32).reshape(2, 16)
    work = benchmark.Work(keep=tmp_path / "kept")
    benchmark.Ours(recipe=Recipe(solver="nearest", grid=benchmark.INT8))(work, model, dense, calibration)
    assert set(integer_layers(model)) == set(benchmark.smollm2.block_layers(dense))
    assert torch.allclose(model(calibration), dense(calibration), atol=0.05)
