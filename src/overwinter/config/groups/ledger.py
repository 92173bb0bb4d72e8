"""The group `ledger/`: what the record of an execution says of where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.config.settings import setting


@dataclass
class LedgerConfig:
    """What the ledger records. None of it changes a result, so no stage depends on it."""

    project: str | None = setting("name of the project in the ledger; null: the name of its folder")
    record_person: bool = setting(
        "record who ran it: OVERWINTER_PERSON (none: no one), or else git's user.name and user.email"
    )
