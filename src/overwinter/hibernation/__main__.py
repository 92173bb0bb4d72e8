"""``python -m overwinter.hibernation BUNDLE [TRUSTED...]``: wake a bundle and say so, for `measure_wake`."""

from __future__ import annotations

import sys
from pathlib import Path

from overwinter.hibernation.waking import wake
from overwinter.programs import guarded


def _main() -> int:
    wake(Path(sys.argv[1]), trusted=sys.argv[2:])
    sys.stdout.write("awake\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(guarded(_main))
