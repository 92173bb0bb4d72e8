"""`python -m overwinter.cli`, for when the command is not on the path."""

import sys

from overwinter.cli import main

sys.exit(main())
