from __future__ import annotations

import argparse
import importlib.metadata
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import overwinter.bundle as bundle_room
from overwinter import cli
from overwinter.cli import deploy
from overwinter.deploy import Orchestrator
from overwinter.deploy.source import Source
from overwinter.errors import ConfigError, IntegrityError
from overwinter.registries import ORCHESTRATORS
from tests.support.bundles import READ

OWN = {
    "kubernetes": ["--image", "registry.example/model:1", "--hostname", "model.example.com"],
    "systemd": [],
    "cron": [],
    "container": ["--token", "token"],
}
FILES = {
    "kubernetes": {"kubernetes.yaml"},
    "systemd": {"forecast.socket", "forecast.service", "forecast-server.service"},
    "cron": {"forecast.crontab", "forecast.sh"},
    "container": {"Containerfile", "compose.yaml"},
}


@pytest.fixture
def bundle(monkeypatch, tmp_path):
    (tmp_path / "outputs" / "bundle").mkdir(parents=True)
    monkeypatch.setattr(bundle_room, "read_bundle", lambda _, keys, hold: READ, raising=False)
    return "outputs/bundle"


def deployed(*words):
    parser = argparse.ArgumentParser()
    deploy.add_arguments(parser)
    return deploy.run(parser.parse_args(list(words)))


@pytest.mark.parametrize("target", sorted(OWN))
def test_each_variant_writes_its_files(target, bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert deployed(target, bundle, "serve.port=9000", "--name", "forecast", *OWN[target]) == 0
    folder = tmp_path / "deploy" / target
    assert {file.name for file in folder.iterdir()} == FILES[target]
    assert all("cd" * 32 in file.read_text() for file in folder.iterdir())
    assert all(file.stat().st_mode & 0o111 for file in folder.glob("*.sh"))
    shown = capsys.readouterr().out
    assert all(f"deploy/{target}/{name}\n" in shown for name in FILES[target])
    assert "Next: " in shown


def test_paths_are_absolute_since_it_runs_elsewhere(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("secret")
    (tmp_path / "token").chmod(0o600)
    deployed("cron", bundle, "serve.access.token_file=token", "--output", "there")
    script = (tmp_path / "there" / "model.sh").read_text()
    assert f"{tmp_path}/outputs/bundle" in script
    assert f"{tmp_path}/token" in script
    assert f"{tmp_path}/there/model.sh start" in (tmp_path / "there" / "model.crontab").read_text()


def test_a_unit_of_a_checkout_sees_all_that_the_program_reads(bundle, tmp_path, monkeypatch):
    from overwinter.template import template_folder

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("overwinter.deploy.sandbox._HIDDEN", ("/",))
    deployed("systemd", bundle, "serve.port=9000")
    unit = (tmp_path / "deploy" / "systemd" / "model-server.service").read_text()
    needed = (Path(sys.prefix), Path(sys.executable).resolve().parents[1], template_folder() / "configs")
    assert [path for path in needed if f'BindReadOnlyPaths="{path}"\n' not in unit] == []


def test_machines_take_the_version_that_was_published(tmp_path, monkeypatch, capsys):
    from overwinter.bundle import store

    monkeypatch.chdir(tmp_path)
    opened = SimpleNamespace(address="/models", resolve=lambda name, which: (7, SimpleNamespace(digest="ab" * 32)))
    monkeypatch.setattr(store, "open_store", lambda address, keys: opened)
    words = ["--token-command", "cat /token", "--clients", "10.0.0.0/8", "--key", "command:get key"]
    assert deployed("vm", "models#digits", "serve.port=9000", "--name", "digits", *words) == 0
    assert {file.name for file in (tmp_path / "deploy/vm").iterdir()} == {"terraform.tfvars.json", "cloud-init.yaml"}
    assert f"/models#digits@sha256:{'ab' * 32}" in (tmp_path / "deploy/vm/cloud-init.yaml").read_text()
    assert "terraform -chdir=deploy/vm init" in capsys.readouterr().out


class Balloon(Orchestrator):
    summary = "a balloon"

    def __init__(self, colour):
        self.colour = colour

    @classmethod
    def add_arguments(cls, parser):
        parser.add_argument("--colour", default="red")

    @classmethod
    def from_arguments(cls, arguments):
        return cls(arguments.colour), Source(arguments.bundle, "ef" * 32)

    def render(self, deployment):
        return {"balloon.txt": f"{self.colour} {deployment.name} {deployment.digest}"}

    def next_step(self, deployment, folder):
        return f"fly {folder}"


def test_another_package_adds_an_orchestrator(tmp_path, monkeypatch, capsys):
    point = SimpleNamespace(name="balloon", value="elsewhere:Balloon", load=lambda: Balloon)
    offered = {ORCHESTRATORS.group: [point]}
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: offered.get(group, []))
    monkeypatch.chdir(tmp_path)
    assert deployed("balloon", "anything", "--colour", "blue", "--name", "digits") == 0
    assert (tmp_path / "deploy/balloon/balloon.txt").read_text() == f"blue digits {'ef' * 32}"
    assert capsys.readouterr().out == "deploy/balloon/balloon.txt\nNext: fly deploy/balloon\n"


def test_an_orchestrator_that_cannot_be_loaded_is_named(monkeypatch, capsys):
    broken = importlib.metadata.EntryPoint(name="broken", value="no_such:Thing", group=ORCHESTRATORS.group)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [broken])
    assert cli.main(["deploy", "--help"]) == 2
    assert "refers to no_such:Thing, which cannot be loaded" in capsys.readouterr().err


def test_other_groups_are_handed_on(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deployed("cron", bundle, "carbon=country", "serve.limits.queue=9")
    assert "serve.limits.queue=9 carbon=country" in (tmp_path / "deploy/cron/model.sh").read_text().replace(
        " serve.host=127.0.0.1 serve.port=8080", ""
    )


def test_a_port_that_changes_is_refused(bundle):
    with pytest.raises(ConfigError, match=r"serve\.port=0"):
        deployed("cron", bundle, "serve.port=0")


def test_a_bundle_that_is_not_one_is_refused(tmp_path):
    with pytest.raises((ConfigError, IntegrityError)):
        deployed("cron", str(tmp_path), "--output", str(tmp_path / "there"))
    assert not (tmp_path / "there").exists()


def test_an_image_named_by_its_tag_is_warned_of(bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["kubernetes", bundle, "--hostname", "model.example.com", "--image"]
    assert deployed(*words, "registry.example/model:1") == 0
    assert "Warning: The image registry.example/model:1 is named by a tag" in capsys.readouterr().err
    assert deployed(*words, f"registry.example/model@sha256:{'a' * 64}") == 0
    assert capsys.readouterr().err == ""
    with pytest.raises(ConfigError, match="is not an image name"):
        deployed(*words, "registry.example/model@sha256:12")


@pytest.mark.parametrize(
    "words",
    [
        ("--memory", "1G\nExecStartPre=/bin/true"),
        ("--memory", "much"),
        ("--memory", ""),
        ("--run-as", "model\nUser=root"),
        ("--run-as", "-model"),
    ],
)
def test_what_would_become_another_line_of_a_unit_is_refused(bundle, tmp_path, capsys, words):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["deploy", "systemd", str(bundle), "--output", str(tmp_path / "units"), *words])
    assert exit_.value.code == 2
    assert f"argument {words[0]}" in capsys.readouterr().err
    assert not (tmp_path / "units").exists()
