"""Judge the costs and the quality of a stage against the budget: `python stages/gate.py STAGE`; exit code 3 refuses."""

import sys

from overwinter.pipeline import run_gate, run_program

if __name__ == "__main__":
    stage = sys.argv[1]
    run_program(f"gate-{stage}", lambda: run_gate(stage))
