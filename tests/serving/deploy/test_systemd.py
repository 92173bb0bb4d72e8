from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from overwinter.cli.service import load_service
from overwinter.serving.deploy import Systemd

WINDOW = "{start:'0 8 * * 1-5',end:'0 18 * * 1-5',time_zone:Europe/Berlin}"
RENDERER = Systemd(program="/bin/true", run_as="root")


@pytest.mark.special
@pytest.mark.parametrize("overrides", [[], ["serve.replicas.fewest=1"], [f"serve.sleep.windows=[{WINDOW}]"]])
def test_systemd_accepts_the_units(deployed, tmp_path, overrides):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    units = RENDERER.render(deployed(*overrides, variables=("NAME", "WORD"), trusted={"/etc/signer.pub": "a key"}))
    for name, text in units.items():
        (tmp_path / name).write_text(text)
    verify(tmp_path, expected="")
    broken = next(name for name in units if name.endswith(".service"))
    (tmp_path / broken).write_text(units[broken].replace("ExecStart=", "ExecStrat="))
    verify(tmp_path, expected="ExecStrat")


def verify(folder, expected):
    command = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(folder.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert expected in done.stderr
    assert bool(done.stderr) == bool(expected), done.stderr


def test_a_connection_starts_it_and_idleness_ends_it(deployed):
    units = RENDERER.render(deployed("serve.port=9000", fixed_idle_s=90.5))
    assert list(units) == ["model.socket", "model.service", "model-server.service"]
    assert "ListenStream=127.0.0.1:9000\n" in units["model.socket"]
    assert "--exit-idle-time=91s 127.0.0.1:18080\n" in units["model.service"]
    assert "Requires=model-server.service\n" in units["model.service"]
    assert "StopWhenUnneeded=yes\n" in units["model-server.service"]
    assert '"/srv/my bundle" "serve.host=127.0.0.1" "serve.port=18080"' in units["model-server.service"]


def test_what_must_not_stop_listens_itself(deployed):
    units = RENDERER.render(deployed("serve.replicas.fewest=1"))
    assert list(units) == ["model.service"]
    assert "StopWhenUnneeded" not in units["model.service"]
    assert '"serve.port=8080"' in units["model.service"]


def test_a_window_holds_the_server_up_from_early_on(deployed):
    units = RENDERER.render(deployed(f"serve.sleep.windows=[{WINDOW}]", start_s=30.0))
    assert "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 7:59:00 Europe/Berlin\n" in units["model-window-0.timer"]
    assert "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 18:0:00 Europe/Berlin\n" in units["model-window-0-end.timer"]
    assert "Requires=model-server.service\n" in units["model-window-0.service"]
    assert "Conflicts=model-window-0.service\n" in units["model-window-0-end.service"]


def test_credentials_and_keys_reach_the_server(deployed):
    units = RENDERER.render(deployed(variables=("NAME", "WORD"), trusted={"/etc/signer.pub": "a key"}))
    assert "PassEnvironment=NAME WORD\n" in units["model-server.service"]
    assert '"--trusted" "/etc/signer.pub"\n' in units["model-server.service"]


def test_words_are_quoted_as_systemd_reads_them(deployed):
    (text,) = Systemd(program="/opt/100% $x/overwinter").render(deployed("serve.replicas.fewest=1")).values()
    assert 'ExecStart="/opt/100%% $$x/overwinter" "serve"' in text
    assert "User=" not in text


def test_what_must_survive_is_where_systemd_keeps_it(deployed, tmp_path, monkeypatch):
    keeping = deployed(f"serve.state={tmp_path}", "serve.keep.answers_bytes=1000")
    unit = RENDERER.render(keeping)["model-server.service"]
    assert "StateDirectory=overwinter/model\n" in unit
    (word,) = re.findall(r'"(serve\.state=[^"]*)"', unit)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert load_service([word.replace("$$", "$"), "serve.keep.answers_bytes=1000"]).serve.state == str(tmp_path)
