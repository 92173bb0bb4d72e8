from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from overwinter.cli.service import load_service
from overwinter.deploy.deployment import Deployment, overrides_of
from overwinter.template import template_folder


@pytest.fixture
def deployed():
    """Return a deployment of the server's defaults and some overrides."""

    def deploy(*overrides, **settings):
        serve = load_service(overrides).serve
        defaults = yaml.safe_load((template_folder() / "configs" / "serve" / "default.yaml").read_text())
        common = {"name": "model", "bundle": Path("/srv/my bundle"), "digest": "ab" * 32}
        return Deployment(**common | settings, serve=serve, overrides=overrides_of(serve, defaults))

    return deploy
