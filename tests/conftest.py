"""Order of the suite: what is quick comes first, the end-to-end runs last, the longest of them first.

Properties are not judged by the time that an example takes: a busy machine would fail them.
"""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = [
    "tests.support.bundles",
    "tests.support.containers",
    "tests.support.energy_records",
    "tests.support.kubernetes_api",
    "tests.support.s3_server",
    "tests.support.small_bundle",
    "tests.support.two_machines",
]

E2E = Path(__file__).parent / "e2e"
LONGEST = "test_after_kill_9"

hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(autouse=True, scope="session")
def meters_of_this_suite_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever else is metered on this machine is no neighbour of the tests' meters, and keeps no test waiting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVERWINTER_METERS", str(tmp_path_factory.mktemp("meters")))
        patch.setenv("OVERWINTER_QUIET", str(tmp_path_factory.mktemp("quiet")))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put end-to-end and slow tests behind the others; a long one at the very end would keep one worker waiting."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[bool, bool, bool]:
    slow = item.get_closest_marker("slow") is not None
    return E2E in item.path.parents, slow, not item.name.startswith(LONGEST)
