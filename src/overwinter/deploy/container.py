"""Containers: an image with the bundle in it, and a compose file that runs it with the fewest privileges.

One container is one server, which puts its own worker to sleep. A container engine could only stop the server itself,
and then nothing would hold the port.

The image contains only the packages of `requirements`. Its build verifies the bundle, and fails for any other bundle
than the rendered one. A mirror's credentials reach pip as a build secret, which no layer keeps.
There is no health check: engines ignore its result, and one check a minute takes more CPU time (0.07 s in the
container alone) than the server does while its models sleep (none measurable in a minute).
"""

from __future__ import annotations

import json
import shlex
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml

from overwinter import __version__
from overwinter.deploy.deployment import Deployment
from overwinter.deploy.flags import memory_limit
from overwinter.deploy.images import BASE, checked_image, is_pinned, of_tag
from overwinter.deploy.interface import Orchestrator
from overwinter.deploy.kubernetes import BUNDLE, COPIES, SECRETS, TOKEN
from overwinter.deploy.requirements import declared, needed_by, package_in, tables
from overwinter.deploy.source import Source, bundle_folder, bundle_in_folder
from overwinter.errors import ConfigError

_PORT = 8080
_STATE = "/var/lib/overwinter"
_SCRATCH = "64m"  # size of the tmpfs, which counts toward the memory limit
_MAX_THREADS = 512  # a server with a torch worker takes about a hundred
_ENVIRONMENT = "/opt/overwinter"
_PIP = "--mount=type=secret,id=pip.conf,target=/etc/pip.conf pip install --no-cache-dir"
_CONTAINERFILE = """\
ARG BASE={base}
FROM ${{BASE}}
RUN python3 -m venv {environment} && install -d -o 65532 -g 65532 {state} {copies}
ENV PATH={environment}/bin:${{PATH}} HOME=/tmp TMPDIR={copies}
{installed}
COPY --chown=65532:65532 {paths}
USER 65532:65532
RUN {verified}
WORKDIR /
EXPOSE {port}
ENTRYPOINT ["overwinter"]
CMD {words}
"""


@dataclass(frozen=True, kw_only=True)
class Container(Orchestrator):
    """Renders a Containerfile and a compose file.

    Attributes:
        package: The requirement for Overwinter, such as `overwinter==VERSION`.
        wheel: The file name of the wheel of `package`, next to the bundle; empty if it is not a wheel.
        needed: The server's other requirements.
        tables: A requirement that is installed for its data files, without its own requirements.
        token: The path of the token's file on the host.
        memory: The container's memory limit.
        cpus: The container's CPU limit.
        base: The base image; should be named by its digest, since a tag can be moved.
        image: The pushed image to run, by its digest; None: the locally built one.
    """

    summary: ClassVar[str] = "a Containerfile and a compose file"

    package: str
    token: str
    needed: tuple[str, ...]
    wheel: str = ""
    tables: str = "codecarbon"
    memory: str = "1g"
    cpus: float = 1.0
    base: str = BASE
    image: str | None = None

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """See `Orchestrator`."""
        parser.add_argument("--token", type=Path, required=True, metavar="FILE", help="file with the bearer token")
        parser.add_argument(
            "--package",
            default=f"overwinter=={__version__}",
            help="requirement to install with pip, or a wheel next to the bundle (this version)",
        )
        parser.add_argument("--base", default=BASE, metavar="NAME@sha256:DIGEST", help=f"base image ({BASE})")
        parser.add_argument(
            "--image",
            metavar="NAME@sha256:DIGEST",
            help="pushed image to run (the locally built localhost/NAME)",
        )
        parser.add_argument("--memory", type=memory_limit, default="1g", help="memory limit of the container (1g)")
        parser.add_argument("--cpus", type=float, default=1.0, help="CPU limit of the container (1)")

    @classmethod
    def from_arguments(cls, arguments: Namespace) -> tuple[Self, Source]:
        """See `Orchestrator`."""
        bundle, source = bundle_in_folder(arguments)
        if arguments.base == BASE and declared(bundle.runtime, "installed_from_source", default=False):
            raise ConfigError(
                f"The bundle runs with {bundle.runtime}, which pip compiles, and {BASE} has no compiler. "
                f"Name one that has: --base {BASE.removesuffix('-slim')}@sha256:DIGEST"
            )
        package, wheel = _package(arguments.package, bundle_folder(arguments).parent)
        found = cls(
            package=package,
            wheel=wheel,
            needed=needed_by(bundle),
            tables=tables(),
            token=str(arguments.token.resolve()),
            memory=arguments.memory,
            cpus=arguments.cpus,
            base=checked_image(arguments.base, key="--base"),
            image=None if arguments.image is None else checked_image(arguments.image, key="--image"),
        )
        return found, source

    def next_step(self, deployment: Deployment, folder: Path) -> str:
        """See `Orchestrator`."""
        build = f"podman build -f {folder}/Containerfile -t {image_of(deployment)} {deployment.bundle.parent}"
        return f"{build}, then podman-compose -f {folder}/compose.yaml up -d"

    def render(self, deployment: Deployment) -> dict[str, str]:
        """Return the files, name to text; the Containerfile copies the bundle from the build context."""
        text = _CONTAINERFILE.format(
            base=self.base,
            environment=_ENVIRONMENT,
            state=_STATE,
            copies=COPIES,
            installed="\n".join(self._installed()),
            paths=json.dumps([f"{deployment.bundle.name}/", BUNDLE]),
            verified=json.dumps(["overwinter", "bundle", "verify", BUNDLE, "--digest", deployment.digest]),
            port=_PORT,
            words=json.dumps(self._words(deployment)),
        )
        context = shlex.quote(str(deployment.bundle.parent))
        build = f"Built by: podman build -f Containerfile -t {image_of(deployment)} {context}"
        heading = deployment.heading(
            build,
            *(of_tag(image) for image in self.images(deployment) if not is_pinned(image)),
            f"The token must belong to the image's user: chown 65532 {shlex.quote(self.token)}",
        )
        compose = yaml.safe_dump(self._compose(deployment), sort_keys=False, width=120)
        return {"Containerfile": heading + text, "compose.yaml": heading + compose}

    def images(self, _deployment: Deployment) -> list[str]:
        """Return the images that a registry provides: the base, and the pushed one."""
        return [self.base, *([] if self.image is None else [self.image])]

    def _installed(self) -> list[str]:
        """Return the install steps, those that change least first, so that their layers are reused."""
        mount = f"--mount=type=bind,source={self.wheel},target=/tmp/{self.wheel} " if self.wheel else ""
        needed, packages = shlex.join(self.needed), shlex.join([self.package, self.tables])
        return [f"RUN {_PIP} {needed}", f"RUN {mount}{_PIP} --no-deps {packages}"]

    def _words(self, deployment: Deployment) -> list[str]:
        address: dict[str, Any] = {"host": "0.0.0.0", "port": _PORT}  # noqa: S104 -- the container's own address; a token is required
        state = _STATE if deployment.keeps else None
        return deployment.words(BUNDLE, trusted=deployment.keys_in(SECRETS), **address, **TOKEN, state=state)

    def _compose(self, deployment: Deployment) -> dict[str, object]:
        serve = deployment.serve
        host = f"[{serve.host}]" if ":" in serve.host else serve.host
        kept = {f"{deployment.name}-copies": COPIES}
        kept |= {f"{deployment.name}-state": _STATE} if deployment.keeps else {}
        keys = zip(deployment.trusted, deployment.keys_in(SECRETS), strict=True)
        mounted = [(self.token, f"{SECRETS}/token"), *keys]
        server = {
            "image": self.image or image_of(deployment),
            **({} if self.image else {"pull_policy": "never"}),  # a local build
            "ports": [f"{host}:{serve.port}:{_PORT}"],
            "read_only": True,
            "tmpfs": [f"/tmp:size={_SCRATCH}"],  # noqa: S108 -- the container's own
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "mem_limit": self.memory,
            "pids_limit": _MAX_THREADS,
            "cpus": self.cpus,
            "volumes": [
                *(f"{path}:{inside}:ro" for path, inside in mounted),
                *(f"{name}:{place}" for name, place in kept.items()),
            ],
            **({"environment": list(deployment.variables)} if deployment.variables else {}),
            "stop_grace_period": f"{serve.limits.response_s + 10:g}s",
            "restart": "unless-stopped",
        }
        volumes: dict[str, object] = {name: {} for name in kept}
        return {"name": deployment.name, "services": {deployment.name: server}, "volumes": volumes}


def image_of(deployment: Deployment) -> str:
    """Return the image's name; `localhost/` keeps engines from pulling it from a public registry."""
    return f"localhost/{deployment.name}"


def _package(given: str, context: Path) -> tuple[str, str]:
    """Return the requirement for pip, and the file name of its wheel, which is empty if it is not a wheel.

    Raises:
        ConfigError: The wheel is not in ``context``.
    """
    wheel = Path(given)
    if wheel.suffix != ".whl":
        return given, ""
    if wheel.is_file() and wheel.resolve().parent == context:
        return package_in(wheel), wheel.name
    raise ConfigError(f"--package {given}: a wheel must be next to the bundle, in the build context {context}.")
