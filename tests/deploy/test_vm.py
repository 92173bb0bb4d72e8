from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
import yaml

from overwinter.deploy import Vm
from overwinter.deploy.vm import checked_command
from overwinter.errors import ConfigError

SOURCE = "s3://models#digits@sha256:" + "ab" * 32
RENDERER = Vm(
    source=SOURCE,
    package="overwinter[s3]==1.2.3",
    token_command="aws ssm get-parameter --name '/it''s $HOME' --output text",
    instance_type="t3.medium",
    clients=("10.0.0.0/8",),
    keys=("command:aws secretsmanager get-secret-value",),
)
WINDOW = "{start:'0 8 * * 1-5',end:'0 18 * * 1-5',time_zone:Europe/Berlin}"


def values(deployment):
    return json.loads(RENDERER.render(deployment)["terraform.tfvars.json"])


def test_the_group_has_the_servers_limits(deployed):
    found = values(
        deployed(
            "serve.replicas.most=5",
            "serve.replicas.queue_per_replica=7",
            "serve.replicas.wait_s=2.5",
            "serve.limits.answer_s=30.5",
            f"serve.sleep.windows=[{WINDOW}]",
            fixed_idle_s=150,
        )
    )
    assert (found["fewest"], found["most"], found["queue_per_machine"], found["wait_s"]) == (0, 5, 7, 2.5)
    assert (found["answer_s"], found["idle_minutes"]) == (31, 3)
    assert found["windows"] == [{"start": "59 7 * * 1-5", "end": "0 18 * * 1-5", "time_zone": "Europe/Berlin"}]


def test_it_keeps_a_machine_where_it_may_not_stop(deployed):
    assert values(deployed("serve.sleep.wake_p95_s=1"))["fewest"] == 1
    assert "a start takes 60 s" in RENDERER.render(deployed("serve.sleep.wake_p95_s=1"))["main.tf"]


def test_a_machine_serves_the_version_from_the_store_with_one_worker(deployed):
    trusted = {"/here/signer.pub": "-----BEGIN PUBLIC KEY-----\n"}
    deployment = deployed("serve.replicas.most=5", "serve.limits.queue=9", trusted=trusted)
    machine = RENDERER.render(deployment)["cloud-init.yaml"]
    assert machine.startswith("#cloud-config\n")
    files = {file["path"]: file["content"] for file in yaml.safe_load(machine)["write_files"]}
    assert files["/etc/overwinter/trusted-0.pem"] == "-----BEGIN PUBLIC KEY-----\n"
    unit = files["/etc/systemd/system/model.service"]
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    for word in (
        SOURCE,
        "serve.replicas.most=1",
        "serve.limits.queue=9",
        "serve.access.token_file=/run/model/token",
        "/etc/overwinter/trusted-0.pem",
        "command:aws secretsmanager get-secret-value",
    ):
        assert f'"{word}"' in command


def test_every_name_in_the_group_is_declared_and_used(deployed):
    text = RENDERER.render(deployed())["main.tf"]
    declared = set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))
    assert set(re.findall(r"\bvar\.(\w+)", text)) == declared
    assert set(values(deployed())) <= declared
    (block,) = re.findall(r"^locals \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"\blocal\.(\w+)", text)) == set(re.findall(r"^  (\w+) +=", block, re.MULTILINE))
    resources = {f"{kind}.{name}" for kind, name in re.findall(r'^resource "(\w+)" "(\w+)"', text, re.MULTILINE)}
    assert set(re.findall(r"\b(aws_\w+\.\w+)(?=[\.\[])", text)) <= resources


@pytest.mark.special
def test_terraform_and_cloud_init_read_it(deployed, tmp_path):
    if missing := [tool for tool in ("terraform", "cloud-init", "systemd-analyze") if not shutil.which(tool)]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    rendered = RENDERER.render(deployed(f"serve.sleep.windows=[{WINDOW}]"))
    for name, text in rendered.items():
        (tmp_path / name).write_text(text)
    unit = yaml.safe_load(rendered["cloud-init.yaml"])["write_files"][0]["content"]
    (tmp_path / "model.service").write_text(
        unit.replace("User=model", "User=root").replace("/opt/overwinter/bin/overwinter", "/bin/true")
    )
    for command in (
        ["terraform", "fmt", "-check", "-diff", str(tmp_path)],
        ["cloud-init", "schema", "--config-file", str(tmp_path / "cloud-init.yaml")],
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "model.service")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert "model.service" not in done.stderr


def test_what_it_cannot_hold_is_refused(deployed):
    with pytest.raises(ConfigError, match="32 characters at most"):
        RENDERER.render(deployed(name="m" * 33))
    with pytest.raises(ConfigError, match="can hold one window"):
        RENDERER.render(deployed(f"serve.sleep.windows=[{WINDOW},{WINDOW}]"))
    for words in ("", "it's"):
        with pytest.raises(ConfigError, match="--token-command"):
            checked_command(words)
