"""The commands of docs/deploy.md, run as they stand there."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import overwinter.bundle as bundle_room
from overwinter import __version__, cli
from overwinter.bundle import store
from overwinter.cli.service import load_service
from overwinter.serving.worker.container_worker import is_container
from tests.support.bundles import READ

ROOT = Path(__file__).parents[2]


def commands():
    text = (ROOT / "docs" / "deploy.md").read_text()
    return [line for line in text.split("```console\n")[1].split("```")[0].splitlines() if line]


@pytest.mark.parametrize("line", commands())
def test_the_documented_commands_run(line, tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "outputs" / "hibernate" / "bundle").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bundle_room, "read_bundle", lambda _, keys, hold: READ, raising=False)
    published = SimpleNamespace(address="s3://models", resolve=lambda *_: (7, SimpleNamespace(digest="cd" * 32)))
    monkeypatch.setattr(store, "open_store", lambda address, keys: published)  # there is no such store
    program, *words = shlex.split(line)
    assert (program, cli.main(words)) == ("overwinter", 0)
    written, last = capsys.readouterr().out.strip().rsplit("\n", 1)
    assert last.startswith("Next: ")
    assert all((tmp_path / name).is_file() for name in written.splitlines())


def test_the_documented_image_is_built_as_the_command_itself_says(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "outputs" / "hibernate").mkdir(parents=True)
    (tmp_path / "outputs" / "hibernate" / f"overwinter-{__version__}-py3-none-any.whl").touch()
    (tmp_path / "signer.pub").write_text("a key")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bundle_room, "read_bundle", lambda _, keys, hold: READ, raising=False)
    lines = (ROOT / "docs" / "deploy.md").read_text().split("```console\n")[2].split("```")[0].splitlines()
    rendering = next(line for line in lines if line.startswith("overwinter deploy"))
    assert cli.main(shlex.split(rendering)[1:]) == 0
    build, run = (line for line in lines if line.startswith("podman"))
    output = capsys.readouterr().out.splitlines()[-1]
    assert output == f"Next: {build.replace('outputs/', f'{tmp_path}/outputs/')}, then {run}"


def test_the_documented_launcher_begins_a_container(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()  # a project
    monkeypatch.chdir(tmp_path)
    block = (ROOT / "docs" / "deploy.md").read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / block.splitlines()[0].removeprefix("# ")).write_text(block)
    assert is_container(load_service(["serve=contained"]).serve.worker.launcher)
