from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import hcl2
import pytest
import yaml

from overwinter import cli
from overwinter.bundle import store
from overwinter.deploy import Vm
from overwinter.deploy.vm import checked_command
from overwinter.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "examples" / "virtual_machines"
SOURCE = "s3://models#digits@sha256:" + "ab" * 32
RENDERER = Vm(
    source=SOURCE,
    package="overwinter[s3]==1.2.3",
    token_command="aws ssm get-parameter --name '/it''s $HOME' --output text",
    instance_type="t3.medium",
    clients=("10.0.0.0/8",),
    keys=("command:aws secretsmanager get-secret-value",),
)
ACCOUNT = {"region", "vpc_id", "subnet_ids", "image_id", "instance_profile", "certificate_arn"}
WINDOW = "{start:'0 8 * * 1-5',end:'0 18 * * 1-5',time_zone:Europe/Berlin}"


def values(deployment):
    return json.loads(RENDERER.render(deployment)["terraform.tfvars.json"])


def test_the_group_has_the_servers_limits(deployed):
    found = values(
        deployed(
            "serve.replicas.max=5",
            "serve.replicas.queue_per_replica=7",
            "serve.replicas.wait_s=2.5",
            "serve.limits.response_s=30.5",
            f"serve.sleep.windows=[{WINDOW}]",
            fixed_idle_s=150,
        )
    )
    assert (found["min_replicas"], found["max_replicas"], found["queue_per_machine"], found["wait_s"]) == (0, 5, 7, 2.5)
    assert (found["response_s"], found["idle_minutes"]) == (31, 3)
    assert found["windows"] == [{"start": "59 7 * * 1-5", "end": "0 18 * * 1-5", "time_zone": "Europe/Berlin"}]


def test_it_keeps_a_machine_where_it_may_not_stop(deployed):
    assert values(deployed("serve.sleep.wake_p95_s=1"))["min_replicas"] == 1
    assert "a start takes 60 s" in RENDERER.render(deployed("serve.sleep.wake_p95_s=1"))["cloud-init.yaml"]


def test_a_machine_serves_the_version_from_the_store_with_one_worker(deployed):
    trusted = {"/here/signer.pub": "-----BEGIN PUBLIC KEY-----\n"}
    deployment = deployed("serve.replicas.max=5", "serve.limits.queue=9", trusted=trusted)
    machine = RENDERER.render(deployment)["cloud-init.yaml"]
    assert machine.startswith("#cloud-config\n")
    files = {file["path"]: file["content"] for file in yaml.safe_load(machine)["write_files"]}
    assert files["/etc/overwinter/trusted-0.pem"] == "-----BEGIN PUBLIC KEY-----\n"
    unit = files["/etc/systemd/system/model.service"]
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    for word in (
        SOURCE,
        "serve.replicas.max=1",
        "serve.limits.queue=9",
        "serve.access.token_file=/run/model/token",
        "/etc/overwinter/trusted-0.pem",
        "command:aws secretsmanager get-secret-value",
    ):
        assert f'"{word}"' in command


@pytest.fixture(scope="module")
def group():
    """Return the example's Terraform, parsed."""
    plain = hcl2.SerializationOptions(with_comments=False, explicit_blocks=False, strip_string_quotes=True)
    with (EXAMPLE / "main.tf").open() as file:
        return hcl2.load(file, serialization_options=plain)


@pytest.fixture(scope="module")
def variables(group):
    """Return the declared variables, name to type."""
    return {name: body["type"].strip("${}") for block in group["variable"] for name, body in block.items()}


def referred(value, pattern):
    """Return what a pattern finds in all expressions of parsed Terraform."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return {name for part in parts for name in referred(part, pattern)}
    return set(re.findall(pattern, str(value)))


def test_the_group_declares_what_it_refers_to_and_nothing_else(group, variables):
    assert referred(group, r"\bvar\.(\w+)") == set(variables)
    (declared,) = group["locals"]
    assert referred(group, r"\blocal\.(\w+)") == set(declared)
    resources = [f"{kind}.{name}" for block in group["resource"] for kind, found in block.items() for name in found]
    assert len(resources) == len(set(resources))
    assert referred(group, r"\b(aws_\w+\.\w+)(?=[\.\[])") <= set(resources)


def test_every_variable_but_the_accounts_is_filled_with_its_type(deployed, variables):
    found = values(deployed("serve.replicas.wait_s=2.5", f"serve.sleep.windows=[{WINDOW}]"))
    assert set(variables) - set(found) == ACCOUNT
    kinds = {"string": str, "number": int | float, "list": list}
    assert [name for name in found if not isinstance(found[name], kinds[variables[name].partition("(")[0]])] == []
    (window,) = found["windows"]
    assert all(f"{key} = string" in variables["windows"] for key in window)


def test_the_group_starts_its_machines_with_what_is_rendered(deployed, group):
    (template,) = (block["aws_launch_template"] for block in group["resource"] if "aws_launch_template" in block)
    (name,) = re.findall(r'filebase64\("\$\{path.module\}/(.+)"\)', template["this"]["user_data"])
    assert name in RENDERER.render(deployed())


def test_the_examples_files_are_what_its_command_writes(tmp_path, monkeypatch):
    opened = SimpleNamespace(address="s3://models", resolve=lambda *_: (7, SimpleNamespace(digest="ab" * 32)))
    monkeypatch.setattr(store, "open_store", lambda address, keys: opened)
    shutil.copytree(EXAMPLE.parents[1] / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    command = (EXAMPLE / "README.md").read_text().split("```sh\n")[1].split("```")[0]
    program, *words = shlex.split(command)
    assert (program, cli.main(words)) == ("overwinter", 0)
    for file in (tmp_path / "examples" / "virtual_machines").iterdir():
        assert file.read_text() == (EXAMPLE / file.name).read_text(), f"render it again: {command}"


@pytest.mark.special
@pytest.mark.parametrize(
    "command",
    [
        ["terraform", "fmt", "-check", "-diff", "."],
        ["cloud-init", "schema", "--config-file", "cloud-init.yaml"],
        ["systemd-analyze", "verify", "--man=no", "./model.service"],
    ],
    ids=lambda command: command[0],
)
def test_its_own_program_reads_it(deployed, tmp_path, command):
    if not shutil.which(command[0]):
        pytest.skip(f"not installed: {command[0]}")
    rendered = RENDERER.render(deployed(f"serve.sleep.windows=[{WINDOW}]"))
    shutil.copy(EXAMPLE / "main.tf", tmp_path)
    for name, text in rendered.items():
        (tmp_path / name).write_text(text)
    unit = yaml.safe_load(rendered["cloud-init.yaml"])["write_files"][0]["content"]
    (tmp_path / "model.service").write_text(
        unit.replace("User=model", "User=root").replace("/opt/overwinter/bin/overwinter", "/bin/true")
    )
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "model.service" not in done.stderr


def test_what_it_cannot_hold_is_refused(deployed):
    with pytest.raises(ConfigError, match="32 characters at most"):
        RENDERER.render(deployed(name="m" * 33))
    with pytest.raises(ConfigError, match="supports only one window"):
        RENDERER.render(deployed(f"serve.sleep.windows=[{WINDOW},{WINDOW}]"))
    for words in ("", "it's"):
        with pytest.raises(ConfigError, match="--token-command"):
            checked_command(words)
