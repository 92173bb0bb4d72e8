"""The benchmark of the 4-bit language model measures what the case does, not settings of its own."""

from pathlib import Path

import pytest

from overwinter.config import Project, compose, validate

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
