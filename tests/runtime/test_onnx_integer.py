import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from overwinter import models, runtime
from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import Grid, IntegerConv2d, IntegerLinear, integer_layers, integer_type, replace_layer
from overwinter.runtime import OnnxSession, largest_difference
from overwinter.runtime.onnx_export import export_onnx
from overwinter.runtime.onnx_integer import with_stand_ins
from overwinter.signature import Signature
from tests.support.building import build, drawn

INT8 = Grid(bits=8)
ASYMMETRIC = Grid(bits=8, symmetric=False)
INT4 = Grid(bits=4, group_size=32, symmetric=False)
ODD = Grid(bits=3, group_size=7)  # fits no block of MatMulNBits

BUILD = """
import sys
from pathlib import Path
from tests.support.building import build
out, *variants = map(Path, sys.argv[1:])
for variant in variants:
    build(variant, "onnxruntime", out / variant.name, trusted=[])
"""


def quantized(model: nn.Module, grid: Grid, activations: str | None) -> nn.Module:
    made = copy.deepcopy(model).eval()
    for name, layer in list(made.named_modules()):
        variant = integer_type(layer)
        if variant is not None:
            replace_layer(made, name, variant.from_float(layer, grid, activations=activations))
    for layer in integer_layers(made).values():
        if activations == "static":
            layer.set_activation_range(-4.0, 4.0)
    return made


def exported(model: nn.Module, shape: list[int], folder: Path, *, batch_ranges: bool = True) -> tuple[list[str], float]:
    """Operators of the graph, and the largest difference from torch's outputs at two batch sizes."""
    graph = export_onnx(
        with_stand_ins(model, batch_ranges=batch_ranges, products=True),
        drawn(shape),
        Signature.of_one(shape),
        integers=True,
    )
    path = folder / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    session, differences = OnnxSession(path, threads=1), []
    for batch in (1, 6):
        inputs = drawn(shape, batch)
        with torch.inference_mode():
            expected = model(torch.from_numpy(inputs)).numpy()
        differences.append(largest_difference(session.run(inputs), expected))
    return [node.op_type for node in graph.graph.node], max(differences)


def mlp(width: int = 64) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, 96), nn.GELU(), nn.Linear(96, 5, bias=False)).eval()


@pytest.mark.parametrize(
    ("grid", "activations", "operator"),
    [
        (INT8, None, "MatMulNBits"),
        (ASYMMETRIC, None, "MatMulNBits"),
        (INT4, None, "MatMulNBits"),
        (Grid(bits=4), None, "MatMulNBits"),
        (Grid(bits=3, group_size=16), None, "MatMulNBits"),
        (Grid(bits=5, group_size=48), None, "MatMulNBits"),
        (INT4, "dynamic", "MatMulNBits"),
        (INT8, "dynamic", "MatMulInteger"),
        (ASYMMETRIC, "dynamic", "MatMulInteger"),
        (INT8, "static", "DequantizeLinear"),
        (ASYMMETRIC, "static", "QuantizeLinear"),
        (INT4, "static", "MatMulNBits"),
        (ODD, None, "Cast"),
        (ODD, "static", "QuantizeLinear"),
    ],
)
def test_a_linear_layer_becomes_integer_operators(tmp_path, grid, activations, operator):
    operators, difference = exported(quantized(mlp(), grid, activations), [64], tmp_path)
    assert operators.count(operator) >= 2
    assert difference < 0.03


@pytest.mark.parametrize("grid", [INT8, INT4])
def test_tokens_have_ranges_of_their_own(tmp_path, grid):
    operators, difference = exported(quantized(mlp(), grid, "dynamic"), [3, 64], tmp_path)
    assert "MatMulInteger" not in operators
    assert difference < 0.03


@pytest.mark.parametrize("grid", [INT8, ASYMMETRIC, INT4, ODD])
@pytest.mark.parametrize("activations", [None, "dynamic", "static"])
@pytest.mark.parametrize(
    "geometry",
    [
        {"padding": 1, "stride": 2},
        {"padding": "same", "dilation": 2},
        {"padding": (1, 2), "padding_mode": "reflect"},
        {"groups": 2, "bias": False},
    ],
)
def test_a_convolution_answers_as_torch_does(tmp_path, grid, activations, geometry):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 6, 3, **geometry), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    _, difference = exported(quantized(net, grid, activations), [4, 9, 9], tmp_path)
    assert difference < (0.03 if activations == "dynamic" else 0.01)


@pytest.mark.parametrize("activations", [None, "dynamic", "static"])
def test_smoothing_is_part_of_the_graph(tmp_path, activations):
    torch.manual_seed(0)
    factors = torch.rand(4) * 3 + 0.2
    conv = IntegerConv2d.from_float(nn.Conv2d(4, 16, 3), INT8, activations=activations, smoothing=factors)
    linear = IntegerLinear.from_float(nn.Linear(16, 3), INT8, activations=activations, smoothing=torch.rand(16) + 0.5)
    if activations == "static":
        conv.set_activation_range(-8.0, 8.0)
        linear.set_activation_range(-4.0, 4.0)
    net = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear).eval()
    assert exported(net, [4, 6, 6], tmp_path)[1] < 0.03


@settings(max_examples=25)
@given(
    columns=st.integers(1, 70),
    bits=st.integers(2, 8),
    group_size=st.one_of(st.none(), st.integers(1, 80)),
    symmetric=st.booleans(),
)
def test_any_grid_keeps_its_weight(tmp_path_factory, columns, bits, group_size, symmetric):
    torch.manual_seed(columns)
    grid = Grid(bits=bits, group_size=group_size, symmetric=symmetric)
    layer = quantized(nn.Sequential(nn.Linear(columns, 8)), grid, None)
    assert exported(layer, [columns], tmp_path_factory.mktemp("grid"))[1] < 0.03


def save(model: nn.Module, config: dict, folder: Path) -> Path:
    models.save_model(
        folder, model, variant="int", model_config=config, signature=Signature.of_one([1, 8, 8]), lineage={}
    )
    return folder


@pytest.fixture
def integer_folder(saved, tmp_path):
    """A function that saves the ConvNet in integers."""
    config = models.load_description(saved)["model"]

    def make(activations: str | None = None, **options) -> Path:
        net = quantized(models.load_model(saved, trusted=[]), options.pop("grid", INT8), activations)
        for layer in integer_layers(net).values():
            layer.activation_bits = options.get("activation_bits", 8)
        return save(net, config, tmp_path / "integer")

    return make


@pytest.mark.parametrize("name", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.special)])
@pytest.mark.parametrize("activations", [None, "dynamic", "static"])
def test_a_saved_integer_model_is_built_and_answers(integer_folder, tmp_path, name, activations):
    if name == "openvino":
        pytest.importorskip("openvino")
    folder = integer_folder(activations)
    assert runtime.refusal(folder, name) is None
    inputs = np.random.default_rng(0).standard_normal((5, 1, 8, 8)).astype(np.float32)
    outputs = {}
    for each in ("torch", name):
        build(folder, each, tmp_path / each, trusted=[])
        outputs[each] = runtime.open_session(tmp_path / each, each, 1).run(inputs)
    assert largest_difference(outputs[name], outputs["torch"]) < 0.05
    operators = {node.op_type for node in onnx.load(tmp_path / name / "model.onnx").graph.node}
    assert ("MatMulInteger" in operators) == (name == "onnxruntime" and activations == "dynamic")
    assert ("MatMulNBits" in operators) == (
        (name, activations) not in {("onnxruntime", "dynamic"), ("openvino", "static")}
    )


def test_the_file_holds_codes_not_floats(integer_folder, saved, tmp_path):
    build(integer_folder(), "onnxruntime", tmp_path / "built", trusted=[])
    graph = onnx.load(tmp_path / "built" / "model.onnx").graph
    weights = sum(weight.numel() for weight in models.prunable_weights(models.load_model(saved, trusted=[])).values())
    codes = sum(int(np.prod(entry.dims)) for entry in graph.initializer if entry.data_type == onnx.TensorProto.UINT8)
    floats = sum(int(np.prod(entry.dims)) for entry in graph.initializer if entry.data_type == onnx.TensorProto.FLOAT)
    assert codes >= weights > floats


@pytest.mark.parametrize(
    ("differences", "operator"), [([0.0, 0.0], "MatMulInteger"), ([0.0, 1.0, 0.0, 0.0], "MatMulNBits")]
)
def test_where_one_range_per_batch_is_too_coarse_each_block_has_its_own(
    save_own, tmp_path, monkeypatch, differences, operator
):
    trusted = ["nets_to_run"]
    folder = save_own("Flat")
    config = models.load_description(folder)["model"]
    save(quantized(models.load_model(folder, trusted=trusted), INT8, "dynamic"), config, folder)
    found = iter(differences)
    monkeypatch.setattr("overwinter.runtime.onnx_runtime.largest_difference", lambda _own, _expected: next(found))
    build(folder, "onnxruntime", tmp_path / "built", trusted=trusted)
    assert next(found, None) is None
    assert operator in {node.op_type for node in onnx.load(tmp_path / "built" / "model.onnx").graph.node}


def test_answers_out_of_tolerance_are_refused(integer_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("overwinter.runtime.onnx_runtime.INTEGER_TOLERANCE", -1.0)
    with pytest.raises(OverwinterError, match="differ from torch's"):
        build(integer_folder("dynamic"), "onnxruntime", tmp_path / "built", trusted=[])


def test_activations_of_four_bits_are_refused_by_name(integer_folder, tmp_path):
    folder = integer_folder("dynamic", activation_bits=4)
    with pytest.raises(ConfigError, match=r"the layer \S+ has activations of 4 bits"):
        build(folder, "onnxruntime", tmp_path / "built", trusted=[])


def test_two_processes_build_the_same_bytes_silently(saved, integer_folder, tmp_path):
    variants = [saved, integer_folder("static", grid=INT8)]
    for seed in ("1", "2"):
        completed = subprocess.run(
            [sys.executable, "-W", "error", "-c", BUILD, str(tmp_path / seed), *map(str, variants)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
        )
        assert completed.stdout + completed.stderr == b"", "the exporter must be silent"
    for variant in variants:
        one, other = ((tmp_path / seed / variant.name / "model.onnx").read_bytes() for seed in ("1", "2"))
        assert one == other
