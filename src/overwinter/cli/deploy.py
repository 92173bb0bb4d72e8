"""`overwinter deploy kubernetes | systemd | cron | container | vm BUNDLE [OVERRIDES]`: files for an orchestrator."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from overwinter import __version__
from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overwinter.bundle import Bundle
    from overwinter.config.groups.serve import ServiceConfig
    from overwinter.deploy import Deployment

_FORMS = {
    "kubernetes": "a Deployment that KEDA takes to zero and wakes, or a Knative Service",
    "systemd": "socket activation, idle exit, and timers for windows",
    "cron": "a crontab for windows, and the script that it calls",
    "container": "a Containerfile and a compose file",
    "vm": "a group of machines on AWS, from none to many: values for Terraform, and cloud-init",
}
_NEXT = {
    "kubernetes": "kubectl apply -f {folder}/kubernetes.yaml",
    "systemd": "systemd-analyze verify {folder}/*.service, then copy them to /etc/systemd/system",
    "cron": "crontab {folder}/{name}.crontab",
    "container": "podman build -f {folder}/Containerfile -t localhost/{name} {context}, then "
    "podman-compose -f {folder}/compose.yaml up -d",
    "vm": "copy main.tf of examples/virtual_machines to {folder}, then terraform -chdir={folder} init && terraform "
    "-chdir={folder} apply, which asks for what is your account's",
}
_MEMORY = re.compile(r"[1-9][0-9]*[KMGTkmgt]?i?")
_USER = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)
_FOLDER = "the bundle's folder, such as outputs/hibernate/bundle"
_IN_STORE = "STORE#NAME@ALIAS of a published bundle; the machines will take this very version"


class Renderer(Protocol):
    """Turns a deployment into the files of one orchestrator."""

    def render(self, deployment: Deployment) -> Mapping[str, str]:
        """Return the files, name to text."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the forms, and what each asks."""
    forms = parser.add_subparsers(dest="form", required=True, metavar="FORM")
    for name, summary in _FORMS.items():
        form = forms.add_parser(name, help=summary, description=summary)
        form.add_argument("bundle", help=_IN_STORE if name == "vm" else _FOLDER)
        form.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="of configs/serve, as `overwinter serve`'s")
        form.add_argument("--name", default="model", help="of the service: lower-case letters, digits, hyphens (model)")
        form.add_argument("--output", type=Path, metavar="DIR", help="where to write (deploy/FORM)")
        form.add_argument(
            "--idle-s", type=float, metavar="S", help="time without a request, then zero (of policy fixed, else 300)"
        )
        form.add_argument(
            "--trusted",
            action="append",
            default=[],
            type=Path,
            metavar="FILE",
            help="a public key that must have signed the bundle",
        )
        form.add_argument("--start-s", type=float, default=60.0, metavar="S", help="from nothing to ready (60)")
        _ADD[name](form)


def run(arguments: argparse.Namespace) -> int:
    """Write the files, and say what to do with them."""
    from overwinter.cli.service import load_service
    from overwinter.files import write_text

    service = load_service(arguments.overrides, from_environment=False)
    source, digest, own = _found(arguments)
    deployment = _deployment(arguments, service, source, digest)
    folder = arguments.output or Path("deploy") / arguments.form
    renderer = _renderer(arguments, folder.resolve(), own)
    for name, text in renderer.render(deployment).items():
        write_text(folder / name, text, mode=0o755 if name.endswith(".sh") else 0o644)
        print(folder / name)
    _warn_of_tags(renderer, deployment)
    values = {"folder": folder, "name": deployment.name, "context": deployment.bundle.parent}
    print("Next: " + _NEXT[arguments.form].format(**values))
    return 0


def _warn_of_tags(renderer: Renderer, deployment: Deployment) -> None:
    from overwinter.deploy.images import is_pinned, of_tag

    images = getattr(renderer, "images", None)  # only where something runs in one
    for image in [] if images is None else images(deployment):
        if not is_pinned(image):
            print(f"Warning: {of_tag(image)}", file=sys.stderr)


def _found(arguments: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
    """Return where the bundle is, its digest, and what the form takes beside its own settings."""
    from overwinter.bundle import Keys, read_bundle

    if arguments.form == "vm":
        source, digest = _published(arguments)
        return source, digest, {"source": source, **_of_machines(arguments)}
    folder = Path(arguments.bundle).resolve()
    bundle = read_bundle(folder, keys=Keys(trusted=tuple(arguments.trusted)), hold=False)
    own = _OWN[arguments.form](arguments, bundle) if arguments.form in _OWN else {}
    return str(folder), bundle.digest, own


def _published(arguments: argparse.Namespace) -> tuple[str, str]:
    """Return the address of a version that no alias can move, and its digest."""
    from overwinter.bundle import Keys
    from overwinter.bundle.store import StoreAddress, open_store

    address = StoreAddress.parse(arguments.bundle)
    store = open_store(address.store, keys=Keys(trusted=tuple(arguments.trusted)))
    _, version = store.resolve(address.name, address.which)
    return f"{store.address}#{address.name}@sha256:{version.digest}", version.digest


def _deployment(arguments: argparse.Namespace, service: ServiceConfig, source: str, digest: str) -> Deployment:
    from overwinter.deploy import Deployment
    from overwinter.deploy.deployment import overrides_of, read_trusted, variables_of
    from overwinter.documents import read_yaml
    from overwinter.pipeline.creation import template_folder

    serve = service.serve
    if serve.port == 0:
        raise ConfigError("serve.port=0 would be another port at every start. Name one.")
    defaults = read_yaml(template_folder() / "configs" / "serve" / "default.yaml")
    return Deployment(
        name=arguments.name,
        bundle=Path(source),
        digest=digest,
        serve=serve,
        overrides=overrides_of(serve, defaults),
        others=tuple(text for text in arguments.overrides if not text.lstrip("+~").startswith("serve")),
        variables=variables_of(dataclasses.asdict(service.carbon)),
        trusted=read_trusted(arguments.trusted),
        fixed_idle_s=arguments.idle_s,
        start_s=arguments.start_s,
    )


def _renderer(arguments: argparse.Namespace, folder: Path, own: dict[str, Any]) -> Renderer:
    from overwinter.deploy import Container, Cron, Kubernetes, Systemd, Vm

    given: dict[str, Any] = {key: getattr(arguments, key) for key in _SETTINGS[arguments.form]} | own
    if arguments.form == "cron":
        given |= {"script": str(folder / f"{arguments.name}.sh"), "state": str(folder / f"{arguments.name}.state")}
    forms: dict[str, Any] = {
        "kubernetes": Kubernetes,
        "systemd": Systemd,
        "cron": Cron,
        "container": Container,
        "vm": Vm,
    }
    renderer: Renderer = forms[arguments.form](**given)
    return renderer


def _of_image(arguments: argparse.Namespace, bundle: Bundle) -> dict[str, Any]:
    from overwinter.deploy.images import checked_image
    from overwinter.deploy.requirements import needed_by, tables

    checked_image(arguments.base, key="--base")
    if arguments.image is not None:
        checked_image(arguments.image, key="--image")
    return {
        **_package(arguments.package, Path(arguments.bundle).resolve().parent),
        "needed": needed_by(bundle),
        "tables": tables(),
        "token": str(arguments.token.resolve()),
    }


def _of_pods(arguments: argparse.Namespace, bundle: Bundle) -> dict[str, Any]:
    from overwinter.deploy.images import checked_image

    checked_image(arguments.image, key="--image")
    checked_image(arguments.kubectl_image, key="--kubectl-image")
    return {"bundle_bytes": bundle.size_bytes}


def _of_units(arguments: argparse.Namespace, bundle: Bundle) -> dict[str, Any]:
    from overwinter.deploy.sandbox import open_to_everybody

    own = _own_environment() if arguments.program == _own_program() else ()
    return {
        "runtime": bundle.runtime,
        "device": bundle.device,
        "private": not open_to_everybody(Path(arguments.bundle).resolve()),
        "environment": [Path(arguments.program).parents[1], *own],
    }


def _own_environment() -> tuple[Path, ...]:
    """Return the folders that this program is in; in a checkout, sources and template are beside the environment."""
    from overwinter.pipeline.creation import template_folder

    interpreter = Path(sys.executable).resolve().parents[1]
    return (
        Path(sys.prefix),
        Path(sys.base_prefix),
        interpreter,
        Path(__file__).parents[2],
        template_folder() / "configs",
    )


def _package(given: str, context: Path) -> dict[str, str]:
    """Return what pip installs, and the name of the wheel that this is, if it is one.

    Raises:
        ConfigError: the wheel is elsewhere.
    """
    from overwinter.deploy.requirements import package_in

    wheel = Path(given)
    if wheel.suffix != ".whl":
        return {"package": given}
    if wheel.is_file() and wheel.resolve().parent == context:
        return {"package": package_in(wheel), "wheel": wheel.name}
    raise ConfigError(f"--package {given}: a wheel must be beside the bundle, where the build sees it: in {context}.")


def _of_machines(arguments: argparse.Namespace) -> dict[str, Any]:
    from overwinter.deploy.vm import checked_command

    return {
        "clients": tuple(arguments.clients),
        "token_command": checked_command(arguments.token_command),
        "keys": tuple(arguments.key),
    }


def _add_kubernetes(form: argparse.ArgumentParser) -> None:
    from overwinter.deploy.images import KUBECTL

    form.add_argument(
        "--image",
        required=True,
        metavar="NAME@sha256:DIGEST",
        help="with the bundle in it, as `deploy container` builds it; a tag is warned of",
    )
    form.add_argument(
        "--kubectl-image", default=KUBECTL, metavar="NAME@sha256:DIGEST", help=f"sets Knative's windows ({KUBECTL})"
    )
    form.add_argument("--hostname", required=True, help="by which clients reach the service")
    form.add_argument("--knative", action="store_true", help="a Knative Service instead of KEDA")
    form.add_argument("--memory", type=_memory, default="1Gi", help="limit of a pod (1Gi)")
    form.add_argument("--cpus", type=int, default=1, help="limit of a pod (1)")
    form.add_argument(
        "--prometheus", metavar="URL", help="reads the pods' /metrics; needed for serve.replicas.wait_s (none)"
    )
    form.add_argument("--gpus", type=int, default=0, help="NVIDIA GPUs of a pod (0)")


def _memory(text: str) -> str:
    """Return a limit such as 1G: what it goes into has lines, and a text of two would be two settings."""
    if not _MEMORY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of memory, such as 512M")
    return text


def _user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a user")
    return text


def _add_systemd(form: argparse.ArgumentParser) -> None:
    _add_program(form)
    form.add_argument("--backend-port", type=int, default=18080, help="of the server, on 127.0.0.1 (18080)")
    form.add_argument(
        "--run-as",
        type=_user,
        metavar="USER",
        help="who may read the bundle (a user that exists only while the server runs)",
    )
    form.add_argument("--memory", type=_memory, default="1G", help="limit of the server and its workers (1G)")


def _add_cron(form: argparse.ArgumentParser) -> None:
    _add_program(form)
    form.add_argument("--machine-zone", default="UTC", metavar="ZONE", help="what the machine's clock shows (UTC)")


def _add_container(form: argparse.ArgumentParser) -> None:
    form.add_argument("--token", type=Path, required=True, metavar="FILE", help="with the bearer token")
    form.add_argument(
        "--package",
        default=f"overwinter=={__version__}",
        help="what pip installs in the image: a requirement, or a wheel beside the bundle (this version)",
    )
    from overwinter.deploy.images import BASE

    form.add_argument("--base", default=BASE, metavar="NAME@sha256:DIGEST", help=f"what the image is built on ({BASE})")
    form.add_argument(
        "--image",
        metavar="NAME@sha256:DIGEST",
        help="what runs, once it was pushed (localhost/NAME, as it was built here)",
    )
    form.add_argument("--memory", type=_memory, default="1g", help="limit of the container (1g)")
    form.add_argument("--cpus", type=float, default=1.0, help="limit of the container (1)")


def _add_vm(form: argparse.ArgumentParser) -> None:
    form.add_argument(
        "--token-command",
        required=True,
        metavar="WORDS",
        help="prints the token, on a machine and as root, such as `aws ssm get-parameter ...`",
    )
    form.add_argument(
        "--clients", action="append", required=True, metavar="CIDR", help="addresses that may ask, such as 10.0.0.0/8"
    )
    form.add_argument("--instance-type", default="t3.medium", help="of a machine (t3.medium)")
    form.add_argument(
        "--package",
        default=f"overwinter[s3]=={__version__}",
        help="what pip installs there (this version, with the extra s3)",
    )
    form.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="SOURCE",
        help="opens the bundle, as a machine finds it: command:...",
    )


def _add_program(form: argparse.ArgumentParser) -> None:
    form.add_argument(
        "--program", default=_own_program(), help="absolute path of overwinter (the one of this environment)"
    )


def _own_program() -> str:
    return str(Path(sys.executable).with_name("overwinter"))


_OWN = {
    "container": _of_image,
    "kubernetes": _of_pods,
    "systemd": _of_units,
}  # form: what its renderer takes from the bundle
_ADD = {
    "kubernetes": _add_kubernetes,
    "systemd": _add_systemd,
    "cron": _add_cron,
    "container": _add_container,
    "vm": _add_vm,
}
_SETTINGS = {  # form: what its renderer takes from the command line as it is
    "kubernetes": ("image", "hostname", "knative", "memory", "cpus", "gpus", "prometheus", "kubectl_image"),
    "systemd": ("program", "backend_port", "run_as", "memory"),
    "cron": ("program", "machine_zone"),
    "container": ("memory", "cpus", "base", "image"),
    "vm": ("package", "instance_type"),
}
