"""What an orchestrator is to `overwinter deploy`: its own flags, the files it takes, and what to do with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from overwinter.deploy.deployment import Deployment
from overwinter.deploy.source import Source


class Orchestrator(ABC):
    """Renders a deployment into the files of one orchestrator; its attributes are that orchestrator's settings."""

    summary: ClassVar[str]
    bundle_help: ClassVar[str] = "the bundle's folder, such as outputs/hibernate/bundle"

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Declare its own flags, beside those that all have (`overwinter.cli.deploy`)."""

    @classmethod
    @abstractmethod
    def from_arguments(cls, arguments: Namespace) -> tuple[Self, Source]:
        """Return it with the settings of a command line, and the bundle that the command line names.

        Raises:
            OverwinterError: there is no such bundle, or a setting does not fit.
        """

    @abstractmethod
    def render(self, deployment: Deployment) -> Mapping[str, str]:
        """Return the files, name to text; those named `*.sh` become executable."""

    def images(self, _deployment: Deployment) -> Sequence[str]:
        """Return the container images that are taken from elsewhere; one named by a tag is warned of."""
        return ()

    @abstractmethod
    def next_step(self, deployment: Deployment, folder: Path) -> str:
        """Return what to do with the files, which are in ``folder``."""
