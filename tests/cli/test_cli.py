"""The command line itself: what argparse makes of words, before a command sees them."""

from __future__ import annotations

import pytest

from overwinter import cli


@pytest.fixture
def asked(monkeypatch):
    """Return what a command would be run with."""

    def ask(command, *words):
        seen = []
        monkeypatch.setattr(cli, "_dispatch", lambda parsed: seen.append(parsed) or 0)
        cli.main([command, *words])
        return seen[0]

    return ask


def test_overrides_may_stand_on_both_sides_of_options(asked):
    assert asked("plan", "train.epochs=8", "--json", "budget.total=1 J").overrides == [
        "train.epochs=8",
        "budget.total=1 J",
    ]
    served = asked("serve", "bundle", "--trusted", "signer.pub", "serve.port=9000", "~carbon")
    assert served.words == ["bundle", "serve.port=9000", "~carbon"]
    rendered = asked("deploy", "systemd", "bundle", "--idle-s", "3", "serve.port=9000")
    assert (rendered.overrides, rendered.idle_s) == (["serve.port=9000"], 3.0)


@pytest.mark.parametrize("words", [("plan", "a=1", "--jsn"), ("doctor", "a=1"), ("serve", "bundle", "--port=1")])
def test_what_no_one_takes_is_refused(words, asked, capsys):
    with pytest.raises(SystemExit) as ended:
        asked(*words)
    assert ended.value.code == 2
    assert f"unrecognized arguments: {words[-1]}" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_not_reported_to_be_written(tmp_path, capsys):
    assert cli.main(["status", "--token-file", str(tmp_path / "token")]) == 1
    assert capsys.readouterr().err.startswith(f"overwinter: {tmp_path / 'token'}: No such file or directory.")
