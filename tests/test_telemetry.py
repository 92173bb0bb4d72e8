"""No library sends telemetry."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import sys
from overwinter.runtime import OnnxSession
import onnx
from onnx import TensorProto, helper
ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2])] for name in ("x", "y")]
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "graph", *ends)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), sys.argv[1])
OnnxSession(sys.argv[1], threads=1)
"""


def test_onnx_runtime_reports_no_model(tmp_path):
    (tmp_path / "home").mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment = kept | {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "1",
    }
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "model.onnx")]
    subprocess.run(words, env=environment, check=True)
    assert not list((tmp_path / "home").rglob("*"))  # no machine identifier, no record to send
