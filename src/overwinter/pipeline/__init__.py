"""The seam between Hydra, DVC and the stages: rendering, the stage's context, gates, plan. Importing it loads no torch.

`composing` writes params.yaml and dvc.yaml, `render` the latter's text; `program` and `stage` run one stage with
everything that watches over it (`parent_watch`, `locks`, `watch`, `outputs`, `records`); `check` and `gate` are the
programs between the stages; `reproduce` drives `dvc repro` and hears the stages through `events`.
"""

from overwinter.pipeline.check import run_check
from overwinter.pipeline.gate import run_gate
from overwinter.pipeline.program import run_program, run_stage
from overwinter.pipeline.stage import InterruptedStageError, Stage

__all__ = ["InterruptedStageError", "Stage", "run_check", "run_gate", "run_program", "run_stage"]
