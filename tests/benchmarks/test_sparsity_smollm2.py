"""The benchmark of the pruned language model measures what the case does, not settings of its own."""

import pytest

SCOPES = {"wanda": "row", "sparsegpt": "layer"}


def test_the_methods_are_the_cases(load_benchmark):
    pytest.importorskip("transformers", reason="the extra llm is not installed")
    benchmark = load_benchmark("sparsity_smollm2")
    for name in ("wanda_50", "sparsegpt_2_4_swaps"):
        score, _, pattern = name.removesuffix("_swaps").partition("_")
        config = benchmark.METHODS[name].config()
        assert (config.score, config.scope) == (score, SCOPES[score])
        assert config.pattern == {"50": "unstructured", "2_4": "2:4"}[pattern]
        assert config.swaps == (benchmark.SWAPS if name.endswith("_swaps") else 0)
        assert (config.amount, config.calibration_samples, config.calibration_text) == (0.5, 64, "data")
