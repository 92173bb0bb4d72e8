"""`overwinter doctor`: what it finds, as JSON, and its exit code."""

from __future__ import annotations

import json

from overwinter import cli
from overwinter.cli import doctor
from overwinter.cli.doctor import Finding


def test_a_machine_that_can_be_metered_passes(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)  # no project here: the template's settings
    assert cli.main(["doctor", "--json"]) == 0
    found = {finding["topic"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert found["self-test: cpu"]["good"]
    assert "with one core busy" in found["self-test: cpu"]["detail"]
    assert not found["project"]["good"]
    assert not found["project"]["required"]


def test_what_nothing_can_do_without_sets_the_exit_code(monkeypatch, capsys):
    fault = Finding(topic="self-test: cpu", good=False, detail="the meter stands still", required=True)
    monkeypatch.setattr(doctor, "_self_test", lambda: [fault])
    assert cli.main(["doctor"]) == 1
    assert "the meter stands still" in " ".join(capsys.readouterr().out.split())


def test_a_missing_package_is_named_with_its_remedy(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_PACKAGES", ("no-such-package",))
    monkeypatch.setattr(doctor, "_self_test", list)
    assert cli.main(["doctor", "--json"]) == 1
    missing = [each for each in json.loads(capsys.readouterr().out) if each["topic"] == "package: no-such-package"]
    assert missing[0]["advice"] == "pip install no-such-package"
