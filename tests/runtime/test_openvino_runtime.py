import subprocess
import sys

import numpy as np
import onnx
import pytest

from overwinter import runtime
from overwinter.errors import ConfigError, IntegrityError, OverwinterError
from overwinter.models import load_description
from tests.support.building import build

pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
pytestmark = pytest.mark.special

INPUTS = np.random.default_rng(0).standard_normal((5, 1, 8, 8)).astype(np.float32)


def test_it_answers_like_torch_at_any_batch_size(saved, tmp_path):
    outputs = {}
    for name in ("torch", "openvino"):
        build(saved, name, tmp_path / name, trusted=[])
        session = runtime.open_session(tmp_path / name, name, 1)
        outputs[name] = [session.run(INPUTS[:size]) for size in (1, 5)]
    for own, expected in zip(outputs["openvino"], outputs["torch"], strict=True):
        assert own.dtype == np.float32
        np.testing.assert_allclose(own, expected, atol=1e-5)


def test_a_response_is_not_overwritten_by_the_next(saved, tmp_path):
    build(saved, "openvino", tmp_path / "built", trusted=[])
    session = runtime.open_session(tmp_path / "built", "openvino", 1)
    first = session.run(INPUTS[:1])
    kept = first.copy()
    session.run(INPUTS[1:2])
    np.testing.assert_array_equal(first, kept)


def test_opening_imports_no_torch(saved, tmp_path):
    build(saved, "openvino", tmp_path / "built", trusted=[])
    code = (
        "import sys; from pathlib import Path; from overwinter import runtime;"
        "runtime.open_session(Path(sys.argv[1]), 'openvino', 1); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "built")], check=True)


def test_a_response_out_of_tolerance_is_refused(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("overwinter.runtime.openvino_runtime.TOLERANCE", -1.0)
    with pytest.raises(OverwinterError, match="OpenVINO's outputs differ"):
        build(saved, "openvino", tmp_path / "built", trusted=[])


def test_an_operator_that_openvino_lacks_is_named_with_its_layer(saved, tmp_path, monkeypatch):
    def write_foreign(_saved, out, _examples, **_):
        value = onnx.helper.make_tensor_value_info
        node = onnx.helper.make_node("Foreign", ["x"], ["y"], name="/body/body.1/Foreign", domain="elsewhere")
        ends = ([value("x", 1, ["batch", 4])], [value("y", 1, ["batch", 4])])
        graph = onnx.helper.make_graph([node], "graph", *ends)
        onnx.save(onnx.helper.make_model(graph), out / "model.onnx")

    monkeypatch.setattr("overwinter.runtime.openvino_runtime.write_onnx", write_foreign)
    with pytest.raises(ConfigError, match=r"OpenVINO cannot run this model: Foreign of layer body\.1\. "):
        build(saved, "openvino", tmp_path / "built", trusted=[])


def test_a_broken_file_is_an_integrity_error(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(IntegrityError, match="cannot be loaded by OpenVINO"):
        runtime.open_session(tmp_path, "openvino", 1)


def test_no_thread_at_all_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="threads=0"):
        runtime.open_session(tmp_path, "openvino", 0)


def test_without_the_extra_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match=r"pip install 'overwinter\[openvino\]'"):
        runtime.open_session(tmp_path, "openvino", 1)


def test_it_refuses_what_has_no_onnx_variant(saved):
    torchao = load_description(saved) | {"quantization": {"method": "int8_dynamic"}}
    assert "OpenVINO" in runtime.find_runtime("openvino").refusal(torchao)
