import pytest

from overwinter import runtime
from overwinter.errors import ConfigError, IntegrityError, OverwinterError
from tests.support.building import build


def test_a_batch_size_used_as_a_constant_is_found_at_build_time(save_own, tmp_path):
    with pytest.raises(OverwinterError, match="batch size"):
        build(save_own("FixedBatch"), "onnxruntime", tmp_path / "built", trusted=["nets_to_run"])


def test_a_branch_frozen_by_tracing_is_found_at_build_time(save_own, tmp_path):
    with pytest.raises(OverwinterError, match=r"differ from torch's.*\n.*branch"):
        build(save_own("Branching"), "onnxruntime", tmp_path / "built", trusted=["nets_to_run"])


@pytest.mark.parametrize(
    ("name", "where"), [("Unexportable", r"layer body\.1"), ("OwnUnexportable", r"its own forward\(\)")]
)
def test_an_operator_that_onnx_lacks_is_named_with_its_layer(save_own, tmp_path, capfd, name, where):
    with pytest.raises(ConfigError, match=rf"{name} cannot be exported to ONNX: {where}: .*bessel"):
        build(save_own(name), "onnxruntime", tmp_path / "built", trusted=["nets_to_run"])
    assert capfd.readouterr() == ("", "")


def test_a_broken_file_is_an_integrity_error(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(IntegrityError, match="cannot be loaded by ONNX Runtime"):
        runtime.open_session(tmp_path, "onnxruntime", 1)


def test_no_thread_at_all_is_refused(saved, tmp_path):
    build(saved, "onnxruntime", tmp_path, trusted=[])
    with pytest.raises(ConfigError, match="threads=0"):
        runtime.open_session(tmp_path, "onnxruntime", 0)
