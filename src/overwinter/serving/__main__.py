"""``python -m overwinter.serving FD``: the supervisor, with its plan in an open file."""

from __future__ import annotations

import asyncio
import os
import sys

from prometheus_client import disable_created_metrics

from overwinter.programs import guarded
from overwinter.serving.plan import parse_plan
from overwinter.serving.supervisor import serve


def _main() -> int:
    with os.fdopen(int(sys.argv[1]), encoding="utf-8") as stream:
        plan = parse_plan(stream.read())
    # `_created` would be a second series for each metric. The switch is global, in a process of this server alone.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it without annotations
    asyncio.run(serve(plan))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(_main))
