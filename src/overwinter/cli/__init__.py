"""The command `overwinter`: one module per subcommand, imported only when it is called.

Each module has ``add_arguments(parser)`` and ``run(arguments) -> exit code``. Overrides are Hydra's grammar
everywhere. Nothing else is imported at the start, so that `--help` takes little longer than Python itself.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from overwinter import __version__
from overwinter.errors import EXIT_USAGE, OverwinterError, nearest
from overwinter.programs import guarded

COMMANDS = {
    "run": "compose, plan and reproduce the pipeline; show progress and a summary table",
    "plan": "show which stages would run, why, and at what cost, without running them",
    "compare": "show what changed between two runs, and whether it is beyond the noise",
    "compose": "write params.yaml and dvc.yaml from configs/ and overrides",
    "measure": "measure the energy of any command",
    "report": "write a page that shows where the joules went, what was saved and what to try next",
    "ledger": "list all past executions, and their totals",
    "disclose": "write executions as others read them: CodeCarbon's CSV, a model card, software carbon intensity",
    "bundle": "verify, wake, sign, encrypt and publish a hibernated model",
    "export": "write a bundle or a saved model as other programs' files: GGUF, ONNX, OpenVINO, vLLM",
    "deploy": "write files that serve a bundle (Kubernetes, systemd, cron, containers, virtual machines) or run stages",
    "serve": "serve models that sleep while idle",
    "power-draw": "measure the power draw of a served model, awake and asleep, and the energy of its wakes",
    "status": "show which served models are asleep or awake, and why",
    "sleep": "put served models to sleep",
    "wake": "wake served models before a request does",
    "power": "show devices and their power limits; find the energy-optimal limit of a workload",
    "simulate": "replay a recorded trace through a policy, against the offline optimum",
    "doctor": "show what this machine can meter and limit, and what is missing",
    "init": "create a new project in a folder",
}


_INVALID_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return guarded(lambda: _dispatch(_parsed(words)))


def _parsed(words: list[str]) -> argparse.Namespace:
    """Parse the words. Overrides may follow options, which argparse alone rejects."""
    parser = _parser(words)
    parsed, rest = parser.parse_known_args(words)
    taking = next((name for name in ("overrides", "words") if hasattr(parsed, name)), None)
    wrong = [word for word in rest if taking is None or word.startswith("-")]
    if wrong:
        from overwinter.cli.suggestions import suggestion

        parser.error(
            f"unrecognized arguments: {' '.join(wrong)}.{suggestion(wrong[0], words, _options(parser, parsed))}"
        )
    if taking is not None:
        setattr(parsed, taking, [*getattr(parsed, taking), *rest])
    return parsed


def _options(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> list[str]:
    """Return the flags of the program and of the called subcommand."""
    subcommands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    actions = [*parser._actions, *subcommands.choices[parsed.command]._actions]
    return [flag for action in actions for flag in action.option_strings]


def _dispatch(parsed: argparse.Namespace) -> int:
    if parsed.debug:
        os.environ["OVERWINTER_DEBUG"] = "1"
    if parsed.directory:
        _enter(parsed.directory)
    return int(_module(parsed.command).run(parsed))


def _module(command: str) -> Any:
    return importlib.import_module(f"overwinter.cli.{command.replace('-', '_')}")


def _enter(directory: str) -> None:
    try:
        os.chdir(directory)
    except OSError as error:
        message = f"-C {directory}: {error.strerror}. Name a folder that exists."
        raise _UsageError(message) from None


class _Parser(argparse.ArgumentParser):
    """An argument parser that suggests the nearest choice or flag for an unknown one."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and exit with 2."""
        found = _INVALID_CHOICE.search(message)
        super().error(message + (nearest(found[1], re.findall(r"'([^']*)'", found[2])) if found else ""))


class _UsageError(OverwinterError):
    exit_code = EXIT_USAGE


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser; only the called subcommand declares its arguments."""
    parser = _Parser(
        prog="overwinter",
        description="Give it a PyTorch model and an energy budget: every joule is accounted for.",
    )
    parser.add_argument("--version", action="version", version=f"overwinter {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.add_argument("-C", dest="directory", metavar="DIR", help="work in this folder")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    called = next((word for word in words if word in COMMANDS), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == called:
            _module(name).add_arguments(command)
    return parser
