from __future__ import annotations

import json
import shutil
import subprocess
from argparse import Namespace
from types import SimpleNamespace

import pytest
import yaml

from overwinter.deploy import Container
from overwinter.deploy.images import BASE
from overwinter.errors import ConfigError

RENDERER = Container(package="overwinter==1.2.3", needed=("h11==0.16.0", "numpy==2.4.6"), token="/etc/token")


def test_the_image_holds_the_bundle_and_serves_it(deployed):
    text = RENDERER.render(deployed("serve.limits.queue=9"))["Containerfile"]
    assert "overwinter==1.2.3" in text
    assert 'COPY --chown=65532:65532 ["my bundle/", "/srv/bundle"]' in text
    words = json.loads(text.splitlines()[-1].removeprefix("CMD "))
    assert words[:3] == ["serve", "/srv/bundle", "serve.limits.queue=9"]
    assert "serve.access.token_file=/run/secrets/overwinter/token" in words


def test_the_compose_file_gives_no_right_that_is_not_needed(deployed):
    text = RENDERER.render(deployed("serve.port=9000"))["compose.yaml"]
    (server,) = yaml.safe_load(text)["services"].values()
    assert server["ports"] == ["127.0.0.1:9000:8080"]
    assert (server["read_only"], server["cap_drop"]) == (True, ["ALL"])
    assert server["volumes"] == [
        "/etc/token:/run/secrets/overwinter/token:ro",
        "model-copies:/var/tmp/overwinter",
    ]
    assert server["pids_limit"] == 512
    assert server["tmpfs"] == ["/tmp:size=64m"]


def test_what_must_survive_has_a_volume(deployed, tmp_path):
    rendered = RENDERER.render(deployed(f"serve.state={tmp_path}", "serve.persistence.response_cache_bytes=1000"))
    compose = yaml.safe_load(rendered["compose.yaml"])
    assert compose["services"]["model"]["volumes"][2] == "model-state:/var/lib/overwinter"
    assert compose["volumes"] == {"model-copies": {}, "model-state": {}}
    words = json.loads(rendered["Containerfile"].splitlines()[-1].removeprefix("CMD "))
    assert {"serve.state=/var/lib/overwinter", "serve.persistence.response_cache_bytes=1000"} <= set(words)


def test_nothing_more_is_installed_than_serves_it(deployed):
    text = RENDERER.render(deployed())["Containerfile"]
    installing = [line for line in text.splitlines() if "pip install" in line]
    assert [line.partition("--no-cache-dir ")[2] for line in installing] == [
        "h11==0.16.0 numpy==2.4.6",
        "--no-deps overwinter==1.2.3 codecarbon",
    ]
    assert all(line.startswith("RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf ") for line in installing)


def test_a_wheel_beside_the_bundle_is_seen_and_not_copied(deployed):
    package = "overwinter @ file:///tmp/o-1-any.whl#sha256=ab"
    text = Container(package=package, wheel="o-1-any.whl", needed=("h11",), token="/t").render(deployed())[
        "Containerfile"
    ]
    assert "RUN --mount=type=bind,source=o-1-any.whl,target=/tmp/o-1-any.whl --mount=type=secret" in text
    assert f" --no-deps '{package}' codecarbon\n" in text
    assert text.count("COPY") == 1


def test_the_build_verifies_the_bundle(deployed):
    lines = RENDERER.render(deployed())["Containerfile"].splitlines()
    verifying = json.loads(next(line for line in lines if "verify" in line).removeprefix("RUN "))
    assert verifying == ["overwinter", "bundle", "verify", "/srv/bundle", "--digest", "ab" * 32]
    assert lines.index("USER 65532:65532") < lines.index(f"RUN {json.dumps(verifying)}")


def test_keys_and_credentials_come_from_the_host(deployed):
    keys = {"/keys/a.pub": "a", "/keys/b.pub": "b"}
    rendered = RENDERER.render(deployed(trusted=keys, variables=("TOKEN",)))
    words = json.loads(rendered["Containerfile"].splitlines()[-1].removeprefix("CMD "))
    inside = ["/run/secrets/overwinter/trusted-0.pem", "/run/secrets/overwinter/trusted-1.pem"]
    assert words[-4:] == ["--trusted", inside[0], "--trusted", inside[1]]
    (server,) = yaml.safe_load(rendered["compose.yaml"])["services"].values()
    assert server["volumes"][1:3] == [f"/keys/a.pub:{inside[0]}:ro", f"/keys/b.pub:{inside[1]}:ro"]
    assert server["environment"] == ["TOKEN"]


def test_no_registry_is_asked_for_the_image(deployed):
    compose = yaml.safe_load(
        RENDERER.render(deployed("serve.host=::1", "serve.access.token_file=null"))["compose.yaml"]
    )
    assert compose["name"] == "model"
    assert compose["services"]["model"]["image"] == "localhost/model"
    assert compose["services"]["model"]["pull_policy"] == "never"
    assert compose["services"]["model"]["ports"] == ["[::1]:8080:8080"]


@pytest.mark.special
def test_podman_compose_reads_it(deployed, tmp_path):
    if not shutil.which("podman-compose"):
        pytest.skip("podman-compose is not installed")
    podman = tmp_path / "podman"  # the real one would leave a network behind
    podman.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\necho podman version 4.3.1\n')
    podman.chmod(0o755)
    (tmp_path / "compose.yaml").write_text(RENDERER.render(deployed())["compose.yaml"])
    command = ["podman-compose", "--podman-path", str(podman), "-f", str(tmp_path / "compose.yaml"), "up", "-d"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    run = next(line for line in (tmp_path / "said").read_text().splitlines() if line.startswith("run "))
    assert "--read-only" in run
    assert "--cap-drop ALL" in run
    assert "--security-opt no-new-privileges" in run
    assert run.endswith(" localhost/model")


def test_images_are_named_by_digest_or_reported_to_be_movable(deployed):
    base, image = (f"registry.example/{name}@sha256:{digit * 64}" for name, digit in (("python", "a"), ("model", "b")))
    renderer = Container(package="overwinter", needed=(), token="/t", base=base, image=image)
    rendered = renderer.render(deployed())
    assert f"ARG BASE={base}\n" in rendered["Containerfile"]
    (server,) = yaml.safe_load(rendered["compose.yaml"])["services"].values()
    assert server["image"] == image
    assert "pull_policy" not in server
    assert "named by a tag" not in str(rendered)
    assert "docker.io/library/python:3.12-slim is named by a tag" in RENDERER.render(deployed())["Containerfile"]


def test_private_copies_have_a_disk(deployed):
    """What memory has no room for goes where TMPDIR points to: not to a tmpfs, which is memory too."""
    rendered = RENDERER.render(deployed())
    assert "TMPDIR=/var/tmp/overwinter" in rendered["Containerfile"]
    assert "install -d -o 65532 -g 65532 /var/lib/overwinter /var/tmp/overwinter" in rendered["Containerfile"]


def test_what_pip_compiles_needs_a_base_image_with_a_compiler(monkeypatch):
    bundle = SimpleNamespace(runtime="llama-cpp")
    monkeypatch.setattr("overwinter.deploy.container.bundle_in_folder", lambda _: (bundle, None))
    with pytest.raises(ConfigError, match=r"llama-cpp, which pip compiles, .* --base docker\.io/library/python:3\.12@"):
        Container.from_arguments(Namespace(base=BASE))
