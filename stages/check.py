"""Check that params.yaml is valid and up to date: the first stage, on which all others depend."""

from overwinter.pipeline import run_check, run_program

if __name__ == "__main__":
    run_program("check", run_check)
