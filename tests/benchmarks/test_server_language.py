"""The bare scripts that a cold start is compared with compute what the server's runtime computes."""

import numpy as np
import pytest

from overwinter import runtime
from tests.support.building import build
from tests.support.decoders import decoder
from tests.support.networks import save_language_model

pytest.importorskip("transformers", reason="the extra llm is not installed")

NEEDS = {"llama-cpp": "llama_cpp", "onnxruntime": "onnxruntime_genai", "openvino": "openvino_genai"}
TOKENS = np.random.default_rng(0).integers(3, 32, size=(1, 9))


@pytest.mark.special
@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_a_bare_script_predicts_the_same(load_benchmark, tmp_path, name):
    pytest.importorskip(NEEDS[name], reason=f"the extra of {name} is not installed")
    bare = load_benchmark("server_language_bare")
    saved = save_language_model(tmp_path / "saved", decoder("llama"), length=20)
    reason = runtime.refusal(saved, name)
    if reason is not None:
        pytest.skip(reason)
    build(saved, name, tmp_path / "built", trusted=[])
    expected = runtime.open_language(tmp_path / "built", name, 1).run(TOKENS)
    # openvino-genai's own settings round the layers' inputs otherwise than ours.
    np.testing.assert_allclose(bare.NEXT[name](tmp_path / "built", TOKENS), expected[0], atol=5e-3)
