"""The group `ledger/`: the project and the user that the ledger records for each execution."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.config.settings import setting


@dataclass
class LedgerConfig:
    """Settings of the ledger. They change no result, so no stage depends on them."""

    project: str | None = setting("project name in the ledger; null: the name of its folder")
    record_person: bool = setting(
        "record who ran it: OVERWINTER_PERSON (none: not recorded), else git's user.name and user.email"
    )
