from types import SimpleNamespace

import fsspec

from overwinter.config import Project
from overwinter.data.local_files import remote_versions
from overwinter.files import write_json
from overwinter.pipeline.plan import _changed_parameters, _moved, _own_reasons
from overwinter.pipeline.render import versions_out


def test_only_declared_parameters_count_and_the_whole_file_counts_all():
    locked = {"params": {"params.yaml": {"train": {"epochs": 1}, "data.root": "x"}}}
    now = {"train": {"epochs": 1}, "data": {"root": "y"}, "other": 2}
    assert _changed_parameters(["train"], locked, now) == []
    assert _changed_parameters(["data.root"], locked, now) == ['data.root: "x" -> "y"']
    whole = {"params": {"params.yaml": {"train": {"epochs": 1}, "other": 1, "data": {"root": "y"}}}}
    assert _changed_parameters([{"params.yaml": None}], whole, now) == ["other: 1 -> 2"]


def _reasons(changed, **stage):
    stage = {"cmd": "python a.py", "deps": ["a.py", "outputs/b/model"], "outs": ["outputs/c"], **stage}
    locked = {"cmd": "python a.py", "deps": [{"path": "a.py"}, {"path": "outputs/b/model"}]}
    return _own_reasons(stage, locked, changed, {}, {"outputs/b/model": "b"})


def test_files_count_by_content_and_results_of_other_stages_do_not():
    assert _reasons({}) == []
    assert _reasons({"a.py": "modified", "outputs/b/model": "modified"}) == ["a.py is modified"]
    assert _reasons({"outputs/c": "deleted"}) == ["outputs/c is deleted"]


def test_a_new_command_or_dependency_is_a_reason():
    assert _reasons({}, cmd="python b.py") == ["its command is now `python b.py`"]
    assert _reasons({}, deps=["a.py", "new.csv"]) == ["new.csv is a new dependency"]
    assert _own_reasons({}, None, {}, {}, {}) == ["has not run yet"]


def test_data_that_changed_at_its_address_is_a_reason(tmp_path):
    files = fsspec.filesystem("memory")
    files.pipe("/plan/a.csv", b"1")
    project = Project(root=tmp_path, configs=tmp_path, config_name="config")
    config = SimpleNamespace(data={"_target_": "mine.Data", "root": "memory://plan"}, model={})
    out = versions_out("data")
    write_json(tmp_path / out, remote_versions(config)["data"])
    assert _moved(config, project) == {out: []}
    files.pipe("/plan/a.csv", b"2")
    assert _moved(config, project) == {out: ["memory://plan is modified"]}
