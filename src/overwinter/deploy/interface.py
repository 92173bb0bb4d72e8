"""The interface of an orchestrator to `overwinter deploy`: its flags, its files and the next step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from overwinter.deploy.deployment import Deployment
from overwinter.deploy.source import Source


class Orchestrator(ABC):
    """Renders a deployment into the files of one orchestrator; its attributes are the orchestrator's settings."""

    summary: ClassVar[str]
    bundle_help: ClassVar[str] = "folder of the bundle, such as outputs/hibernate/bundle"

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Declare its own flags, in addition to the common ones (`overwinter.cli.deploy`)."""

    @classmethod
    @abstractmethod
    def from_arguments(cls, arguments: Namespace) -> tuple[Self, Source]:
        """Return the orchestrator and the bundle that a command line describes.

        Raises:
            OverwinterError: The bundle does not exist, or a setting is wrong.
        """

    @abstractmethod
    def render(self, deployment: Deployment) -> Mapping[str, str]:
        """Return the files, name to text; `*.sh` become executable."""

    def images(self, _deployment: Deployment) -> Sequence[str]:
        """Return the container images that a registry provides; the command warns of those named by a tag."""
        return ()

    @abstractmethod
    def next_step(self, deployment: Deployment, folder: Path) -> str:
        """Return the next step for the user, with the files in ``folder``."""
