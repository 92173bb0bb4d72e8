"""The other ranks of a distributed run: local rank 0 meters, limits and records for its node."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overwinter.watching.run import Run


@contextlib.contextmanager
def followed(run: Run) -> Iterator[None]:
    """Give a run an empty meter, so that its windows and steps work, without a budget or a ledger entry."""
    from overwinter.energy import open_meter
    from overwinter.pipeline.watch import Watch

    with open_meter(run.config.energy, run.config.hardware) as meter:
        watch = Watch(meter, run.config.carbon.open(), lambda _: None)
        try:
            run.attach(meter=meter, watch=watch)
            yield
        finally:
            watch.close()
