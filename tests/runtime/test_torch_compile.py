import numpy as np
import pytest
import torch
import torch._inductor.config as inductor

from overwinter import runtime
from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import load_description
from overwinter.runtime.torch_compile import missing_compiler
from tests.support.building import build

INPUTS = np.random.default_rng(0).standard_normal((7, 1, 8, 8)).astype(np.float32)


@pytest.mark.special
@pytest.mark.slow
@pytest.mark.skipif(missing_compiler() is not None, reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_answers_like_torch_and_leaves_no_setting_changed(saved, tmp_path):
    before = inductor.freezing
    build(saved, "torch-compile", tmp_path / "built", trusted=[])
    compiled = runtime.open_session(tmp_path / "built", "torch-compile", 1)
    eager = runtime.open_session(tmp_path / "built", "torch", 1)
    assert inductor.freezing == before
    for size in (1, 2, 7):
        np.testing.assert_allclose(compiled.run(INPUTS[:size]), eager.run(INPUTS[:size]), atol=1e-5)


def test_a_response_out_of_tolerance_is_refused(saved, tmp_path, monkeypatch):
    class Astray(torch.nn.Module):
        def forward(self, inputs):
            return torch.ones(len(inputs), 3)

    monkeypatch.setattr("overwinter.runtime.torch_compile.missing_compiler", lambda: None)
    monkeypatch.setattr("overwinter.runtime.torch_compile._compiled", lambda *_: Astray())
    with pytest.raises(OverwinterError, match="compiled module's outputs differ from torch's"):
        build(saved, "torch-compile", tmp_path / "built", trusted=[])


def test_without_a_compiler_it_is_unavailable_and_says_why(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "C++ compiler" in runtime.find_runtime("torch-compile").refusal(load_description(saved))
    with pytest.raises(ConfigError, match=r"C\+\+ compiler"):
        runtime.open_session(saved, "torch-compile", 1)
    with pytest.raises(ConfigError, match=r"'torch-compile' cannot run the variant 'dense'.*C\+\+ compiler"):
        build(saved, "torch-compile", tmp_path / "built", trusted=[])
