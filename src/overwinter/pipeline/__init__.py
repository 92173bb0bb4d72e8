"""The layer between Hydra, DVC and the stages: rendering, stage context, gates, plan. Importing it loads no torch.

`composing` writes params.yaml and dvc.yaml, and `render` makes the text of dvc.yaml; `program` and `stage` run one
stage (`parent_watch`, `locks`, `outputs`, `records`) under supervision: `supervised` and `supervising` (`watch`,
`capping`, `signals`, `current`), which a watched script has too; `check` and `gate` are the programs between the
stages; `reproduce` runs `dvc repro` and follows the stages through `events`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.pipeline.check import run_check
    from overwinter.pipeline.gate import run_gate
    from overwinter.pipeline.program import run_stage
    from overwinter.pipeline.reported import run_program
    from overwinter.pipeline.stage import InterruptedStageError, Stage

__all__ = ["InterruptedStageError", "Stage", "run_check", "run_gate", "run_program", "run_stage"]

__getattr__ = lazily(
    __name__,
    {  # loaded on first use: a gate runs after every stage and supervises none
        "InterruptedStageError": "stage",
        "Stage": "stage",
        "run_check": "check",
        "run_gate": "gate",
        "run_program": "reported",
        "run_stage": "program",
    },
)
