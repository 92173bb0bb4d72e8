from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import yaml

from overwinter.serving.deploy import Container

RENDERER = Container(version="1.2.3", token="/etc/token")


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
    assert server["volumes"] == ["/etc/token:/run/secrets/overwinter/token:ro"]


def test_what_must_survive_has_a_volume(deployed, tmp_path):
    rendered = RENDERER.render(deployed(f"serve.state={tmp_path}", "serve.keep.answers_bytes=1000"))
    compose = yaml.safe_load(rendered["compose.yaml"])
    assert compose["services"]["model"]["volumes"][1] == "model-state:/var/lib/overwinter"
    assert compose["volumes"] == {"model-state": {}}
    words = json.loads(rendered["Containerfile"].splitlines()[-1].removeprefix("CMD "))
    assert {"serve.state=/var/lib/overwinter", "serve.keep.answers_bytes=1000"} <= set(words)


@pytest.mark.special
def test_podman_compose_reads_it(deployed, tmp_path):
    if not shutil.which("podman-compose"):
        pytest.skip("podman-compose is not installed")
    (tmp_path / "compose.yaml").write_text(RENDERER.render(deployed())["compose.yaml"])
    command = ["podman-compose", "--dry-run", "-f", str(tmp_path / "compose.yaml"), "up", "-d"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--cap-drop ALL" in done.stdout + done.stderr
