"""Order of the suite: what is quick comes first, the end-to-end runs last."""

from pathlib import Path

import pytest

E2E = Path(__file__).parent / "e2e"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put end-to-end and slow tests behind the others."""
    items.sort(key=lambda item: (E2E in item.path.parents, item.get_closest_marker("slow") is not None))
