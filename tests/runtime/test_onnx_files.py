from __future__ import annotations

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from overwinter.errors import IntegrityError
from overwinter.runtime import OnnxSession, OpenVinoSession
from overwinter.runtime.onnx_files import FIELDS, external_files

NOWHERE = [
    "../w.data",
    "/etc/passwd",
    "sub/../../w.data",
    "none",
    "",
    ".",
    "*/_ORT_MEM_ADDR_/*",
    "a\\b",
    "..",
    "./../x",
]


def _outside(location: str) -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros((2, 2), np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("offset", "0"), ("location", location), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def _model(*, initializers=(), nodes=(), functions=()) -> onnx.ModelProto:
    names = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("input", "output")]
    nodes = [*nodes, helper.make_node("MatMul", ["input", "w"], ["output"])]
    graph = helper.make_graph(nodes, "g", names[:1], names[1:], list(initializers))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    made.functions.extend(functions)
    return made


def _in_a_branch(tensor):
    inner = helper.make_graph([], "inner", [], [], [tensor])
    return _model(nodes=[helper.make_node("If", ["input"], ["x"], then_branch=inner, else_branch=inner)])


def _in_a_function(tensor):
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    return _model(functions=[helper.make_function("d", "f", [], ["y"], [node], [helper.make_opsetid("", 17)])])


PLACES = {
    "a weight": lambda tensor: _model(initializers=[tensor]),
    "a constant": lambda tensor: _model(nodes=[helper.make_node("Constant", [], ["w"], value=tensor)]),
    "a branch": _in_a_branch,
    "a function": _in_a_function,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_file_is_found_wherever_it_is_named(tmp_path, place):
    (tmp_path / "w.data").write_bytes(bytes(16))
    (tmp_path / "model.onnx").write_bytes(PLACES[place](_outside("w.data")).SerializeToString())
    assert external_files(tmp_path / "model.onnx") == {"w.data": tmp_path / "w.data"}


@pytest.mark.parametrize("name", NOWHERE)
@pytest.mark.parametrize("session", [OnnxSession, OpenVinoSession])
def test_what_leads_out_is_refused(tmp_path, name, session):
    if session is OpenVinoSession:
        pytest.importorskip("openvino")
    (tmp_path / "model").mkdir()
    (tmp_path / "w.data").write_bytes(bytes(16))
    (tmp_path / "model" / "model.onnx").write_bytes(_model(initializers=[_outside(name)]).SerializeToString())
    with pytest.raises(IntegrityError, match="takes weights from"):
        session(tmp_path / "model" / "model.onnx", threads=1)


def test_a_file_in_the_working_directory_is_not_taken(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "w.data").write_bytes(bytes(16))
    (tmp_path / "model" / "model.onnx").write_bytes(_model(initializers=[_outside("w.data")]).SerializeToString())
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(IntegrityError, match="not a file in its folder"):
        OnnxSession(tmp_path / "model" / "model.onnx", threads=1)


@pytest.mark.parametrize("name", ["w.data", "./w.data", "sub/w.data"])
@pytest.mark.parametrize("session", [OnnxSession, OpenVinoSession])
def test_what_lies_beside_it_is_taken(tmp_path, name, session):
    if session is OpenVinoSession:
        pytest.importorskip("openvino")
    (tmp_path / "sub").mkdir()
    (tmp_path / name).write_bytes(np.array([[1, 2], [3, 4]], np.float32).tobytes())
    (tmp_path / "model.onnx").write_bytes(_model(initializers=[_outside(name)]).SerializeToString())
    outputs = session(tmp_path / "model.onnx", threads=1).run(np.ones((1, 2), np.float32))
    np.testing.assert_array_equal(outputs, [[4, 6]])


def test_a_later_spelling_of_a_location_is_found_too(tmp_path):
    """Protobuf takes the last of a field that is there twice."""
    tensor = _outside("w.data")
    tensor.external_data.add(key="location", value="/etc/passwd")
    (tmp_path / "w.data").write_bytes(bytes(16))
    (tmp_path / "model.onnx").write_bytes(_model(initializers=[tensor]).SerializeToString())
    with pytest.raises(ValueError, match="/etc/passwd"):
        external_files(tmp_path / "model.onnx")


def test_every_message_that_may_hold_a_tensor_is_known():
    """So that a new version of the format is not trusted unread."""
    known: dict[str, dict[int, str]] = {}

    def look(message):
        if message.name not in known:
            known[message.name] = {
                field.number: field.message_type.name for field in message.fields if field.message_type
            }
            for field in message.fields:
                if field.message_type:
                    look(field.message_type)

    look(onnx.ModelProto.DESCRIPTOR)
    leading = {"TensorProto"}
    while grown := {name for name, inner in known.items() if leading & set(inner.values())} - leading:
        leading |= grown
    expected = {
        name: {number: inner for number, inner in known[name].items() if inner in leading}
        for name in leading - {"TensorProto"}
    }
    assert expected | {"TensorProto": {13: "StringStringEntryProto"}} == FIELDS


@given(st.data())
def test_damage_is_reported_in_words(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "model.onnx"
    content = bytearray(_model(initializers=[_outside("w.data")]).SerializeToString())
    (path.parent / "w.data").write_bytes(bytes(16))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(ValueError):
        assert set(external_files(path)) <= {"w.data"}
