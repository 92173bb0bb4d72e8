"""Projects with recorded outputs."""

import pytest

from tests.support.recorded import Recorded


@pytest.fixture(autouse=True)
def own_git_settings(monkeypatch):
    """The user's own settings of git change nothing."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")


@pytest.fixture
def recorded(tmp_path):
    """An empty project in a repository."""
    return Recorded(tmp_path / "project", new=True)
