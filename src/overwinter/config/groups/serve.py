"""The group `serve/`: a hibernating server, and the small configuration that it is composed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class AccessConfig:
    """Who may ask.

    Attributes:
        token_file: file with the bearer token; null asks for none.
        tls_cert: PEM file of the server's certificates; null speaks plain HTTP.
        tls_key: PEM file (0600) of its private key.
        client_ca: PEM file; a client must bear a certificate that one of these signed. Null asks for none.
        hosts: names by which clients may call the server beside its address, where nothing else tells who they are, and
            whose web pages may call it.
    """

    token_file: str | None = MISSING
    tls_cert: str | None = MISSING
    tls_key: str | None = MISSING
    client_ca: str | None = MISSING
    hosts: list[str] = MISSING


@dataclass
class LimitsConfig:
    """What one client can take.

    Attributes:
        body_bytes: of one request.
        text_bytes: of one prompt or chat (`/v1`), which the supervisor reads itself.
        json_values: values and keys in the JSON of one request, and numbers of its answer.
        header_bytes: of one request.
        connections: open at once.
        connections_per_address: likewise from one address (IPv6: one /64); not from this machine's own.
        head_s: until the head of a request is there: from the connection on, TLS included, or from its first byte.
        read_s: to send the body of one request, or to read on in an answer.
        keep_alive_s: a connection without a request is closed then.
        held_bytes: of all requests in memory at once.
        queue: requests that wait per model.
        answer_s: deadline of a request, waiting and waking included.
        answer_tokens: of one text that a language model writes.
    """

    body_bytes: int = MISSING
    text_bytes: int = MISSING
    json_values: int = MISSING
    header_bytes: int = MISSING
    connections: int = MISSING
    connections_per_address: int = MISSING
    head_s: float = MISSING
    read_s: float = MISSING
    keep_alive_s: float = MISSING
    held_bytes: int = MISSING
    queue: int = MISSING
    answer_s: float = MISSING
    answer_tokens: int = MISSING


@dataclass
class WorkerConfig:
    """The process that computes.

    Attributes:
        threads: CPU threads of one answer.
        launcher: words before the worker's command; it speaks over its standard input and output.
        wake_s: longest wake.
        stop_s: time to leave by itself.
        backoff_s: pause after a crash, doubled at every further one in a row.
        longest_backoff_s: its limit.
    """

    threads: int = MISSING
    launcher: list[str] = MISSING
    wake_s: float = MISSING
    stop_s: float = MISSING
    backoff_s: float = MISSING
    longest_backoff_s: float = MISSING


@dataclass
class WindowConfig:
    """A window of the week in which the model is kept ready.

    Attributes:
        start: cron expression of five fields.
        end: likewise.
        time_zone: IANA name.
    """

    start: str = MISSING
    end: str = MISSING
    time_zone: str = "UTC"


@dataclass
class SleepConfig:
    """When an idle model rests, and how deep (`overwinter.serving.sleep`).

    Attributes:
        policy: `fixed`, `break_even`, `randomised`, `learned`, or an entry point in
            `overwinter.sleep_policies`.
        options: of the policy.
        seed: of a randomised policy.
        rungs: among `parked`, `preforked` and `off`, in this order.
        wake_p95_s: at most a twentieth of the requests may wait longer for a wake.
        windows: in which the model is kept ready.
        parked_wake_s: a wake from there, for the policy.
        preforked_wake_s: likewise.
        off_wake_s: likewise.
    """

    policy: str = MISSING
    options: dict[str, Any] = MISSING
    seed: int = MISSING
    rungs: list[str] = MISSING
    wake_p95_s: float | None = MISSING
    windows: list[WindowConfig] = MISSING
    parked_wake_s: float = MISSING
    preforked_wake_s: float = MISSING
    off_wake_s: float = MISSING


@dataclass
class DrawsConfig:
    """What a sleep releases (memory, a GPU, a machine) in watts, and what a wake costs in joules.

    Attributes:
        source: how they were measured, beginning with `modelled` where a part was; null: they are guesses, and no
            saving is claimed.
        ready_w: ready to answer.
        parked_w: worker alive, weights released.
        preforked_w: modules imported.
        off_w: no worker.
        parked_wake_j: what a wake from there costs above what `off` draws meanwhile.
        preforked_wake_j: likewise; the start of the process is not in it.
        off_wake_j: likewise, and with the start.
        uncertainty_w: standard uncertainty of each of the watts.
        wake_uncertainty_j: of each of the wakes.
    """

    source: str | None = MISSING
    ready_w: float = MISSING
    parked_w: float = MISSING
    preforked_w: float = MISSING
    off_w: float = MISSING
    parked_wake_j: float = MISSING
    preforked_wake_j: float = MISSING
    off_wake_j: float = MISSING
    uncertainty_w: float = MISSING
    wake_uncertainty_j: float = MISSING


@dataclass
class ReplicasConfig:
    """Workers of one model.

    Attributes:
        fewest: kept ready at least.
        most: at once.
        queue_per_replica: one more when more requests wait per replica.
        wait_s: one more when a request has waited that long; null: the queue alone counts.
        idle_s: a replica beyond the first leaves after that long without work.
    """

    fewest: int = MISSING
    most: int = MISSING
    queue_per_replica: int = MISSING
    wait_s: float | None = MISSING
    idle_s: float = MISSING


@dataclass
class DeferralConfig:
    """Requests that wait for a greener hour (`Overwinter-Deadline`).

    Attributes:
        requests: that wait, or whose answer is kept, at once.
        bytes: of their bodies and their answers on disk.
        refresh_s: the forecast is asked that often while some wait.
        kept_s: an answer can be fetched that long.
    """

    requests: int = MISSING
    bytes: int = MISSING
    refresh_s: float = MISSING
    kept_s: float = MISSING


@dataclass
class KeepConfig:
    """What is kept in `state` for the user: none of it unless declared.

    Attributes:
        answers_bytes: of answers that equal requests get without a wake; 0 keeps none.
        prefix: whether a language model keeps what it has read last, also over sleep.
    """

    answers_bytes: int = MISSING
    prefix: bool = MISSING


@dataclass
class ServeConfig:
    """The server.

    Attributes:
        host: address to listen on.
        port: 0 takes any free one.
        log: file of JSON lines; null: standard error.
        log_requests: whether it has a line for each request, too.
        state: folder of what outlives sleep and restarts; null: nothing does.
        idle_exit_s: leave after that long without a request, where systemd holds the port; null: never.
    """

    host: str = MISSING
    port: int = MISSING
    log: str | None = MISSING
    log_requests: bool = MISSING
    state: str | None = MISSING
    idle_exit_s: float | None = MISSING
    access: AccessConfig = field(default_factory=AccessConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    worker: WorkerConfig = field(default_factory=WorkerConfig)
    sleep: SleepConfig = field(default_factory=SleepConfig)
    draws: DrawsConfig = field(default_factory=DrawsConfig)
    replicas: ReplicasConfig = field(default_factory=ReplicasConfig)
    keep: KeepConfig = field(default_factory=KeepConfig)
    deferral: DeferralConfig = field(default_factory=DeferralConfig)


@dataclass
class ServiceConfig:
    """What `overwinter serve` and `overwinter deploy` compose, apart from params.yaml.

    Attributes:
        trusted_targets: packages whose model classes a worker may build.
        carbon: whose forecast requests wait for that can; the schema of the option that was picked.
        serve: the server.
    """

    trusted_targets: list[str] = MISSING
    carbon: Any = MISSING
    serve: ServeConfig = field(default_factory=ServeConfig)
