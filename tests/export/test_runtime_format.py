"""Models that are no language models: the file that the runtime's `build` writes."""

import numpy as np
import pytest

from overwinter.errors import ConfigError
from overwinter.export import export, open_source


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_saved_model_is_built_for_the_runtime(saved, tmp_path, name):
    if name == "openvino":
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
    exported = export(open_source(str(saved)), name, tmp_path / "out")
    assert (exported.divergence_nats, exported.read_by) == (None, None)
    assert set(exported.files) == {"model.onnx"}


def test_any_onnx_program_runs_it(saved, tmp_path):
    import onnxruntime
    import torch

    from overwinter.models import load_model

    export(open_source(str(saved)), "onnx", tmp_path / "out")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    samples = np.random.default_rng(0).standard_normal((5, 1, 8, 8)).astype(np.float32)
    (given,) = session.get_inputs()
    with torch.inference_mode():
        expected = load_model(saved, trusted=[])(torch.from_numpy(samples)).numpy()
    np.testing.assert_allclose(session.run(None, {given.name: samples})[0], expected, rtol=1e-4, atol=1e-5)


def test_a_bundle_of_the_runtime_is_copied(hibernate, tmp_path):
    bundle = hibernate("onnxruntime")
    export(open_source(str(bundle.folder)), "onnx", tmp_path / "out")
    assert (tmp_path / "out" / "model.onnx").read_bytes() == (bundle.folder / "payload" / "model.onnx").read_bytes()


def test_a_bundle_of_another_runtime_is_built_from_its_weights_or_refused(hibernate, tmp_path):
    bundle = hibernate("onnxruntime")
    with pytest.raises(ConfigError, match="holds what onnxruntime runs and no weights, so no files of openvino"):
        export(open_source(str(bundle.folder)), "openvino", tmp_path / "out")


def test_a_bundle_with_weights_is_built(hibernate, tmp_path):
    exported = export(open_source(str(hibernate("torch").folder)), "onnx", tmp_path / "out")
    assert set(exported.files) == {"model.onnx"}


@pytest.mark.parametrize("name", ["compressed-tensors", "gguf"])
def test_formats_of_language_models_refuse_it(saved, tmp_path, name):
    with pytest.raises(ConfigError, match="for language models"):
        export(open_source(str(saved)), name, tmp_path / "out")
