"""Judge what a stage cost against the budget: `python stages/gate.py STAGE`. Exit code 3 refuses."""

import sys

from overwinter.pipeline import run_gate, run_program

if __name__ == "__main__":
    stage = sys.argv[1]
    run_program(f"gate-{stage}", lambda: run_gate(stage))
