"""What Git does for a sweep."""

import pytest

from overwinter.config import find_project
from overwinter.errors import ConfigError
from overwinter.sweep.repository import find_repository
from tests.sweep.conftest import git


def test_files_are_those_that_git_tracks_and_new_ones_but_not_ignored_ones(project):
    (project.root / "new.txt").write_text("new")
    (project.root / "data").mkdir()
    (project.root / "data" / "big").write_text("ignored")
    files = find_repository(project).files()
    assert {"new.txt", "stages/train.py", ".dvc/config"} <= set(files)
    assert not any(path.startswith("data") for path in files)


def test_a_folder_without_git_or_without_a_commit_is_refused_with_the_remedy(project, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (project.root / ".git").rename(tmp_path / "git")
    with pytest.raises(ConfigError, match="git init"):
        find_repository(project)
    git(project.root, "init", "-q")
    with pytest.raises(ConfigError, match="no commit yet"):
        find_repository(project)


def test_an_experiment_is_a_commit_that_starts_from_the_present_one(project, tmp_path):
    repository = find_repository(project)
    tree = tmp_path / "tree"
    (tree / "stages").mkdir(parents=True)
    (tree / "stages" / "train.py").write_text("print('other')\n")
    (tree / "link").symlink_to("/nowhere")
    (tree / ".dvc").mkdir()
    (tree / ".dvc" / "config.local").write_text("a secret")
    commit = repository.save("point-1", tree, message="seed=1", without=["link"])
    assert repository.experiment("point-1") == commit
    assert repository.experiment("point-2") is None
    assert git(project.root, "rev-parse", f"{commit}^") == repository.head
    assert git(project.root, "show", f"{commit}:stages/train.py") == "print('other')"
    kept = git(project.root, "ls-tree", "-r", "--name-only", commit).splitlines()
    assert "link" not in kept
    assert ".dvc/config.local" not in kept
    assert git(project.root, "status", "--short") == ""  # the user's own index is untouched


def test_a_second_experiment_from_the_same_tree_has_its_changes_and_survives_a_killed_git(project, tmp_path):
    repository, tree = find_repository(project), tmp_path / "tree"
    tree.mkdir()
    (tree / "params.yaml").write_text("seed: 1\n")
    repository.save("point-1", tree, message="1")
    (tmp_path / "tree.index.lock").write_text("")
    (tmp_path / "tree.index").write_bytes((tmp_path / "tree.index").read_bytes()[:20])
    (tree / "params.yaml").write_text("seed: 2\n")
    commit = repository.save("point-1", tree, message="2")
    assert git(project.root, "show", f"{commit}:params.yaml") == "seed: 2"
    assert repository.experiment("point-1") == commit


def test_a_project_may_be_a_folder_of_the_repository(project):
    inner = project.root / "pipelines" / "inner"
    (inner / ".dvc").mkdir(parents=True)
    (inner / ".dvc" / "config").write_text("[hydra]\n    config_dir = ../../configs\n")
    repository = find_repository(find_project(inner))
    assert repository.top == project.root
    assert "pipelines/inner/.dvc/config" in repository.files()


def lock(amount, *, check="  check:\n    cmd: python stages/check.py\n"):
    return f"schema: '2.0'\nstages:\n{check}  sparsify:\n    amount: {amount}\n"


def test_an_experiment_that_has_the_same_files_is_not_written_again(project, tmp_path):
    repository, tree = find_repository(project), tmp_path / "tree"
    tree.mkdir()
    (tree / "dvc.lock").write_text(lock(0.7))
    (tree / "params.yaml").write_text("seed: 1\n")
    first = repository.save("point-1", tree, message="one sweep")
    (tree / "dvc.lock").write_text(lock(0.7, check=""))
    assert repository.save("point-1", tree, message="another sweep") == first
    assert repository.experiment("point-1") == first
    (tree / "dvc.lock").write_text(lock(0.5))
    second = repository.save("point-1", tree, message="another result")
    (tree / "params.yaml").write_text("seed: 2\n")
    assert repository.save("point-1", tree, message="another file") not in (first, second)
    assert second != first
