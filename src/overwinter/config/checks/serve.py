"""What a type cannot say of the group `serve/`."""

from __future__ import annotations

import ipaddress
import itertools
from pathlib import Path

from overwinter.config.checks.ranges import check_at_least, check_choice
from overwinter.config.groups.serve import AccessConfig, DrawsConfig, ReplicasConfig, ServeConfig, SleepConfig
from overwinter.errors import ConfigError

RUNGS = ("parked", "preforked", "off")
_LEAST = {  # key: (least, whether above it)
    "limits.body_bytes": (1, False),
    "limits.text_bytes": (1, False),
    "limits.json_values": (1, False),
    "limits.header_bytes": (1024, False),
    "limits.connections": (1, False),
    "limits.connections_per_address": (1, False),
    "limits.head_s": (0, True),
    "limits.read_s": (0, True),
    "limits.keep_alive_s": (0, True),
    "limits.held_bytes": (1, False),
    "limits.queue": (1, False),
    "limits.answer_s": (0, True),
    "limits.answer_tokens": (1, False),
    "worker.threads": (1, False),
    "worker.wake_s": (0, True),
    "worker.stop_s": (0, True),
    "worker.backoff_s": (0, True),
    "worker.longest_backoff_s": (0, True),
    "sleep.seed": (0, False),
    "sleep.wake_p95_s": (0, False),
    "sleep.parked_wake_s": (0, True),
    "sleep.preforked_wake_s": (0, True),
    "sleep.off_wake_s": (0, True),
    "draws.ready_w": (0, False),
    "draws.parked_w": (0, False),
    "draws.preforked_w": (0, False),
    "draws.off_w": (0, False),
    "draws.parked_wake_j": (0, False),
    "draws.preforked_wake_j": (0, False),
    "draws.off_wake_j": (0, False),
    "draws.uncertainty_w": (0, False),
    "draws.wake_uncertainty_j": (0, False),
    "replicas.fewest": (0, False),
    "replicas.most": (1, False),
    "replicas.queue_per_replica": (1, False),
    "replicas.wait_s": (0, True),
    "replicas.idle_s": (0, False),
    "keep.answers_bytes": (0, False),
    "deferral.requests": (1, False),
    "deferral.bytes": (1, False),
    "deferral.refresh_s": (0, True),
    "deferral.kept_s": (0, True),
}


def check_serve(serve: ServeConfig) -> None:
    """Check the group `serve/`.

    Raises:
        ConfigError: the first value that cannot be used, with its key, and what is allowed.
    """
    for key, (least, above) in _LEAST.items():
        group, _, name = key.partition(".")
        value = getattr(getattr(serve, group), name)
        if value is not None:  # serve.sleep.wake_p95_s, serve.replicas.wait_s
            check_at_least(f"serve.{key}", value, least, above=above)
    if not 0 <= serve.port <= 65535:
        raise ConfigError(f"serve.port={serve.port} must be from 0 (any free one) to 65535.")
    if serve.idle_exit_s is not None:
        check_at_least("serve.idle_exit_s", serve.idle_exit_s, 0, above=True)
    if serve.state is None and (serve.keep.answers_bytes or serve.keep.prefix):
        raise ConfigError("serve.keep needs a folder to keep it in: name one in serve.state.")
    _check_access(serve.host, serve.access)
    _check_sleep(serve.sleep)
    _check_draws(serve.draws, serve.sleep.rungs)
    _check_replicas(serve.replicas)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_access(host: str, access: AccessConfig) -> None:
    for key in ("token_file", "tls_cert", "tls_key", "client_ca"):
        file = getattr(access, key)
        if file is not None and not Path(file).is_file():
            raise ConfigError(f"serve.access.{key}={file!r} is not there. Name a file, or null.")
    if (access.tls_cert is None) != (access.tls_key is None):
        raise ConfigError("serve.access.tls_cert and serve.access.tls_key belong together: name both files, or none.")
    if access.client_ca is not None and access.tls_cert is None:
        raise ConfigError("serve.access.client_ca needs TLS: name serve.access.tls_cert and serve.access.tls_key too.")
    if not is_loopback(host) and access.token_file is None and access.client_ca is None:
        raise ConfigError(
            f"serve.host={host!r} can be reached from other machines, and nobody would be asked who they are.\n"
            "Name a file in serve.access.token_file or serve.access.client_ca, or listen on 127.0.0.1."
        )


def _check_sleep(sleep: SleepConfig) -> None:
    for rung in sleep.rungs:
        check_choice("serve.sleep.rungs", rung, RUNGS)
    if not sleep.rungs or list(sleep.rungs) != [rung for rung in RUNGS if rung in sleep.rungs]:
        raise ConfigError(
            f"serve.sleep.rungs={list(sleep.rungs)} must name some of {', '.join(RUNGS)}, each once, in this order."
        )
    if sleep.policy == "scheduled":
        raise ConfigError(
            "serve.sleep.policy=scheduled: name the policy that holds outside the windows, and give "
            "serve.sleep.windows."
        )
    _check_policy(sleep)


def _check_policy(sleep: SleepConfig) -> None:
    """Open the policy on a ladder of the same rungs, so that its own checks speak before anything is served."""
    from overwinter.serving.sleep import Ladder, Rung, open_policy
    from overwinter.serving.sleep.windows import parse_windows

    count = len(sleep.rungs)
    rungs = [Rung(name=rung, power_w=float(count - place)) for place, rung in enumerate(["ready", *sleep.rungs])]
    try:
        open_policy(
            sleep.policy,
            Ladder(rungs),
            seed=sleep.seed,
            options=dict(sleep.options),
            limit_p95_s=sleep.wake_p95_s,
        )
        if sleep.windows:
            parse_windows([vars(window) for window in sleep.windows])
    except ConfigError as error:
        raise ConfigError(f"serve.sleep: {error}") from None


def _check_draws(draws: DrawsConfig, rungs: list[str]) -> None:
    watts = [(f"{rung}_w", getattr(draws, f"{rung}_w")) for rung in ("ready", *rungs)]
    for (above, above_w), (below, below_w) in itertools.pairwise(watts):
        if below_w >= above_w:
            raise ConfigError(
                f"serve.draws.{below}={below_w:g} must be below serve.draws.{above}={above_w:g}: a rung that saves "
                "nothing does not belong in serve.sleep.rungs."
            )


def _check_replicas(replicas: ReplicasConfig) -> None:
    if replicas.fewest > replicas.most:
        raise ConfigError(
            f"serve.replicas.fewest={replicas.fewest} must be at most serve.replicas.most={replicas.most}."
        )
