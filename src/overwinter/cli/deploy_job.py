"""`overwinter deploy job [overrides]`: write the pipeline's stages as Kubernetes Jobs; with --release, resume them."""

from __future__ import annotations

import argparse
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.deploy.flags import memory_limit
from overwinter.errors import EXIT_DONE, EXIT_FAILED, ConfigError, OverwinterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from overwinter.carbon.provider import Point
    from overwinter.config import Config, Project
    from overwinter.deploy.cluster import Cluster
    from overwinter.deploy.job_tree import StageJob
    from overwinter.deploy.jobs import Room
    from overwinter.deploy.releasing import Decision
    from overwinter.sweep.points import Point as SweepPoint

SUMMARY = "the pipeline's stages as Kubernetes Jobs, released at clean hours within a deadline"
_CLOCKS_DIFFER_S = 60.0
_LAST_PORT = 65535
_RENDERING = ("image", "claim")
_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what renders Jobs, and what releases them."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="Hydra overrides, as for `overwinter run`")
    parser.add_argument("-m", "--multirun", action="store_true", help="every combination of several values")
    parser.add_argument("--until", metavar="STAGE", help="last stage (the pipeline's; with -m, evaluate)")
    parser.add_argument("--name", default="pipeline", help="name of the tree: lower-case letters, digits, hyphens")
    parser.add_argument("--output", type=Path, default=Path("deploy/job"), metavar="DIR", help="folder (deploy/job)")
    parser.add_argument(
        "--image", metavar="NAME@sha256:DIGEST", help="image with the project in /project, best named by its digest"
    )
    parser.add_argument("--claim", metavar="NAME", help="PersistentVolumeClaim of the cache, ledger and checkpoints")
    parser.add_argument(
        "--deadline", metavar="WHEN", help="end of all Jobs: 12h from now, or a time with its zone (none: no waiting)"
    )
    parser.add_argument("--cpus", type=int, default=1, help="CPU limit of a stage (1)")
    parser.add_argument("--memory", type=memory_limit, default="4Gi", help="memory limit of a stage (4Gi)")
    parser.add_argument("--gpus", type=int, default=0, help="NVIDIA GPUs of a stage (0)")
    parser.add_argument("--scratch", type=memory_limit, default="4Gi", help="size of a pod's copy of the project (4Gi)")
    parser.add_argument(
        "--resources",
        action="append",
        default=[],
        metavar="STAGE=cpus:N,memory:SIZE,gpus:N",
        help="the same of one stage, such as train=cpus:4,gpus:1",
    )
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME",
        help="Secret whose keys are environment variables of every stage, such as AWS_ACCESS_KEY_ID",
    )
    parser.add_argument(
        "--port",
        action="append",
        type=int,
        default=[],
        metavar="N",
        help="TCP port beside 443 at which stages reach what they read, such as 9000 of an S3 server of one's own",
    )
    release = parser.add_argument_group("releasing")
    release.add_argument("--release", metavar="NAME", help="resume the Jobs of this tree that may run now")
    release.add_argument("--api", metavar="URL", help="address of `kubectl proxy` (in a pod: the cluster's)")
    release.add_argument("--namespace", default="default", help="namespace behind --api (default)")


def run(arguments: argparse.Namespace) -> int:
    """Write jobs.yaml, or resume Jobs; return 1 if one has failed."""
    if arguments.release is not None:
        return _release(arguments)
    if missing := [name for name in _RENDERING if getattr(arguments, name) is None]:
        raise ConfigError(f"--{missing[0]} is missing. `overwinter deploy job` needs an image and a claim.")
    from overwinter.config import find_project
    from overwinter.deploy.job_tree import JobTree, without_shared
    from overwinter.deploy.jobs import Jobs
    from overwinter.files import write_text

    project, now_utc = find_project(), datetime.now(UTC)
    points = _points(project, arguments)
    config = points[0].config
    tree = JobTree(arguments.name, without_shared(_stage_jobs(project, points)), _deadline(arguments.deadline, now_utc))
    tree.check_deadline(now_utc)
    jobs = Jobs(**_settings(arguments, config), addresses=_addresses(points))
    path = arguments.output / "jobs.yaml"
    write_text(path, jobs.render(tree))
    print(path)
    _warn(jobs.image)
    print(f"Next: kubectl apply -f {path}")
    return EXIT_DONE


def _points(project: Project, arguments: argparse.Namespace) -> list[SweepPoint]:
    from overwinter.sweep.expanding import expand
    from overwinter.sweep.points import make_points

    if not arguments.multirun:
        points = make_points(project, [arguments.overrides], until="")
    else:
        until = [] if arguments.until is None else [f"hydra.launcher.until={arguments.until}"]
        expansion = expand(project, [*arguments.overrides, *until])
        if expansion.drawn:
            raise ConfigError("a search chooses its points from its results. Render a sweep whose points are known.")
        points = make_points(project, expansion.jobs, until=expansion.settings.until)
    return [_up_to(point, arguments.until) for point in points]


def _up_to(point: SweepPoint, until: str | None) -> SweepPoint:
    from dataclasses import replace

    from overwinter.pipeline.render import stages_until

    kept = stages_until(until, point.config)
    return replace(point, keys={stage: key for stage, key in point.keys.items() if stage in kept})


def _stage_jobs(project: Project, points: Sequence[SweepPoint]) -> list[StageJob]:
    from overwinter.deploy.job_tree import StageJob
    from overwinter.ledger import Ledger, ledger_path
    from overwinter.sweep.costs import Costs

    path = ledger_path(project.root)
    records = []
    if path.exists():
        with Ledger.open(path) as ledger:
            records = ledger.executions()
    costs = Costs(records)
    found = []
    for point in points:
        for stage, key in point.keys.items():
            duration_s = costs.stage(point, stage).duration_s
            found.append(
                StageJob(
                    stage=stage,
                    key=key,
                    overrides=point.overrides,
                    needs=tuple(point.keys[need] for need in point.config.pipeline.stages[stage].needs),
                    duration_s=None if duration_s is None else duration_s.high,
                )
            )
    return found


def _settings(arguments: argparse.Namespace, config: Config) -> dict[str, Any]:
    import dataclasses

    from overwinter.carbon import LiveCarbonConfig
    from overwinter.deploy.deployment import variables_of
    from overwinter.deploy.images import checked_image
    from overwinter.deploy.jobs import Room

    _check_name(arguments.claim, flag="--claim", kind="PersistentVolumeClaim")
    for secret in arguments.secret:
        _check_name(secret, flag="--secret", kind="Secret")
    room = Room(cpus=arguments.cpus, memory=arguments.memory, gpus=arguments.gpus)
    return {
        "image": checked_image(arguments.image, key="--image"),
        "claim": arguments.claim,
        "room": room,
        "rooms": dict(_room_of(text, room, list(config.pipeline.stages)) for text in arguments.resources),
        "scratch": arguments.scratch,
        "variables": variables_of(dataclasses.asdict(config.carbon)),
        "asks_outside": isinstance(config.carbon, LiveCarbonConfig),
        "carbon": tuple(each for each in arguments.overrides if each.lstrip("+~").startswith("carbon")),
        "secrets": tuple(dict.fromkeys(arguments.secret)),
        "ports": tuple(_checked_port(port) for port in dict.fromkeys(arguments.port)),
    }


def _check_name(name: str, *, flag: str, kind: str) -> None:
    if not _OBJECT.fullmatch(name):
        raise ConfigError(f"{flag} {name!r} is not the name of a {kind}: lower-case letters, digits, - and . only.")


def _checked_port(port: int) -> int:
    if not 0 < port <= _LAST_PORT:
        raise ConfigError(f"--port {port} must be from 1 to {_LAST_PORT}.")
    return port


def _addresses(points: Sequence[SweepPoint]) -> tuple[str, ...]:
    """Return what the stages of all points read over the network."""
    from overwinter.data.local_files import remote_places
    from overwinter.models.hub import is_on_hub

    found: dict[str, None] = {}
    for config in (point.config for point in points):
        found |= dict.fromkeys(place for places in remote_places(config).values() for place in places)
        root = config.model.get("root")
        found |= {root: None} if isinstance(root, str) and is_on_hub(root) else {}
    return tuple(place for place in found if not place.startswith("file://"))


def _room_of(text: str, usual: Room, stages: Sequence[str]) -> tuple[str, Room]:
    """Return the stage and the resources that `train=cpus:4,memory:8Gi,gpus:1` names."""
    from dataclasses import replace

    stage, _, listed = text.partition("=")
    if stage not in stages:
        raise ConfigError(f"--resources {text!r}: there is no such stage. Stages: {', '.join(stages)}.")
    try:
        given = dict(part.split(":") for part in listed.split(","))
        kinds: Mapping[str, Any] = {"cpus": int, "memory": memory_limit, "gpus": int}
        return stage, replace(usual, **{name: kinds[name](value) for name, value in given.items()})
    except (KeyError, ValueError, argparse.ArgumentTypeError):
        raise ConfigError(f"--resources {text!r} cannot be read. Write {stage}=cpus:4,memory:8Gi,gpus:1.") from None


def _deadline(text: str | None, now_utc: datetime) -> datetime | None:
    from overwinter.power.settings import read_deadline

    deadline_utc = read_deadline(text, started_utc=now_utc, key="--deadline")
    if deadline_utc is not None and deadline_utc <= now_utc:
        raise ConfigError(
            f"--deadline {text} is in the past: it is {now_utc:%Y-%m-%d %H:%M} UTC now. Name a later one."
        )
    return deadline_utc


def _warn(image: str) -> None:
    from overwinter.deploy.images import is_pinned, of_tag

    if not is_pinned(image):
        print(f"Warning: {of_tag(image)}", file=sys.stderr)


# Releasing.


def _release(arguments: argparse.Namespace) -> int:
    from overwinter.config import compose, find_project, validate
    from overwinter.deploy.cluster import Cluster
    from overwinter.deploy.releasing import decide, read_job

    api = arguments.api
    cluster = Cluster.around() if api is None else Cluster.through_proxy(api, arguments.namespace)
    carbon = validate(compose(find_project(), arguments.overrides)).carbon
    items, server_utc = cluster.jobs(arguments.release)
    if not items:
        raise ConfigError(
            f"--release {arguments.release}: there are no such Jobs in {cluster.namespace}. Apply their file first, or "
            "check --namespace."
        )
    now_utc = _now(server_utc)
    decision = decide([read_job(each) for each in items], now_utc=now_utc, forecast=_forecast(carbon, now_utc))
    for name in decision.resume:
        cluster.resume(name)
    _tell(decision)
    if decision.done:
        _stop(cluster, f"{arguments.release}-release")
    return EXIT_FAILED if decision.failed else EXIT_DONE


def _now(server_utc: datetime | None) -> datetime:
    """Return the cluster's time, which a deadline is compared with, whatever this machine's clock shows."""
    own_utc = datetime.now(UTC)
    if server_utc is None:
        return own_utc
    ahead_s = (own_utc - server_utc).total_seconds()
    if abs(ahead_s) > _CLOCKS_DIFFER_S:
        print(f"The clocks of this machine and of the cluster differ by {abs(ahead_s):.0f} s; the cluster's counts.")
    return server_utc


def _forecast(carbon: Any, now_utc: datetime) -> Sequence[Point]:
    """Return the forecast from now on; empty, with the reason, if there is none."""
    source = carbon.open()
    ahead = getattr(source, "forecast", None)
    try:
        source.at(now_utc)  # waits for a live source's first answer
        points: Sequence[Point] = ahead(now_utc) if ahead is not None else ()
    except OverwinterError as error:
        print(f"The carbon forecast is not known, so nothing waits for it: {error}")
        return ()
    if not points:
        print(f"carbon.source={carbon.source} has no forecast, so nothing waits for it.")
    return points


def _tell(decision: Decision) -> None:
    for name in decision.resume:
        print(f"{name}: resumed")
    for name, start_utc, then_g, now_g in decision.waiting:
        print(f"{name}: waits until {start_utc:%Y-%m-%d %H:%M} UTC ({then_g:.0f} g/kWh instead of {now_g:.0f})")
    for name in decision.failed:
        print(f"{name}: failed; see `kubectl logs job/{name}`. Delete it and apply its file again to repeat it.")
    for name in decision.blocked:
        print(f"{name}: stays suspended, since a Job before it has failed")


def _stop(cluster: Cluster, cron_job: str) -> None:
    """Suspend the CronJob once nothing is left to resume."""
    try:
        cluster.suspend_schedule(cron_job)
    except OverwinterError:
        return  # a tree that is released by hand has none
    print(f"{cron_job}: suspended, since nothing is left to resume")
