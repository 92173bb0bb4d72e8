from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from overwinter.serving.sleep import SleepLevel, SleepLevels

REQUESTS = Path(__file__).parents[4] / "shared" / "data" / "requests"


def _two_levels(
    wake_s: float = 5.0, *, park_w=121.7, off_w=71.8, wake_w=130.0, sleep_s=0.0, sleep_w=0.0
) -> SleepLevels:
    off = SleepLevel(
        name="off",
        power_w=off_w,
        wake_s=wake_s,
        wake_j=wake_s * wake_w,
        sleep_s=sleep_s,
        sleep_j=sleep_s * sleep_w,
    )
    return SleepLevels([SleepLevel(name="parked", power_w=park_w), off])


@pytest.fixture(scope="session")
def two_levels() -> Callable[..., SleepLevels]:
    """Make sleep levels of two levels."""
    return _two_levels


@pytest.fixture
def sleep_levels() -> SleepLevels:
    """Break-even after 5.83 s."""
    return _two_levels()


@pytest.fixture
def deep_levels() -> SleepLevels:
    """Four sleep levels: break-even at 1, 5 and 30 s."""
    return SleepLevels(
        [
            SleepLevel(name="ready", power_w=100.0),
            SleepLevel(name="parked", power_w=60.0, wake_s=0.03, wake_j=40 + 60 * 0.03),
            SleepLevel(name="preforked", power_w=50.0, wake_s=0.1, wake_j=40 + 50 + 50 * 0.1),
            SleepLevel(name="off", power_w=20.0, wake_s=2.0, wake_j=90 + 900 + 20 * 2.0),
        ]
    )


@pytest.fixture(scope="session")
def requests_folder() -> Path:
    if not REQUESTS.is_dir():
        pytest.skip("the recorded requests are not beside the repository (../shared/data/requests)")
    return REQUESTS
