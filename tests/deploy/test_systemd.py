from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from overwinter.cli.service import load_service
from overwinter.deploy import Systemd
from overwinter.deploy.sandbox import world_readable

WINDOW = "{start:'0 8 * * 1-5',end:'0 18 * * 1-5',time_zone:Europe/Berlin}"
RENDERER = Systemd(program="/bin/true")
WORST = 2.5  # exposure, of 10


@pytest.mark.special
@pytest.mark.parametrize("overrides", [[], ["serve.replicas.min=1"], [f"serve.sleep.windows=[{WINDOW}]"]])
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
    units = RENDERER.render(deployed("serve.replicas.min=1"))
    assert list(units) == ["model.service"]
    assert "StopWhenUnneeded" not in units["model.service"]
    assert '"serve.port=8080"' in units["model.service"]


def test_the_proxy_waits_until_the_server_says_that_it_listens_and_a_start_that_fails_ends_at_once(deployed):
    server, _ = opened(RENDERER.render(deployed())["model-server.service"])
    assert (server["Type"], server["RestartPreventExitStatus"]) == ("notify", "2 4")
    assert "ExecStartPost" not in server


def test_stopping_leaves_the_workers_to_the_server(deployed):
    server, _ = opened(RENDERER.render(deployed())["model-server.service"])
    assert server["KillMode"] == "mixed"


@pytest.mark.parametrize(
    ("state", "carbon", "stays"),
    [(True, "uk_grid", True), (True, "trace", True), (True, "constant", False), (False, "uk_grid", False)],
)
def test_where_a_request_may_wait_for_a_greener_hour_the_server_stays_to_response_it(
    deployed, tmp_path, state, carbon, stays
):
    kept = [f"serve.state={tmp_path}"] if state else []
    units = RENDERER.render(deployed(*kept, others=(f"carbon={carbon}",)))
    assert ("model.socket" not in units) is stays
    assert ("lower carbon intensity" in units["model.service"]) is stays
    assert ("Scales to zero" not in units["model.service"]) is stays


def test_a_window_holds_the_server_up_from_early_on(deployed):
    units = RENDERER.render(deployed(f"serve.sleep.windows=[{WINDOW}]", start_s=30.0))
    assert "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 7:59:00 Europe/Berlin\n" in units["model-window-0.timer"]
    assert "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 18:0:00 Europe/Berlin\n" in units["model-window-0-end.timer"]
    assert "Requires=model-server.service\n" in units["model-window-0.service"]
    assert "Conflicts=model-window-0.service\n" in units["model-window-0-end.service"]


def test_credentials_and_keys_reach_the_server(deployed):
    units = RENDERER.render(deployed(variables=("NAME", "WORD"), trusted={"/etc/signer.pub": "a key"}))
    assert "PassEnvironment=NAME WORD\n" in units["model-server.service"]
    assert "LoadCredential=trusted-0.pem:/etc/signer.pub\n" in units["model-server.service"]
    assert '"--trusted" "%d/trusted-0.pem"\n' in units["model-server.service"]


def test_secrets_are_handed_over_by_systemd(deployed, tmp_path):
    files = {"token_file": "a token", "tls_cert": "c", "tls_key": "9%"}
    secrets = {name: tmp_path / file for name, file in files.items()}
    for path in secrets.values():
        path.write_text("secret")
    unit = RENDERER.render(deployed(*(f"serve.access.{name}='{path}'" for name, path in secrets.items())))
    text = unit["model-server.service"]
    for name in secrets:
        assert f'"serve.access.{name}=%d/{name}"' in text
    assert f"LoadCredential=token_file:{tmp_path}/a token\n" in text
    assert f"LoadCredential=tls_key:{tmp_path}/9%%\n" in text


def opened(text):
    """Return the settings of a unit that come once, and the lines of its heading."""
    lines = text.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#"), text[: text.index("[")]


def test_what_is_opened_is_opened_for_a_reason_that_the_heading_gives(deployed):
    shut, heading = opened(RENDERER.render(deployed())["model-server.service"])
    assert (shut["DynamicUser"], shut["MemoryDenyWriteExecute"], shut["PrivateDevices"]) == ("yes", "yes", "yes")
    assert (shut["IPAddressDeny"], shut["IPAddressAllow"], shut["CapabilityBoundingSet"]) == ("any", "localhost", "")
    assert "Open to the server" not in heading
    renderer = Systemd(program="/bin/true", runtime="torch", device="cuda", run_as="models")
    wide, heading = opened(renderer.render(deployed(variables=("KEY",)))["model-server.service"])
    assert not {"DynamicUser", "MemoryDenyWriteExecute", "PrivateDevices", "IPAddressDeny"} & set(wide)
    assert (wide["User"], wide["DeviceAllow"], wide["DevicePolicy"]) == ("models", "char-nvidia* rw", "closed")
    assert [word for word in ("NVIDIA", "torch compiles", "carbon") if word not in heading] == []


def test_only_what_talks_to_this_machine_alone_is_cut_off_from_others(deployed, tmp_path):
    (tmp_path / "token").write_text("secret")
    staying = ("serve.replicas.min=1", f"serve.access.token_file={tmp_path}/token")
    far, _ = opened(RENDERER.render(deployed(*staying, "serve.host=0.0.0.0"))["model.service"])
    assert "IPAddressDeny" not in far
    near, _ = opened(RENDERER.render(deployed(*staying))["model.service"])
    assert near["IPAddressAllow"] == "localhost"
    proxy, _ = opened(RENDERER.render(deployed("serve.host=0.0.0.0", staying[1]))["model.service"])
    assert "IPAddressDeny" not in proxy


def test_a_bundle_that_its_owner_alone_may_read_is_copied_to_where_the_service_may(deployed):
    text = Systemd(program="/bin/true", private=True).render(deployed())["model-server.service"]
    assert '"sh" "/srv/my bundle" "/var/cache/overwinter/model/my bundle"\n' in text
    assert '"serve" "/var/cache/overwinter/model/my bundle"' in text
    assert "copies it" in opened(text)[1]
    own = Systemd(program="/bin/true", private=True, run_as="models").render(deployed())["model-server.service"]
    assert ('"serve" "/srv/my bundle"' in own, "ExecStartPre" in own) == (True, False)


def test_what_the_sandbox_hides_is_bound_into_it(deployed, tmp_path):
    renderer = Systemd(program="/bin/true", environment=[Path("/home/me/a venv"), Path("/opt/venv")])
    text = renderer.render(deployed(bundle=Path("/root/b:1")))["model-server.service"]
    assert re.findall("BindReadOnlyPaths=(.*)", text) == ['"/home/me/a venv"', '"/root/b\\:1"']


@pytest.fixture
def opened_folder(tmp_path, monkeypatch):
    """Return a folder that everyone may read, where the sandbox hides nothing."""
    monkeypatch.setattr("overwinter.deploy.sandbox._HIDDEN", ())
    shut = [path for path in (tmp_path, *tmp_path.parents) if not path.stat().st_mode & 0o001]
    if any("pytest" not in path.parts[-1] and "pytest" not in str(path.parent) for path in shut):
        pytest.skip("the folder of the tests' folders is shut")
    modes = {path: path.stat().st_mode for path in shut}
    for path in shut:
        path.chmod(0o755)
    folder = tmp_path / "above" / "bundle"
    (folder / "payload").mkdir(parents=True)
    (folder / "payload" / "model.onnx").write_text("")
    for path in (tmp_path / "above", folder, *folder.rglob("*")):
        path.chmod(0o755)
    yield folder
    for path, mode in modes.items():
        path.chmod(mode)


def test_a_folder_is_world_readable_only_with_all_that_is_in_it(opened_folder):
    assert world_readable(opened_folder)
    (opened_folder / "payload" / "model.onnx").chmod(0o600)
    assert not world_readable(opened_folder)


def test_a_folder_is_open_only_if_it_can_be_reached_unless_it_is_bound(opened_folder, monkeypatch):
    opened_folder.parent.chmod(0o700)
    assert not world_readable(opened_folder)
    monkeypatch.setattr("overwinter.deploy.sandbox._HIDDEN", (str(opened_folder.parents[1]),))
    assert world_readable(opened_folder)


@pytest.mark.special
@pytest.mark.parametrize("overrides", [[], ["serve.replicas.min=1"], [f"serve.sleep.windows=[{WINDOW}]"]])
@pytest.mark.parametrize("settings", [{}, {"runtime": "torch-compile", "device": "cuda", "run_as": "models"}])
def test_no_unit_is_more_exposed_than_it_may_be(deployed, tmp_path, overrides, settings):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    renderer = Systemd(program="/bin/true", private=True, **settings)
    for name, text in renderer.render(deployed(*overrides)).items():
        if name.endswith(".service"):
            (tmp_path / name).write_text(text)
            command = ["systemd-analyze", "security", "--offline=true", str(tmp_path / name)]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert float(re.search(r"exposure level for \S+: ([\d.]+)", output)[1]) <= WORST, name


def test_words_are_quoted_as_systemd_reads_them(deployed):
    (text,) = Systemd(program="/opt/100% $x/overwinter").render(deployed("serve.replicas.min=1")).values()
    assert 'ExecStart="/opt/100%% $$x/overwinter" "serve"' in text


def test_what_must_survive_is_where_systemd_keeps_it(deployed, tmp_path, monkeypatch):
    keeping = deployed(f"serve.state={tmp_path}", "serve.persistence.response_cache_bytes=1000")
    unit = RENDERER.render(keeping)["model-server.service"]
    assert "StateDirectory=overwinter/model\n" in unit
    (word,) = re.findall(r'"(serve\.state=[^"]*)"', unit)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert load_service([word.replace("$$", "$"), "serve.persistence.response_cache_bytes=1000"]).serve.state == str(
        tmp_path
    )
