"""`overwinter deploy ORCHESTRATOR BUNDLE [OVERRIDES]`: write files for Kubernetes, systemd, cron, containers, VMs.

`overwinter deploy job [OVERRIDES]` deploys the pipeline instead of a bundle (`deploy_job`).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.cli import deploy_job
from overwinter.errors import ConfigError
from overwinter.registries import ORCHESTRATORS

if TYPE_CHECKING:
    from overwinter.config.groups.serve import ServiceConfig
    from overwinter.deploy import Deployment, Orchestrator
    from overwinter.deploy.source import Source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the orchestrators and the flags of each."""
    targets = parser.add_subparsers(dest="target", required=True, metavar="TARGET")
    for name in ORCHESTRATORS.names():
        orchestrator: type[Orchestrator] = ORCHESTRATORS.find(name)
        target = targets.add_parser(name, help=orchestrator.summary, description=orchestrator.summary)
        target.add_argument("bundle", help=orchestrator.bundle_help)
        _add_common_arguments(target)
        orchestrator.add_arguments(target)
    deploy_job.add_arguments(targets.add_parser("job", help=deploy_job.SUMMARY, description=deploy_job.SUMMARY))


def _add_common_arguments(target: argparse.ArgumentParser) -> None:
    target.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="overrides of configs/serve, as for `overwinter serve`"
    )
    target.add_argument(
        "--name", default="model", help="name of the service: lower-case letters, digits, hyphens (model)"
    )
    target.add_argument("--output", type=Path, metavar="DIR", help="output folder (deploy/TARGET)")
    target.add_argument(
        "--idle-s",
        type=float,
        metavar="S",
        help="idle time before scaling to zero (time-out of policy fixed, else 300)",
    )
    target.add_argument(
        "--trusted",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="public key that must have signed the bundle",
    )
    target.add_argument("--start-s", type=float, default=60.0, metavar="S", help="time from start to ready (60)")


def run(arguments: argparse.Namespace) -> int:
    """Write the files and print the next step."""
    if arguments.target == "job":
        return deploy_job.run(arguments)
    from overwinter.cli.service import load_service
    from overwinter.files import write_text

    service = load_service(arguments.overrides, from_environment=False)
    arguments.output = folder = arguments.output or Path("deploy") / arguments.target
    orchestrator, source = ORCHESTRATORS.find(arguments.target).from_arguments(arguments)
    deployment = _deployment(arguments, service, source)
    for name, text in orchestrator.render(deployment).items():
        write_text(folder / name, text, mode=0o755 if name.endswith(".sh") else 0o644)
        print(folder / name)
    _warn_of_tags(orchestrator, deployment)
    print(f"Next: {orchestrator.next_step(deployment, folder)}")
    return 0


def _warn_of_tags(orchestrator: Orchestrator, deployment: Deployment) -> None:
    from overwinter.deploy.images import is_pinned, of_tag

    for image in orchestrator.images(deployment):
        if not is_pinned(image):
            print(f"Warning: {of_tag(image)}", file=sys.stderr)


def _deployment(arguments: argparse.Namespace, service: ServiceConfig, source: Source) -> Deployment:
    from overwinter.deploy import Deployment
    from overwinter.deploy.deployment import overrides_of, read_trusted, variables_of
    from overwinter.documents import read_yaml
    from overwinter.template import template_folder

    serve = service.serve
    if serve.port == 0:
        raise ConfigError("serve.port=0 picks another port at every start. Set a fixed port.")
    defaults = read_yaml(template_folder() / "configs" / "serve" / "default.yaml")
    return Deployment(
        name=arguments.name,
        bundle=Path(source.address),
        digest=source.digest,
        serve=serve,
        overrides=overrides_of(serve, defaults),
        others=tuple(text for text in arguments.overrides if not text.lstrip("+~").startswith("serve")),
        variables=variables_of(dataclasses.asdict(service.carbon)),
        trusted=read_trusted(arguments.trusted),
        fixed_idle_s=arguments.idle_s,
        start_s=arguments.start_s,
    )
