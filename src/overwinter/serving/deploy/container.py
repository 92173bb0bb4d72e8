"""Containers: an image with the bundle in it, and a compose file that runs it with no right it does not need.

One container is one server, which puts its own worker to sleep: what a container engine can add is only to stop
the server itself, and then nothing would hold the port.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import yaml

from overwinter.serving.deploy.deployment import LIVE_PATH, Deployment
from overwinter.serving.deploy.kubernetes import BUNDLE, SECRETS, TOKEN

_PORT = 8080
_STATE = "/var/lib/overwinter"
_CONTAINERFILE = """\
ARG BASE=docker.io/library/python:3.12-slim
FROM ${{BASE}}
ARG OVERWINTER=overwinter=={version}
RUN pip install --no-cache-dir "${{OVERWINTER}}"
RUN install -d -o 65532 -g 65532 {state}
COPY --chown=65532:65532 {paths}
USER 65532:65532
ENV HOME=/tmp
WORKDIR /
EXPOSE {port}
ENTRYPOINT ["overwinter"]
CMD {words}
"""


@dataclass(frozen=True, kw_only=True)
class Container:
    """Renders a Containerfile and a compose file.

    Attributes:
        version: of Overwinter, to be installed in the image.
        token: path of the token's file on the host.
        memory: limit of the container.
        cpus: limit of the container.
    """

    version: str
    token: str
    memory: str = "1g"
    cpus: float = 1.0

    def render(self, deployment: Deployment) -> dict[str, str]:
        """Return the files, name to text; the Containerfile copies the bundle from the build's context."""
        address = {"host": "0.0.0.0", "port": _PORT}  # noqa: S104 -- the container's own address; the token is asked for
        text = _CONTAINERFILE.format(
            version=self.version,
            paths=json.dumps([f"{deployment.bundle.name}/", BUNDLE]),
            port=_PORT,
            state=_STATE,
            words=json.dumps(deployment.words(BUNDLE, **address, **TOKEN, state=_STATE if deployment.keeps else None)),
        )
        build = f"Built by: podman build -f Containerfile -t {deployment.name} {deployment.bundle.parent}"
        heading = deployment.heading(build, f"The token must belong to the image's user: chown 65532 {self.token}")
        compose = yaml.safe_dump(self._compose(deployment), sort_keys=False, width=120)
        return {"Containerfile": heading + text, "compose.yaml": heading + compose}

    def _compose(self, deployment: Deployment) -> dict[str, object]:
        serve = deployment.serve
        ask = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{_PORT}{LIVE_PATH}', timeout=2)"
        server = {
            "image": deployment.name,
            "ports": [f"{serve.host}:{serve.port}:{_PORT}"],
            "read_only": True,
            "tmpfs": ["/tmp"],  # noqa: S108 -- the container's own
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "mem_limit": self.memory,
            "cpus": self.cpus,
            "volumes": [f"{self.token}:{SECRETS}/token:ro"],
            "healthcheck": {"test": ["CMD", "python", "-c", ask], "interval": "60s", "timeout": "5s"},
            "stop_grace_period": f"{serve.limits.answer_s + 10:g}s",
            "restart": "unless-stopped",
        }
        if not deployment.keeps:
            return {"services": {deployment.name: server}}
        kept = f"{deployment.name}-state"
        server["volumes"] = [f"{self.token}:{SECRETS}/token:ro", f"{kept}:{_STATE}"]
        return {"services": {deployment.name: server}, "volumes": {kept: {}}}
