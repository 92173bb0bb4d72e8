"""`overwinter power-draw BUNDLE`: measure the power draw of sleep levels and responses, and the energy of wakes."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from overwinter.cli.bundle import add_keys, expected_of, keys_of
from overwinter.cli.server_client import ask_server
from overwinter.cli.service import CONFIG_NAME, load_service
from overwinter.energy.metering import meter_settings
from overwinter.errors import ConfigError, OverwinterError
from overwinter.outputs import check_output, output_path, write_output
from overwinter.units import format_duration, format_si

if TYPE_CHECKING:
    from overwinter.serving import PowerDraw

_MODEL = "model"
# No policy moves the model, no other client reaches it, and it keeps no state.
_ALONE = (
    "serve.host=127.0.0.1",
    "serve.port=0",
    "serve.log=null",
    "serve.state=null",
    "serve.ledger.file=null",
    *(f"serve.access.{name}=null" for name in ("token_file", "tls_cert", "tls_key", "client_ca")),
    "serve.sleep.policy=fixed",
    "++serve.sleep.options.timeout_s=1e9",
    "serve.sleep.windows=[]",
    "serve.sleep.wake_p95_s=null",
    "serve.replicas.min=0",
    "serve.replicas.max=1",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the bundle and the length of the measurement."""
    parser.add_argument("bundle", metavar="BUNDLE", help="bundle, as for `overwinter serve`")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="override, such as serve.worker.threads=2")
    parser.add_argument(
        "--window-s", type=float, default=20.0, metavar="S", help="metering time at each sleep level (20)"
    )
    parser.add_argument("--wakes", type=int, default=10, metavar="N", help="number of wakes from each sleep level (10)")
    parser.add_argument(
        "--config", default=CONFIG_NAME, metavar="NAME", help="file in configs/ to use instead of serve.yaml"
    )
    parser.add_argument(
        "--output",
        type=output_path,
        metavar="FILE",
        help="file for the YAML, which is otherwise printed: use configs/serve/measured.yaml by serve=measured",
    )
    add_keys(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve the bundle privately, measure it, and print or write the configuration.

    Raises:
        ConfigError: An argument or setting is wrong.
        OverwinterError: The server does not start, or the model does not wake.
    """
    if arguments.window_s < 1 or arguments.wakes < 2:
        raise ConfigError(
            f"--window-s {arguments.window_s:g} --wakes {arguments.wakes}: must be at least 1 s and 2 wakes."
        )
    if arguments.output is not None:
        check_output(arguments.output)  # measuring takes minutes
    sleep = load_service(arguments.overrides, config_name=arguments.config).serve.sleep
    levels = [*sleep.levels, *({"off"} - set(sleep.levels))]  # the level after the start and after a crash
    forgotten = [f"~serve.sleep.options.{name}" for name in sleep.options]
    power_draw = _measured(arguments, levels, [*_ALONE, f"serve.sleep.levels=[{','.join(levels)}]", *forgotten])
    paying = [level for level in power_draw.paying if level in sleep.levels]
    if not paying:
        raise OverwinterError(
            f"None of {', '.join(sleep.levels)} draws less than `ready` ({format_si(power_draw.watts['ready'], 'W')}): "
            "sleeping saves nothing here. If you doubt it, measure longer (--window-s), on a quieter machine."
        )
    text = _yaml(power_draw, paying, arguments.bundle)
    if arguments.output is None:
        print(text, end="")
        return 0
    write_output(arguments.output, text)
    print("\n".join(_table(power_draw)))
    print(f"wrote {arguments.output}")
    return 0


def _measured(arguments: argparse.Namespace, levels: Sequence[str], alone: Sequence[str]) -> PowerDraw:
    from overwinter.energy import open_meter
    from overwinter.serving import measure_power_draw

    energy, hardware = meter_settings()
    with (
        _quiet(),
        open_meter(energy, hardware, own_process=False) as meter,
        _serving(arguments, alone) as served,
    ):
        return measure_power_draw(
            served, meter, levels, window_s=arguments.window_s, wakes=arguments.wakes, progress=_report
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Have this machine's devices alone: other runs wait at their next step."""
    from overwinter.energy.quiet import QuietDevices, devices_of

    with QuietDevices(devices_of("auto"), notify=_report, stop=lambda: None) as devices:
        if devices.trouble:
            _report(devices.trouble)
        with devices.alone(nullcontext):
            yield


def _report(line: str) -> None:
    print(f"power-draw: {line}", file=sys.stderr, flush=True)


class _Served:
    """A model on a private server."""

    def __init__(self, url: str, request: tuple[str, Mapping[str, Any]]) -> None:
        self._server = argparse.Namespace(url=url, token_file=None, ca=None, cert=None)
        self._request = request

    def put(self, level: str) -> None:
        """Move the model to a sleep level."""
        ask_server(self._server, f"/overwinter/models/{_MODEL}/level", {"level": level})

    def state_s(self) -> Mapping[str, float]:
        """Return the seconds spent in each state."""
        return cast("Mapping[str, float]", self._status()["state_s"])

    def respond(self) -> None:
        """Send a request with a recorded sample."""
        ask_server(self._server, *self._request)

    def responding_s(self) -> float:
        """Return the seconds in which the worker computed responses."""
        return float(self._status()["responding_s"])

    def _status(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", ask_server(self._server, "/overwinter/status")["models"][_MODEL])


@contextmanager
def _serving(arguments: argparse.Namespace, alone: Sequence[str]) -> Iterator[_Served]:
    command = [sys.executable, "-m", "overwinter.cli", "serve", "--config", arguments.config, *_key_words(arguments)]
    command += ["--model", f"{_MODEL}={arguments.bundle}", *arguments.overrides, *alone]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as stderr_file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr_file, text=True) as process,
    ):
        assert process.stdout is not None  # noqa: S101 -- set by PIPE
        line = process.stdout.readline()
        try:
            if not line:
                stderr_file.seek(0)
                raise OverwinterError(f"The server did not start. {stderr_file.read().strip()}")
            yield _Served(line.split()[1], _example(arguments))
        finally:
            process.terminate()


def _example(arguments: argparse.Namespace) -> tuple[str, Mapping[str, Any]]:
    from overwinter.bundle import resolve_bundle
    from overwinter.serving.example_request import example_request

    bundle = resolve_bundle(arguments.bundle, keys=keys_of(arguments), expected=expected_of(arguments), hold=False)
    return example_request(bundle, _MODEL)


def _key_words(arguments: argparse.Namespace) -> list[str]:
    """Return the options of `add_keys` as given on the command line."""
    given = {"--trusted": arguments.trusted, "--key": arguments.key, "--lineage": arguments.lineage}
    words = [str(word) for option, values in given.items() for value in values for word in (option, value)]
    return words + (["--digest", arguments.digest] if arguments.digest else [])


def _yaml(power_draw: PowerDraw, paying: Sequence[str], bundle: str) -> str:
    """Return the text of a file for configs/serve/."""
    day = datetime.now(UTC).date().isoformat()
    rows = {"source": json.dumps(power_draw.source)}
    rows |= {f"{level}_w": _number(watts) for level, watts in power_draw.watts.items()}
    rows["responding_w"] = _number(power_draw.responding_w)
    rows |= {f"{level}_wake_j": _number(joules) for level, joules in power_draw.wakes_j.items()}
    rows |= {
        "uncertainty_w": _number(power_draw.uncertainty_w),
        "wake_uncertainty_j": _number(power_draw.wake_uncertainty_j),
    }
    lines = [
        f"# By `overwinter power-draw {bundle}` on {platform.node()}, {day}. Levels that save nothing are left out.",
        "defaults:",
        "  - default",
        "  - _self_",
        "sleep:",
        f"  levels: {json.dumps(paying)}",
        *(f"  {level}_wake_s: {_number(duration_s)}" for level, duration_s in power_draw.wakes_s.items()),
        "power_draw:",
        *(f"  {key}: {value}" for key, value in rows.items()),
    ]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:.6g}"


def _table(power_draw: PowerDraw) -> list[str]:
    lines = [f"{'level':10}{'power_draw':>12}{'a wake costs':>15}{'and takes (p95)':>18}"]
    for level, watts in power_draw.watts.items():
        wake = "" if level not in power_draw.wakes_j else format_si(power_draw.wakes_j[level], "J")
        takes = "" if level not in power_draw.wakes_s else format_duration(power_draw.wakes_s[level])
        lines.append(f"{level:10}{format_si(watts, 'W'):>12}{wake:>15}{takes:>18}".rstrip())
    lines.append(f"responding{format_si(power_draw.responding_w, 'W'):>12} above ready")
    doubt = f"± {format_si(power_draw.uncertainty_w, 'W')} and ± {format_si(power_draw.wake_uncertainty_j, 'J')}"
    return [*lines, f"{doubt} (standard uncertainty); read from: {power_draw.source}"]
