"""Each test has a folder and a ledger of its own."""

from tests.support.own_ledger import executions, folder

__all__ = ["executions", "folder"]
