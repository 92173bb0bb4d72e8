"""A stage without torch: as many short steps as `train.epochs` or `sparsify.amount` say, with a checkpoint."""

import json
import sys
import time
from pathlib import Path

import overwinter as ow
from overwinter.files import write_json


def main(stage: ow.pipeline.Stage) -> None:
    steps = 20 * stage.config.train.epochs if stage.name == "train" else 10
    kept = stage.checkpoints / "steps.json"
    done = json.loads(kept.read_text())["done"] if kept.exists() else 0
    try:
        while done < steps:
            stage.progress(done, steps)
            time.sleep(0.05)
            done += 1
    except BaseException:
        write_json(kept, {"done": done})
        raise
    amount = stage.config.sparsify.amount if stage.name == "sparsify" else None
    needs = stage.config.pipeline.stages[stage.name].needs
    read = [json.loads((stage.input(need) / "weights.json").read_text()) for need in needs]
    write_json(stage.out("model") / "weights.json", {"steps": steps, "amount": amount, "read": read})
    if stage.name == "sparsify":
        write_json(stage.out("layers.json"), {})
    stage.save_metrics({"steps": steps})


if __name__ == "__main__":
    ow.pipeline.run_stage(Path(sys.argv[0]).stem, main)
