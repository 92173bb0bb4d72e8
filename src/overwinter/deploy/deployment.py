"""The settings that all orchestrators need, derived from the server's configuration."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.deploy.timetable import Timetable, read_timetable
from overwinter.errors import ConfigError
from overwinter.serving.sleep.windows import Window

if TYPE_CHECKING:
    from overwinter.config.groups.serve import ServeConfig

LIVE_PATH = "/v2/health/live"  # handled by the supervisor: neither wakes a model nor keeps one awake
DEFAULT_IDLE_S = 300.0  # KEDA's own cool-down and Ollama's time-out
_OFFLINE = ("constant", "country", "trace")  # options of configs/carbon
_WITHOUT_FORECAST = ("constant", "country")  # without a forecast, so that nothing is deferred
_MAX_NAME = 40  # leaves room for suffixes within the 63 characters of a DNS label
_UNQUOTED = re.compile(r"(?!(?i:null|true|false|inf|nan)$)[A-Za-z_/][\w./-]*|\d+(\.\d+){3}")
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A bundle, and the settings it is served with.

    Attributes:
        name: The name of the service, a DNS label.
        bundle: The bundle's folder.
        digest: The bundle's SHA-256.
        serve: The server's configuration.
        overrides: The settings that differ from the server's defaults, by dotted key below `serve`.
        others: The overrides of other groups as given, such as `carbon=uk_grid`.
        trusted: The public keys, one of which must have signed the bundle: path on this machine -> text.
        variables: The environment variables with the credentials of the carbon intensity source.
        fixed_idle_s: The idle time before scaling to zero; None takes it from the configuration.
        start_s: The time from start to ready: windows open that much earlier.
    """

    name: str
    bundle: Path
    digest: str
    serve: ServeConfig
    overrides: Mapping[str, Any]
    others: tuple[str, ...] = ()
    trusted: Mapping[str, str] = field(default_factory=dict)
    variables: tuple[str, ...] = ()
    fixed_idle_s: float | None = None
    start_s: float = 60.0

    def __post_init__(self) -> None:
        if len(self.name) > _MAX_NAME or not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"--name {self.name!r} must be lower-case letters, digits and hyphens, {_MAX_NAME} at most, "
                "beginning with a letter."
            )
        for flag, value, least in (("--idle-s", self.fixed_idle_s, 1), ("--start-s", self.start_s, 0)):
            if value is not None and not least <= value < 24 * 3600:
                raise ConfigError(f"{flag} {value:g} must be at least {least} and less than a day.")

    @property
    def may_stop(self) -> bool:
        """Return whether the server may stop: no replica is kept, and a start is within the limit on wakes."""
        limit_s = self.serve.sleep.wake_p95_s
        fits = limit_s is None or self.start_s <= limit_s
        return self.serve.replicas.min == 0 and "off" in self.serve.sleep.levels and fits

    @property
    def min_replicas(self) -> int:
        """Return the number of replicas that always run."""
        return 0 if self.may_stop else max(1, self.serve.replicas.min)

    @property
    def windows(self) -> tuple[Window, ...]:
        """Return the windows in which the service is kept ready."""
        return tuple(Window(**_plain(window)) for window in self.serve.sleep.windows)

    @property
    def idle(self) -> tuple[float, str]:
        """Return the idle time before scaling to zero, in seconds, and its origin.

        An orchestrator has one fixed time-out: other policies than `fixed` act within the server, while it runs.
        """
        if self.fixed_idle_s is not None:
            return self.fixed_idle_s, "--idle-s"
        if self.serve.sleep.policy == "fixed":
            return max(1.0, float(self.serve.sleep.options["timeout_s"])), "serve.sleep.options.timeout_s"
        return DEFAULT_IDLE_S, f"{self.serve.sleep.policy} has no fixed time-out, and --idle-s was not given"

    def starts(self, window: Window) -> tuple[Timetable, ...]:
        """Return the start times for a window, early enough to be ready when it opens."""
        return read_timetable(window.start).earlier(self.start_s)

    @property
    def keeps(self) -> bool:
        """Return whether the server keeps caches over sleep and restarts."""
        return self.serve.state is not None

    @property
    def may_defer(self) -> bool:
        """Return whether requests may be deferred without an open connection."""
        chosen = (text.lstrip("+~").partition("=") for text in self.others)
        return self.keeps and any(key == "carbon" and value not in _WITHOUT_FORECAST for key, _, value in chosen)

    @property
    def asks_outside(self) -> bool:
        """Return whether the server fetches the carbon intensity over the network."""
        asked = (text.lstrip("+~").partition("=") for text in self.others)
        return any(key.startswith("carbon") and value not in _OFFLINE for key, _, value in asked)

    def asked_for(self) -> list[str]:
        """Return a heading line about credentials that the rendered files do not pass on."""
        return [f"The server needs in its environment: {', '.join(self.variables)}."] if self.variables else []

    def not_kept(self) -> list[str]:
        """Return a heading line about state that is lost with its machine or pod."""
        return ["serve.state is left out: it would be lost with its pod or machine."] if self.keeps else []

    def keys_in(self, folder: str) -> dict[str, str]:
        """Return the public keys by their path below ``folder``, where the deployed server finds them."""
        return {f"{folder}/trusted-{place}.pem": text for place, text in enumerate(self.trusted.values())}

    def words(
        self, bundle: str, *, trusted: Iterable[str] | None = None, pinned: bool = False, **changes: Any
    ) -> list[str]:
        """Return the server's command line, without the name of the program.

        Args:
            bundle: The bundle's path where the server runs.
            trusted: The paths of the public keys there; None: the same paths as here.
            pinned: Whether only this very bundle is served.
            changes: Other values, by key below `serve`, double underscores for dots; None: the server's default.
        """
        values = dict(self.overrides) | {key.replace("__", "."): value for key, value in changes.items()}
        if values.get("state") is None:  # caches need a folder
            values = {key: value for key, value in values.items() if not key.startswith("persistence.")}
        given = [_overriding(f"serve.{key}", value) for key, value in values.items() if value is not None]
        keys = [word for path in (self.trusted if trusted is None else trusted) for word in ("--trusted", path)]
        digest = ["--digest", self.digest] if pinned else []
        return ["serve", bundle, *(word for words in given for word in words), *self.others, *digest, *keys]

    def heading(self, *lines: str) -> str:
        """Return the comment at the top of a rendered file."""
        comments = [
            f"{self.name}: rendered by `overwinter deploy`; change the configuration and render it again.",
            f"Bundle sha256:{self.digest}.",
            *lines,
        ]
        return "".join(f"# {line}\n" for line in comments)

    def rules(self, *, stays: str | None = None) -> list[str]:
        """Return heading lines: when an orchestrator that starts the server at a request scales it to zero.

        Args:
            stays: The reason why this orchestrator never does; None: it follows the configuration.
        """
        idle_s, why = self.idle
        goes = (
            f"Scales to zero after {idle_s:g} s without a request ({why})." if self.may_stop else self._why_it_stays()
        )
        windows = [f"{window.start} to {window.end} {window.time_zone}" for window in self.windows]
        return [
            goes if stays is None else f"Never scales to zero: {stays}.",
            *([f"Kept ready: {'; '.join(windows)}; started {self.start_s:g} s early."] if windows else []),
        ]

    def _why_it_stays(self) -> str:
        if self.serve.replicas.min:
            return f"Never scales to zero: serve.replicas.min={self.serve.replicas.min}."
        if "off" not in self.serve.sleep.levels:
            return (
                f"Never scales to zero: `off` is not among serve.sleep.levels ({', '.join(self.serve.sleep.levels)})."
            )
        limit_s = self.serve.sleep.wake_p95_s
        return f"Never scales to zero: a start takes {self.start_s:g} s, and serve.sleep.wake_p95_s is {limit_s:g}."


def read_trusted(paths: Iterable[Path]) -> dict[str, str]:
    """Return the text of each public key, by path.

    Raises:
        ConfigError: A key cannot be read.
    """
    try:
        return {str(path.resolve()): path.read_text(encoding="utf-8") for path in paths}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--trusted {error}") from None


def variables_of(carbon: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the environment variables with the credentials of a carbon intensity source and its fallbacks.

    Args:
        carbon: The group `carbon/`.
    """
    own = {str(value) for key, value in carbon.items() if key.endswith("_env")}
    theirs = (variables_of(option) for option in carbon.get("fallback", {}).values())
    return tuple(sorted(own.union(*theirs)))


def overrides_of(serve: ServeConfig, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from the server's defaults, by dotted key; paths are made absolute."""
    found = {}
    for group in (name for name, value in defaults.items() if isinstance(value, Mapping)):
        for name, value in _plain(getattr(serve, group)).items():
            if value != defaults[group][name]:
                is_path = group == "access" and isinstance(value, str)
                found[f"{group}.{name}"] = str(Path(value).resolve()) if is_path else value
    return found


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


def _overriding(key: str, value: Any) -> list[str]:
    """Return the overrides that set a key; a mapping is set entry by entry, since its keys are new."""
    if isinstance(value, Mapping):
        return [f"++{key}.{entry}={_hydra(each)}" for entry, each in value.items()]
    return [f"{key}={_hydra(value)}"]


def _hydra(value: Any) -> str:
    """Return a value in Hydra's override grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_hydra(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_hydra, value)) + "]"
    if isinstance(value, str) and not _UNQUOTED.fullmatch(value):
        # Only backslashes before a quote, or before the closing quote, are escapes.
        inner = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), value)
        return f"'{inner}'"
    return str(value)
