"""``python -m overwinter.bundle BUNDLE KEYS [TRUSTED...]``: wake a bundle and print `awake`, for `measure_wake`."""

from __future__ import annotations

import json
import sys

from overwinter.bundle.keys import Keys
from overwinter.bundle.load import wake
from overwinter.programs import guarded


def _main() -> int:
    wake(sys.argv[1], keys=Keys(opening=tuple(json.loads(sys.argv[2]))), trusted=sys.argv[3:])
    sys.stdout.write("awake\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(guarded(_main))
