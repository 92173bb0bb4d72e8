"""Worker trees."""

from pathlib import Path

import pytest

from overwinter.config import find_project
from overwinter.errors import ConfigError, IntegrityError
from overwinter.sweep.repository import find_repository
from overwinter.sweep.trees import copy_tree, make_tree


def made(project, *, anew=False):
    return make_tree(0, project, find_repository(project), cache=project.root / ".dvc" / "cache", anew=anew)


def test_a_tree_has_the_files_as_they_are_now_and_the_cache_of_the_project(project):
    (project.root / "stages" / "train.py").write_text("print('not committed')\n")
    (project.root / "new.txt").write_text("new")
    tree = made(project)
    assert (tree.top / "stages" / "train.py").read_text() == "print('not committed')\n"
    assert (tree.top / "new.txt").exists()
    local = (tree.top / ".dvc" / "config.local").read_text()
    assert f"dir = {project.root / '.dvc' / 'cache'}" in local
    assert "no_scm = true" in local
    assert tree.project.configs == tree.top / "configs"


def test_a_later_sweep_sees_changes_and_deletions_and_keeps_the_outputs(project):
    tree = made(project)
    (tree.top / "outputs" / "train").mkdir(parents=True)
    (tree.top / "outputs" / "train" / "model").write_text("weights")
    (tree.top / "dvc.lock").write_text("schema: '2.0'\n")
    (project.root / "stages" / "train.py").unlink()
    (project.root / "configs" / "config.yaml").write_text("seed: 1\n")
    tree = made(project)
    assert not (tree.top / "stages" / "train.py").exists()
    assert (tree.top / "configs" / "config.yaml").read_text() == "seed: 1\n"
    assert (tree.top / "outputs" / "train" / "model").exists()
    assert (tree.top / "dvc.lock").exists()


def test_a_tree_made_anew_has_nothing_of_the_one_before(project):
    tree = made(project)
    (tree.top / "outputs").mkdir()
    (tree.top / "outputs" / "broken").write_text("")
    tree = made(project, anew=True)
    assert not (tree.top / "outputs").exists()
    assert (tree.top / "stages" / "train.py").exists()


def test_the_users_own_local_settings_stay(project):
    (project.root / ".dvc" / "config.local").write_text("[cache]\n    type = symlink\n[core]\n    no_scm = false\n")
    local = (made(project).top / ".dvc" / "config.local").read_text()
    assert "type = symlink" in local
    assert "no_scm = true" in local


def test_large_files_are_links(project, monkeypatch):
    monkeypatch.setattr("overwinter.sweep.trees._LINKED_BYTES", 10)
    (project.root / "big.bin").write_bytes(b"x" * 20)
    tree = made(project)
    assert (tree.top / "big.bin").is_symlink()
    assert "big.bin" in tree.links
    assert "big.bin" in made(project).links  # also when the tree is used again


def test_ignored_files_of_configs_are_copied_because_their_digest_counts(project):
    (project.root / ".gitignore").write_text(".overwinter/\nconfigs/own.yaml\n")
    (project.root / "configs" / "own.yaml").write_text("seed: 3\n")
    assert (made(project).top / "configs" / "own.yaml").exists()


def test_a_project_in_a_folder_of_the_repository_keeps_its_place(project):
    inner = project.root / "pipelines" / "inner"
    (inner / ".dvc").mkdir(parents=True)
    (inner / ".dvc" / "config").write_text("[hydra]\n    config_dir = ../../configs\n")
    tree = made(find_project(inner))
    assert tree.top == inner / ".overwinter" / "sweeps" / "trees" / "0"
    assert tree.project.root == tree.top / "pipelines" / "inner"
    assert tree.project.configs == tree.top / "configs"
    assert (tree.top / "configs" / "config.yaml").exists()


def test_configs_outside_the_repository_are_refused(project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (project.root / ".dvc" / "config").write_text(f"[hydra]\n    config_dir = {tmp_path / 'elsewhere'}\n")
    with pytest.raises(ConfigError, match="outside the Git repository"):
        made(find_project(project.root))


LOCK = """schema: '2.0'
stages:
  check:
    cmd: python stages/check.py
    params:
      params.yaml:
        seed: 1
  train:
    cmd: python stages/train.py
"""


def test_the_check_of_another_point_leaves_the_lock_file(project):
    tree = made(project)
    path = tree.project.root / "dvc.lock"
    path.write_text(LOCK)
    tree.forget_check()
    assert path.read_text() == "schema: '2.0'\nstages:\n  train:\n    cmd: python stages/train.py\n"
    tree.forget_check()
    assert "train" in path.read_text()


def linked(project, monkeypatch, *paths):
    monkeypatch.setattr("overwinter.sweep.trees.rendered_stages", lambda config, main: {"train": {"deps": list(paths)}})
    tree = made(project)
    tree._link_missing(None)
    return tree


def test_data_that_git_ignores_is_a_link_into_the_project(project, monkeypatch):
    (project.root / "data").mkdir()
    (project.root / "data" / "rows.csv").write_text("1\n")
    tree = linked(project, monkeypatch, "data/rows.csv", "stages/train.py", "outputs/train/model", "data/missing")
    assert (tree.top / "data" / "rows.csv").read_text() == "1\n"
    assert tree.links == ["data/rows.csv"]
    assert not (tree.top / "stages" / "train.py").is_symlink()


def test_a_file_outside_the_repository_is_refused(project, monkeypatch):
    with pytest.raises(ConfigError, match="outside the Git repository"):
        linked(project, monkeypatch, "../elsewhere.csv")


@pytest.mark.parametrize("name", ["trees", "trees/0"])
def test_a_tree_behind_a_link_is_refused(project, tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    link = project.state / "sweeps" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="is a link"):
        made(project)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_copy_of_a_tree_has_its_files_links_and_settings_and_follows_it(project, monkeypatch):
    monkeypatch.setattr("overwinter.sweep.trees._LINKED_BYTES", 1000)
    (project.root / "big.bin").write_bytes(b"x" * 2000)
    cache = project.root / ".dvc" / "cache"
    source = make_tree("source-s", project, find_repository(project), cache=cache)
    copy = copy_tree(source, "node-0", cache=cache)
    assert (copy.top / "big.bin").is_symlink()
    assert copy.links == source.links == ["big.bin"]
    assert copy.project.root == copy.top
    assert copy.project.configs == copy.top / "configs"
    local = Path(".dvc", "config.local")
    assert (copy.top / local).read_text() == (source.top / local).read_text()
    (copy.top / "outputs").mkdir()
    (copy.top / "outputs" / "kept").write_text("")
    (source.top / "stages" / "train.py").unlink()
    (source.top / "new.txt").write_text("new")
    copy_tree(source, "node-0", cache=cache)
    assert not (copy.top / "stages" / "train.py").exists()
    assert (copy.top / "new.txt").exists()
    assert (copy.top / "outputs" / "kept").exists()
    copy_tree(source, "node-0", cache=cache, anew=True)
    assert not (copy.top / "outputs").exists()
