"""The group `serve/`: settings of a hibernating server, and the small configuration that contains them.

`overwinter.serving.sleep.check_sleep` checks the sleep policy itself.
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
    """Authentication of clients: tokens, TLS and host names."""

    token_file: str | None = setting(
        "file (0600) with the token that every request but health checks must carry (Authorization: Bearer TOKEN); "
        "null: no token"
    )
    tls_cert: str | None = setting("PEM file with the server's certificates; null: plain HTTP")
    tls_key: str | None = setting("PEM file (0600) with the private key")
    client_ca: str | None = setting(
        "PEM file of CA certificates; every client needs a certificate signed by one of them (mTLS); null: no mTLS"
    )
    hosts: list[str] = setting(
        "additional host names of a server without authentication, such as models.lan: accepted in Host, and as "
        "origins of web pages (CORS)"
    )


@dataclass
class LimitsConfig:
    """Limits on the size, time and number of requests."""

    body_bytes: int = setting("maximum size of a request body", at_least=1)
    text_bytes: int = setting("maximum size of a prompt or chat (/v1), which the supervisor parses itself", at_least=1)
    json_values: int = setting(
        "maximum number of values and keys in the JSON of a request, and of numbers in a response; larger tensors "
        "must be binary",
        at_least=1,
    )
    header_bytes: int = setting("maximum size of a request's headers", at_least=1024)
    connections: int = setting(
        "maximum number of open connections; beyond it, the one that has been idle longest is closed", at_least=1
    )
    connections_per_address: int = setting(
        "maximum number of open connections from one remote address (IPv6: one /64); behind a proxy on another "
        "machine, set it to connections",
        at_least=1,
    )
    head_s: float = setting(
        "time limit for receiving the head of a request, counted from the connection (TLS included) or its first byte",
        above=0,
    )
    read_s: float = setting(
        "time limit for receiving the body of a request, or for sending the next 16 KiB of a response", above=0
    )
    keep_alive_s: float = setting("idle time after which a connection is closed", above=0)
    held_bytes: int = setting(
        "maximum total size of the requests in memory; beyond it, 503 with Retry-After", at_least=1
    )
    queue: int = setting("maximum number of waiting requests per model; beyond it, 503 with Retry-After", at_least=1)
    response_s: float = setting(
        "time limit for a response, waiting and waking included; for a streamed text, until it begins", above=0
    )
    response_tokens: int = setting(
        "maximum number of tokens that a language model generates for one request", at_least=1
    )


@dataclass
class WorkerConfig:
    """The worker: the process that runs the model."""

    threads: int = setting("CPU threads of one prediction", at_least=1)
    launcher: list[str] = setting(
        "command that starts the worker, such as [podman, run, ...]; the worker uses its standard input and output"
    )
    wake_s: float = setting(
        "time limit for a wake, which is then retried; after 3 failures in a row, only `overwinter wake` retries",
        above=0,
    )
    stop_s: float = setting("grace period for the worker to exit before it is killed", above=0)
    backoff_s: float = setting(
        "delay before the restart after a crash, doubled at every further crash in a row", above=0
    )
    max_backoff_s: float = setting("maximum delay after a crash", above=0)


@dataclass
class WindowConfig:
    """A window of the week in which the model is kept ready."""

    start: str = setting("cron expression of five fields")
    end: str = setting("cron expression of five fields")
    time_zone: str = setting("IANA name, such as Europe/Berlin", default="UTC")


@dataclass
class SleepConfig:
    """The sleep policy of idle models, and the sleep levels it may choose (`overwinter.serving.sleep`)."""

    policy: str = setting(
        "fixed, break_even, randomised, learned, or an entry point of another package (overwinter.sleep_policies)"
    )
    options: dict[str, Any] = setting("options of the policy, such as {timeout_s: 300} for fixed")
    seed: int = setting("random seed of a randomised policy", at_least=0)
    levels: list[str] = setting(
        "allowed sleep levels, from the quickest to wake to the cheapest: parked (weights released), preforked "
        "(only modules imported), off (no worker)",
        choices=LEVELS,
    )
    wake_p95_s: float | None = setting(
        "limit on the 95th percentile of the time that requests wait for a wake; null: no limit", at_least=0
    )
    windows: list[WindowConfig] = setting(
        "times in which the model is kept ready: [{start: 0 8 * * 1-5, end: 0 18 * * 1-5, time_zone: Europe/Berlin}]"
    )
    parked_wake_s: float = setting(
        "assumed duration of a wake from parked, for the policy (benchmarks/server_wake.py measures it)", above=0
    )
    preforked_wake_s: float = setting("assumed duration of a wake from preforked", above=0)
    off_wake_s: float = setting("assumed duration of a wake from off", above=0)


@dataclass
class PowerDrawConfig:
    """Power draw of a model at each sleep level, and the energy of a wake from there."""

    source: str | None = setting(
        "how the power draw was measured; begins with modelled if any of it was; null: a guess, and no saving is "
        "reported"
    )
    ready_w: float = setting("power draw while ready for requests", at_least=0)
    parked_w: float = setting("power draw while parked: worker alive, weights released", at_least=0)
    preforked_w: float = setting("power draw while preforked: only modules imported", at_least=0)
    off_w: float = setting("power draw while off: no worker", at_least=0)
    responding_w: float = setting("power draw of computing responses, above that of ready", at_least=0)
    parked_wake_j: float = setting("energy of one wake from parked, above the draw of off in the same time", at_least=0)
    preforked_wake_j: float = setting(
        "energy of one wake from preforked, above the draw of off, without the start of the process", at_least=0
    )
    off_wake_j: float = setting(
        "energy of one wake from off, above the draw of off, with the start of the process", at_least=0
    )
    uncertainty_w: float = setting("standard uncertainty of each power draw", at_least=0)
    wake_uncertainty_j: float = setting("standard uncertainty of the energy of each wake", at_least=0)


@dataclass
class ServedLedgerConfig:
    """The record of what the server spends, beside the pipeline's (`overwinter report --ledger`)."""

    file: str | None = setting(
        "project: the ledger of the project around the working folder, outside one none; or a SQLite file; null: "
        "nothing is recorded"
    )
    project: str | None = setting("project name in the ledger; null: the name of the folder that contains the ledger's")
    record_person: bool = setting(
        "record who started it: OVERWINTER_PERSON (none: not recorded), else git's user.name and user.email"
    )
    interval_s: float = setting(
        "time between two records; of a killed server, the joules since the last one are missing", at_least=1
    )


@dataclass
class ReplicasConfig:
    """The number of workers of one model."""

    min: int = setting("minimum number of workers, kept ready; 0: the model may sleep", at_least=0)
    max: int = setting("maximum number of workers", at_least=1)
    queue_per_replica: int = setting("a worker is added when more requests than this wait per worker", at_least=1)
    wait_s: float | None = setting(
        "a worker is added, too, when a request has waited this long; null: only the queue counts", above=0
    )
    idle_s: float = setting("idle time after which a worker beyond the first exits", at_least=0)


@dataclass
class DeferralConfig:
    """Requests that wait for an hour of lower carbon intensity (`Overwinter-Deadline`)."""

    requests: int = setting(
        "maximum number of waiting requests and kept responses; beyond it, 503 with Retry-After", at_least=1
    )
    bytes: int = setting(
        "maximum size of deferred requests and responses on disk; fetched responses are removed first", at_least=1
    )
    refresh_s: float = setting("time between two carbon forecasts while requests wait", above=0)
    retention_s: float = setting("retention time of a response to Prefer: respond-async", above=0)


@dataclass
class PersistenceConfig:
    """Optional caches in the folder `state`."""

    response_cache_bytes: int = setting(
        "maximum size of the response cache: an identical request then wakes no model; 0: no cache", at_least=0
    )
    prefix_cache: bool = setting(
        "keep a language model's last prompt over sleep, so that a prompt with the same beginning is not computed again"
    )


@dataclass
class ServeConfig:
    """The server."""

    host: str = setting(
        "address to listen on; an address other than loopback needs access.token_file or access.client_ca"
    )
    port: int = setting("port to listen on; 0: any free one, printed at the start", at_least=0, at_most=65535)
    log: str | None = setting("file of JSON lines; null: standard error")
    log_requests: bool = setting("log each request: its id, method, path without the query, status and duration")
    state: str | None = setting(
        "folder for what is kept over sleep and restarts: the policy's statistics, deferred requests, caches; null: "
        "nothing is kept"
    )
    idle_exit_s: float | None = setting(
        "idle time after which the server exits; needs a port held by systemd (LISTEN_FDS), which starts it again; "
        "null: never",
        above=0,
    )
    access: AccessConfig = setting("authentication of clients", default_factory=AccessConfig)
    limits: LimitsConfig = setting("limits on requests and connections", default_factory=LimitsConfig)
    worker: WorkerConfig = setting("the process that runs the model", default_factory=WorkerConfig)
    sleep: SleepConfig = setting("sleep policy of idle models", default_factory=SleepConfig)
    power_draw: PowerDrawConfig = setting(
        "watts at each sleep level and joules of a wake; `overwinter power-draw` measures them",
        default_factory=PowerDrawConfig,
    )
    ledger: ServedLedgerConfig = setting(
        "record of the joules, grams, wakes and requests of each day, with those of its models and states",
        default_factory=ServedLedgerConfig,
    )
    replicas: ReplicasConfig = setting("number of workers of one model", default_factory=ReplicasConfig)
    persistence: PersistenceConfig = setting(
        "optional caches in state, written before sleep and read after it",
        default_factory=PersistenceConfig,
    )
    deferral: DeferralConfig = setting(
        "requests that wait for the hour of lowest carbon intensity before their Overwinter-Deadline",
        default_factory=DeferralConfig,
    )


@dataclass
class ServiceConfig:
    """The configuration of `overwinter serve` and `overwinter deploy`, separate from params.yaml."""

    trusted_targets: list[str] = setting(
        "packages, besides overwinter and torch, whose model classes a worker may build: [my_package]"
    )
    carbon: Any = MISSING
    serve: ServeConfig = field(default_factory=ServeConfig)


def check_serve(serve: ServeConfig) -> None:
    """Check the rules of the group `serve/` that concern several settings at once.

    Raises:
        ConfigError: Settings contradict each other; names the first such keys, their values and what is allowed.
    """
    if serve.state is None and (serve.persistence.response_cache_bytes or serve.persistence.prefix_cache):
        raise ConfigError("serve.persistence needs a folder: set serve.state.")
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
            raise ConfigError(f"serve.access.{key}={file!r} does not exist. Name a file, or null.")
    if (access.tls_cert is None) != (access.tls_key is None):
        raise ConfigError(
            "serve.access.tls_cert and serve.access.tls_key need each other: name both files, or neither."
        )
    if access.client_ca is not None and access.tls_cert is None:
        raise ConfigError("serve.access.client_ca needs TLS: name serve.access.tls_cert and serve.access.tls_key too.")
    if not is_loopback(host) and access.token_file is None and access.client_ca is None:
        raise ConfigError(
            f"serve.host={host!r} can be reached from other machines, without authentication.\n"
            "Set serve.access.token_file or serve.access.client_ca, or listen on 127.0.0.1."
        )


def _check_sleep(sleep: SleepConfig) -> None:
    if not sleep.levels or sleep.levels != [level for level in LEVELS if level in sleep.levels]:
        raise ConfigError(
            f"serve.sleep.levels={sleep.levels} must name some of {', '.join(LEVELS)}, each once, in this order."
        )
    if sleep.policy == "scheduled":
        raise ConfigError(
            "serve.sleep.policy=scheduled: set the policy for the time outside the windows instead, and "
            "serve.sleep.windows."
        )


def _check_power_draw(power_draw: PowerDrawConfig, levels: list[str]) -> None:
    watts = [(f"{level}_w", getattr(power_draw, f"{level}_w")) for level in ("ready", *levels)]
    for (above, above_w), (below, below_w) in itertools.pairwise(watts):
        if below_w >= above_w:
            raise ConfigError(
                f"serve.power_draw.{below}={below_w:g} must be below serve.power_draw.{above}={above_w:g}.\n"
                f"Remove {below} from serve.sleep.levels if it saves nothing."
            )
