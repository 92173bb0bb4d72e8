"""Results that are kept until DVC has committed them: whole ones are taken once more, nothing else ever is."""

import hashlib
import json
import os
import shutil

import pytest

from overwinter.config import Project
from overwinter.files import digest, tree_digest
from overwinter.pipeline import finished
from overwinter.pipeline.finished import FinishedWork, artifact_digest, described, forget_committed
from overwinter.pipeline.locks import locked_in_turn
from overwinter.pipeline.outputs import Outputs

KEY, OTHER = "a" * 64, "b" * 64
ROW = {"id": "1", "stage": "train"}


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(root=tmp_path, configs=tmp_path / "configs", config_name="config")


def _work(project, *, key=KEY, result=KEY, stage="train"):
    return FinishedWork(project=project, stage=stage, configuration_key=key, result_key=result)


def _staged(project, text="weights"):
    outputs = Outputs(project.outputs / "train")
    (outputs.staging("model") / "deep").mkdir()
    (outputs.staging("model") / "deep" / "weights").write_text(text)
    outputs.staging("energy.json").write_text(json.dumps({"text": text}))
    return outputs


def _keep(project, **names):
    outputs = _staged(project, names.pop("text", "weights"))
    staged = outputs.complete()
    work = _work(project, **names)
    work.keep(staged, described(staged), ROW)
    return outputs, work


def test_a_kept_result_is_published_as_it_was_and_stays_until_it_is_committed(project):
    outputs, work = _keep(project)
    outputs.discard()  # killed before it published
    for _ in range(2):
        shutil.rmtree(project.outputs, ignore_errors=True)  # as DVC does before it runs a stage
        assert work.find() == ROW
        work.take(Outputs(project.outputs / "train"))
        assert (project.outputs / "train/model/deep/weights").read_text() == "weights"
        assert sorted(os.listdir(project.outputs / "train")) == ["energy.json", "model"]


def test_big_files_are_linked_and_not_copied(project):
    outputs, work = _keep(project)
    outputs.publish()
    kept = work.folder / "outputs/model/deep/weights"
    assert kept.samefile(project.outputs / "train/model/deep/weights")


def test_where_links_are_impossible_files_are_copied(project, monkeypatch):
    def no_links(*_args):
        raise OSError(finished.errno.EXDEV, "another file system")

    monkeypatch.setattr(finished.os, "link", no_links)
    _, work = _keep(project)
    assert work.find() == ROW
    assert (work.folder / "outputs/model/deep/weights").stat().st_nlink == 1


def test_other_dependencies_than_it_was_made_of_do_not_get_it(project):
    _keep(project, result=KEY)
    assert _work(project, result=OTHER).find() is None
    assert _work(project, result=KEY).find() is None  # one result per configuration: the old one is gone


@pytest.mark.parametrize("damage", ["altered", "missing", "more", "no marker", "marker"])
def test_a_result_that_is_not_whole_is_never_taken(project, damage):
    _, work = _keep(project)
    weights, marker = work.folder / "outputs/model/deep/weights", work.folder / "finished.json"
    if damage == "altered":
        weights.unlink()
        weights.write_text("Weights")
    elif damage == "missing":
        weights.unlink()
    elif damage == "more":
        weights.with_name("more").touch()
    elif damage == "no marker":
        marker.unlink()
    else:
        marker.write_text(marker.read_text()[:-10])
    assert work.find() is None
    assert not work.folder.exists()


def _commit(project, work):
    md5 = hashlib.md5((work.folder / "outputs/energy.json").read_bytes(), usedforsecurity=False).hexdigest()
    (project.root / "dvc.lock").write_text(f"outs:\n- path: outputs/train/energy.json\n  md5: {md5}\n")


def test_a_result_that_is_committed_is_removed_with_its_checkpoints(project):
    _, work = _keep(project)
    checkpoints = project.state / "checkpoints" / work.folder.name
    checkpoints.mkdir(parents=True)
    forget_committed(project)
    assert work.find() == ROW
    _commit(project, work)
    forget_committed(project)
    assert not work.folder.exists()
    assert not checkpoints.exists()


def test_who_runs_a_committed_stage_again_gets_it_run(project):
    _, work = _keep(project)
    _commit(project, work)
    assert work.find() is None


def test_a_result_that_a_stage_works_on_stays(project):
    _, work = _keep(project)
    _commit(project, work)
    with locked_in_turn(finished.work_lock(project.state, work.folder.name), on_wait=print):
        forget_committed(project)
    assert work.folder.exists()


def test_leftovers_are_bounded_in_number_and_size_and_the_latest_stays(project, monkeypatch):
    monkeypatch.setattr(finished, "_MOST", 3)
    for number in range(5):
        _keep(project, key=f"{number}" * 64)[0].publish()
    names = [f"train-{str(number) * 16}" for number in range(5)]
    assert sorted(os.listdir(project.state / "finished")) == names[2:]
    monkeypatch.setattr(finished, "_MOST_BYTES", 1)
    _keep(project, key=KEY)
    assert os.listdir(project.state / "finished") == [f"train-{KEY[:16]}"]


@pytest.mark.parametrize("prefix", [".part-", ".gone-"])
def test_what_a_kill_left_half_kept_is_removed(project, prefix):
    half = project.state / "finished" / f"{prefix}train-{OTHER[:16]}"
    half.mkdir(parents=True)
    _keep(project)
    assert not half.exists()


def test_locks_that_a_kill_left_are_removed_and_those_in_use_stay(project):
    free, used = (finished.work_lock(project.state, f"train-{key[:16]}") for key in (OTHER, KEY))
    with locked_in_turn(used, on_wait=print):
        for left in (free, project.state / "locks" / "train.lock"):
            left.touch()
        _keep(project)
        assert sorted(os.listdir(project.state / "locks")) == [used.name, "train.lock"]


def test_the_digest_of_an_artifact_is_that_of_its_trees(project):
    outputs = _staged(project)
    (outputs.staging("model") / "__pycache__").mkdir()
    (outputs.staging("model") / "__pycache__" / "x.pyc").touch()
    found = artifact_digest(["model", "energy.json"], described(outputs.complete()))
    outputs.publish()
    folder = project.outputs / "train"
    assert found == digest({name: tree_digest(folder / name) for name in ("model", "energy.json")})
