"""The origin of an execution: from git or the environment, or none; nothing is guessed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from overwinter.ledger import Origin, origin_of

ADA = "Ada Lovelace <ada@example.org>"


@pytest.fixture
def ledger_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a ledger in a project that git knows nothing of, for the user whom git does not know."""
    for name in ("OVERWINTER_PERSON", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "winter").mkdir()
    return tmp_path / "winter" / ".overwinter" / "ledger.sqlite"


def git(ledger_file: Path, **settings: str) -> None:
    """Make the project a git repository with these settings of its user."""
    root = ledger_file.parents[1]
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    for name, value in settings.items():
        subprocess.run(["git", "config", f"user.{name}", value], cwd=root, check=True)


def test_the_folder_names_the_project_and_no_one_is_guessed(ledger_file: Path):
    assert origin_of(ledger_file) == Origin(project="winter", person=None)
    assert origin_of(ledger_file, project="summer").project == "summer"


@pytest.mark.parametrize(
    ("settings", "person"),
    [
        ({"name": "Ada Lovelace", "email": "ada@example.org"}, ADA),
        ({"name": "Ada Lovelace"}, "Ada Lovelace"),
        ({"email": "ada@example.org"}, "ada@example.org"),
        ({}, None),
        ({"name": "Ada\n Lovelace"}, "Ada Lovelace"),
    ],
)
def test_git_names_the_person(ledger_file: Path, settings: dict[str, str], person: str | None):
    git(ledger_file, **settings)
    assert origin_of(ledger_file).person == person


def test_the_environment_goes_before_git(ledger_file: Path, monkeypatch: pytest.MonkeyPatch):
    git(ledger_file, name="Someone Else")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ada Lovelace")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "ada@example.org")
    assert origin_of(ledger_file).person == ADA
    monkeypatch.setenv("OVERWINTER_PERSON", "team 7")
    assert origin_of(ledger_file).person == "team 7"


@pytest.mark.parametrize("word", ["", " ", "none", "None"])
def test_the_environment_switches_it_off(ledger_file: Path, monkeypatch: pytest.MonkeyPatch, word: str):
    git(ledger_file, name="Ada Lovelace")
    monkeypatch.setenv("OVERWINTER_PERSON", word)
    assert origin_of(ledger_file) == Origin(project="winter", person=None)


def test_the_setting_switches_it_off_whatever_the_environment_says(ledger_file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OVERWINTER_PERSON", "Ada Lovelace")
    assert origin_of(ledger_file, record_person=False).person is None


def test_it_works_without_git_and_without_a_home(ledger_file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HOME")
    assert origin_of(ledger_file).person is None
    monkeypatch.setenv("PATH", "")
    assert origin_of(ledger_file) == Origin(project="winter", person=None)
    assert origin_of(Path("/no/such/project/.overwinter/ledger.sqlite")) == Origin(project="project", person=None)
