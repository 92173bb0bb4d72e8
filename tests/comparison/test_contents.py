"""What a side consists of, and what is said about files that are missing, old or of another version."""

import hashlib
import json

import pytest
import yaml

from overwinter.comparison.contents import read_side
from overwinter.comparison.sides import dvc_cache, open_side
from overwinter.comparison.sources import Workspace


def read(recorded, fetch=lambda md5: None):
    return read_side(Workspace(project=recorded.project), fetch)


def test_a_run_has_its_stages_in_the_order_of_the_pipeline(recorded):
    recorded.record("one")
    side = read(recorded)
    assert list(side.energy) == ["train", "sparsify", "evaluate"]
    assert list(side.models) == ["train", "sparsify"]
    assert side.evaluation_stage == "evaluate"
    assert side.setting("train.epochs") == 16
    assert side.stale == ()


def test_stages_are_found_without_parameters(recorded):
    recorded.record("one")
    (recorded.root / "params.yaml").unlink()
    side = read(recorded)
    assert sorted(side.energy) == ["evaluate", "sparsify", "train"]
    assert side.params is None
    assert any("params.yaml is missing" in note for note in side.notes)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "x: &a [*a]"])
def test_parameters_that_cannot_be_read_are_reported(recorded, text):
    recorded.record("one")
    recorded.write("params.yaml", text)
    side = read(recorded)
    assert side.params is None
    assert any("params.yaml cannot be read" in note for note in side.notes)


def test_files_of_another_version_are_left_out_by_name(recorded):
    recorded.record("one")
    recorded.write("outputs/train/energy.json", {"schema": 1, "energy_j": 3.0})
    recorded.write("outputs/evaluate/metrics.json", {"dense": {}, "chosen": {}, "pays": True})
    recorded.write("outputs/sparsify/metrics.json", "not json")
    side = read(recorded)
    assert list(side.energy) == ["sparsify", "evaluate"]
    assert side.evaluation is None
    text = "\n".join(side.notes)
    assert "another version wrote it: outputs/train/energy.json lacks duration_s" in text
    assert "outputs/evaluate/metrics.json lacks saving" in text
    assert "outputs/sparsify/metrics.json is not JSON" in text


def test_a_record_without_a_machine_is_read(recorded):
    recorded.record("one")
    recorded.energy("train", "one", machine=None)
    assert read(recorded).energy["train"].machine is None


def test_a_refused_run_is_reported(recorded):
    recorded.record("one")
    recorded.write("outputs/sparsify/gate_report.json", {"passed": False})
    assert "workspace: the gate after sparsify refused this run" in read(recorded).notes


def test_outputs_of_other_parameters_are_stale(recorded):
    recorded.record("one")
    recorded.write("params.yaml", yaml.safe_dump(recorded.params | {"train": {"epochs": 4}}, sort_keys=False))
    side = read(recorded)
    assert len(side.stale) == 1
    assert "params.yaml has changed since the outputs were made (train.epochs: 16 -> 4)" in side.stale[0]
    assert side.stale[0] in side.notes


def test_parameters_that_no_measured_stage_depends_on_make_nothing_stale(recorded):
    recorded.record("one")
    recorded.write("params.yaml", yaml.safe_dump(recorded.params | {"budget": {"total": "1 J"}}, sort_keys=False))
    assert read(recorded).stale == ()


def test_an_evaluation_of_an_earlier_model_is_stale(recorded):
    recorded.record("one")
    lock = yaml.safe_load((recorded.root / "dvc.lock").read_text())
    lock["stages"]["train"]["outs"][0]["md5"] = "2"
    recorded.write("dvc.lock", yaml.safe_dump(lock))
    assert [note.partition(";")[0] for note in read(recorded).stale] == [
        "workspace: sparsify has not run since train did",
        "workspace: evaluate has not run since train did",
    ]


def with_comparison(recorded, content):
    """Note in dvc.lock that evaluate wrote comparison.json, and return its MD5."""
    md5 = hashlib.md5(content).hexdigest()
    lock = yaml.safe_load((recorded.root / "dvc.lock").read_text())
    lock["stages"]["evaluate"]["outs"] = [{"path": "outputs/evaluate/comparison.json", "md5": md5}]
    recorded.write("dvc.lock", yaml.safe_dump(lock))
    return md5


CONTENT = json.dumps({"candidates": {"int8@onnxruntime": {"f1_macro": 0.5}}}).encode()


def test_all_figures_come_from_dvcs_cache(recorded):
    recorded.record("one")
    md5 = with_comparison(recorded, CONTENT)
    recorded.commit("cached")
    missing = open_side(recorded.project, "cached", recorded.ledger)
    assert missing.candidates is None
    assert any("comparison.json is not at hand" in note for note in missing.notes)
    recorded.write(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}", CONTENT.decode())
    found = open_side(recorded.project, "cached", recorded.ledger)
    assert found.candidates == {"int8@onnxruntime": {"f1_macro": 0.5}}


@pytest.mark.parametrize("damaged", [b"{}", b'{"candidates": 3}', b"\xff"])
def test_a_damaged_file_of_the_cache_is_not_read(recorded, damaged):
    recorded.record("one")
    with_comparison(recorded, CONTENT)
    assert read(recorded, lambda md5: damaged).candidates is None
    assert read(recorded, lambda md5: CONTENT).candidates is not None


def test_a_cache_elsewhere_is_found_by_dvc(recorded, tmp_path):
    place = tmp_path / "elsewhere"
    (recorded.root / ".dvc" / "config").write_text(f"[core]\n    analytics = false\n[cache]\n    dir = {place}\n")
    md5 = hashlib.md5(CONTENT).hexdigest()
    file = place / "files" / "md5" / md5[:2] / md5[2:]
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    fetch = dvc_cache(recorded.root)
    assert fetch(md5) == CONTENT
    assert fetch("0" * 32) is None


def test_a_stage_is_no_path_out_of_the_outputs(recorded):
    recorded.record("one")
    stages = {"../../secret": {"needs": []}, "a\nb": {}, "train": {"needs": []}, 3: None}
    recorded.write("params.yaml", yaml.safe_dump({"pipeline": {"stages": stages}}))
    recorded.commit("hostile")
    assert list(open_side(recorded.project, "hostile", recorded.ledger).energy) == ["train"]
