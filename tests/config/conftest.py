from pathlib import Path

import pytest

from overwinter.config import Project

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project() -> Project:
    """This repository, as a project."""
    return Project(root=ROOT, configs=ROOT / "configs", config_name="config")
