"""The layer between Hydra, DVC and the stages: rendering, stage context, gates, plan. Importing it loads no torch.

`composing` writes params.yaml and dvc.yaml, and `render` makes the text of dvc.yaml; `program` and `stage` run one
stage under supervision (`parent_watch`, `locks`, `watch`, `outputs`, `records`); `check` and `gate` are the programs
between the stages; `reproduce` runs `dvc repro` and follows the stages through `events`.
"""

from overwinter.pipeline.check import run_check
from overwinter.pipeline.gate import run_gate
from overwinter.pipeline.program import run_program, run_stage
from overwinter.pipeline.stage import InterruptedStageError, Stage

__all__ = ["InterruptedStageError", "Stage", "run_check", "run_gate", "run_program", "run_stage"]
