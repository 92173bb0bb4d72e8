"""The group `serve/`: a hibernating server, and the small configuration that it is composed in.

Whether the sleep policy can be opened is asked above, where policies are (`overwinter.serving.sleep.check_sleep`).
"""

from __future__ import annotations

import ipaddress
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from overwinter.config.settings import setting
from overwinter.errors import ConfigError

LEVELS = ("parked", "preforked", "off")


@dataclass
class AccessConfig:
    """Who may send requests."""

    token_file: str | None = setting(
        "file (0600) with the token that every request but health checks must carry (Authorization: Bearer TOKEN); "
        "null: no token"
    )
    tls_cert: str | None = setting("PEM file with the server's certificates; null: plain HTTP")
    tls_key: str | None = setting("PEM file (0600) with the private key")
    client_ca: str | None = setting(
        "PEM file; every client must have a certificate signed by one of these (mTLS); null: none is asked for"
    )
    hosts: list[str] = setting(
        "host names, such as models.lan, by which clients may call a server that asks for no token, and whose web "
        "pages may call it (CORS)"
    )


@dataclass
class LimitsConfig:
    """What one client can take."""

    body_bytes: int = setting("largest body of a request", at_least=1)
    text_bytes: int = setting("largest prompt or chat (/v1), which the supervisor reads itself", at_least=1)
    json_values: int = setting(
        "most values and keys in the JSON of a request, and most numbers in a response; send larger tensors as binary "
        "data",
        at_least=1,
    )
    header_bytes: int = setting("largest header of a request", at_least=1024)
    connections: int = setting(
        "open connections; beyond, the one that has waited longest without a request is closed", at_least=1
    )
    connections_per_address: int = setting(
        "open connections from one address (IPv6: one /64), this machine's own excepted; behind a proxy elsewhere: as "
        "many as connections",
        at_least=1,
    )
    head_s: float = setting(
        "time to send the head of a request: from the connection on, TLS included, or from its first byte", above=0
    )
    read_s: float = setting(
        "time to send the body of a request, or to read at least 16 KiB more of a response", above=0
    )
    keep_alive_s: float = setting("an idle connection is closed after this time", above=0)
    held_bytes: int = setting("total size of the requests in memory; beyond, 503 with Retry-After", at_least=1)
    queue: int = setting("waiting requests per model; beyond, 503 with Retry-After", at_least=1)
    response_s: float = setting(
        "deadline of a request, waiting and waking included; of a streamed text, until it begins", above=0
    )
    response_tokens: int = setting("longest text that a language model generates", at_least=1)


@dataclass
class WorkerConfig:
    """The process that computes."""

    threads: int = setting("CPU threads of one prediction", at_least=1)
    launcher: list[str] = setting(
        "words before the worker's command, such as [podman, run, ...]; it speaks over its standard input and output"
    )
    wake_s: float = setting(
        "a wake that takes longer is ended and tried again; after 3 failures in a row, only by hand", above=0
    )
    stop_s: float = setting("time to exit by itself, after which the worker is killed", above=0)
    backoff_s: float = setting("pause after a crash, doubled at every further one in a row", above=0)
    max_backoff_s: float = setting("longest pause after a crash", above=0)


@dataclass
class WindowConfig:
    """A window of the week in which the model is kept ready."""

    start: str = setting("cron expression of five fields")
    end: str = setting("cron expression of five fields")
    time_zone: str = setting("IANA name, such as Europe/Berlin", default="UTC")


@dataclass
class SleepConfig:
    """When an idle model sleeps, and how deep (`overwinter.serving.sleep`)."""

    policy: str = setting(
        "fixed, break_even, randomised, learned, or an entry point of another package (overwinter.sleep_policies)"
    )
    options: dict[str, Any] = setting("options of the policy, such as {timeout_s: 300} for fixed")
    seed: int = setting("random seed of a randomised policy", at_least=0)
    levels: list[str] = setting(
        "where an idle model may sleep, from the quickest to wake to the cheapest: parked (weights released), "
        "preforked "
        "(only modules imported), off (no worker)",
        choices=LEVELS,
    )
    wake_p95_s: float | None = setting(
        "at most a twentieth of the requests may wait longer for a wake; null: no limit", at_least=0
    )
    windows: list[WindowConfig] = setting(
        "when the model is kept ready, woken in time: [{start: 0 8 * * 1-5, end: 0 18 * * 1-5, time_zone: "
        "Europe/Berlin}]"
    )
    parked_wake_s: float = setting(
        "how long a wake from parked takes, for the policy (benchmarks/server_wake.py measures it)", above=0
    )
    preforked_wake_s: float = setting("how long a wake from preforked takes, for the policy", above=0)
    off_wake_s: float = setting("how long a wake from off takes, for the policy", above=0)


@dataclass
class PowerDrawConfig:
    """What a sleep releases (memory, a GPU, a machine) in watts, and what a wake costs in joules."""

    source: str | None = setting(
        "how the power draw was measured, beginning with modelled where a part was; null: they are guesses, and no "
        "saving "
        "is claimed"
    )
    ready_w: float = setting("power draw while ready to answer", at_least=0)
    parked_w: float = setting("power draw while parked: worker alive, weights released", at_least=0)
    preforked_w: float = setting("power draw while preforked: only modules imported", at_least=0)
    off_w: float = setting("power draw while off: no worker", at_least=0)
    parked_wake_j: float = setting("energy of one wake from parked, above what off draws in the same time", at_least=0)
    preforked_wake_j: float = setting(
        "energy of one wake from preforked, likewise; the start of the process is not in it", at_least=0
    )
    off_wake_j: float = setting("energy of one wake from off, likewise, with the start of the process", at_least=0)
    uncertainty_w: float = setting("standard uncertainty of each of the power draws", at_least=0)
    wake_uncertainty_j: float = setting("standard uncertainty of the energy of each wake", at_least=0)


@dataclass
class ReplicasConfig:
    """Workers of one model."""

    min: int = setting("workers kept ready; 0: the model may sleep", at_least=0)
    max: int = setting("most workers of one model at once", at_least=1)
    queue_per_replica: int = setting("more waiting requests per worker than this add a worker", at_least=1)
    wait_s: float | None = setting(
        "a request that has waited that long adds a worker, too; null: the queue alone counts", above=0
    )
    idle_s: float = setting("a worker beyond the first exits after that long without work", at_least=0)


@dataclass
class DeferralConfig:
    """Requests that wait for a greener hour (`Overwinter-Deadline`)."""

    requests: int = setting(
        "requests that wait, or whose response is kept, at once; beyond, 503 with Retry-After", at_least=1
    )
    bytes: int = setting(
        "bodies and responses of deferred requests on disk; responses that were fetched make room first", at_least=1
    )
    refresh_s: float = setting("time between two forecasts while requests wait", above=0)
    retention_s: float = setting("how long the response to Prefer: respond-async can be fetched", above=0)


@dataclass
class PersistenceConfig:
    """What is kept in `state` for the user: none of it unless declared."""

    response_cache_bytes: int = setting(
        "responses kept for equal requests, which then wake no model; 0: none", at_least=0
    )
    prefix_cache: bool = setting(
        "a language model keeps what it has read last, also over sleep: a prompt that begins alike is not read again"
    )


@dataclass
class ServeConfig:
    """The server."""

    host: str = setting(
        "address to listen on; one that other machines can reach needs access.token_file or access.client_ca"
    )
    port: int = setting("port to listen on; 0: any free one, printed at the start", at_least=0, at_most=65535)
    log: str | None = setting("file of JSON lines; null: standard error")
    log_requests: bool = setting("log each request too: its id, method, path without the query, status and duration")
    state: str | None = setting(
        "folder of what outlives sleep and restarts: what a policy has learned, deferred requests, caches; null: "
        "nothing does"
    )
    idle_exit_s: float | None = setting(
        "exit after that long without a request, where systemd holds the port (LISTEN_FDS) and starts the server "
        "again; null: never",
        above=0,
    )
    access: AccessConfig = setting("who may send requests", default_factory=AccessConfig)
    limits: LimitsConfig = setting("what one client can take", default_factory=LimitsConfig)
    worker: WorkerConfig = setting("the process that computes", default_factory=WorkerConfig)
    sleep: SleepConfig = setting("when an idle model sleeps, and how deep", default_factory=SleepConfig)
    power_draw: PowerDrawConfig = setting(
        "watts of what a sleep releases and joules of what a wake costs; `overwinter power-draw` measures them",
        default_factory=PowerDrawConfig,
    )
    replicas: ReplicasConfig = setting("workers of one model", default_factory=ReplicasConfig)
    persistence: PersistenceConfig = setting(
        "what is kept in state, beside what a policy has learned; written before sleep and read after it",
        default_factory=PersistenceConfig,
    )
    deferral: DeferralConfig = setting(
        "requests that wait for the greenest hour before their Overwinter-Deadline", default_factory=DeferralConfig
    )


@dataclass
class ServiceConfig:
    """What `overwinter serve` and `overwinter deploy` compose, apart from params.yaml."""

    trusted_targets: list[str] = setting(
        "packages whose model classes a worker may build, beside overwinter and torch: [my_package]"
    )
    carbon: Any = MISSING
    serve: ServeConfig = field(default_factory=ServeConfig)


def check_serve(serve: ServeConfig) -> None:
    """Check what ranges and choices cannot say of the group `serve/`.

    Raises:
        ConfigError: the first values that do not go together, with their keys, and what is allowed.
    """
    if serve.state is None and (serve.persistence.response_cache_bytes or serve.persistence.prefix_cache):
        raise ConfigError("serve.persistence needs a folder to keep it in: name one in serve.state.")
    _check_access(serve.host, serve.access)
    _check_sleep(serve.sleep)
    _check_power_draw(serve.power_draw, serve.sleep.levels)
    if serve.replicas.min > serve.replicas.max:
        raise ConfigError(
            f"serve.replicas.min={serve.replicas.min} must be at most serve.replicas.max={serve.replicas.max}."
        )


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
            f"serve.host={host!r} can be reached from other machines, and no one would be asked who they are.\n"
            "Name a file in serve.access.token_file or serve.access.client_ca, or listen on 127.0.0.1."
        )


def _check_sleep(sleep: SleepConfig) -> None:
    if not sleep.levels or sleep.levels != [level for level in LEVELS if level in sleep.levels]:
        raise ConfigError(
            f"serve.sleep.levels={sleep.levels} must name some of {', '.join(LEVELS)}, each once, in this order."
        )
    if sleep.policy == "scheduled":
        raise ConfigError(
            "serve.sleep.policy=scheduled: name the policy that holds outside the windows, and give "
            "serve.sleep.windows."
        )


def _check_power_draw(power_draw: PowerDrawConfig, levels: list[str]) -> None:
    watts = [(f"{level}_w", getattr(power_draw, f"{level}_w")) for level in ("ready", *levels)]
    for (above, above_w), (below, below_w) in itertools.pairwise(watts):
        if below_w >= above_w:
            raise ConfigError(
                f"serve.power_draw.{below}={below_w:g} must be below serve.power_draw.{above}={above_w:g}: a sleep "
                f"level that saves "
                "nothing does not belong in serve.sleep.levels."
            )
