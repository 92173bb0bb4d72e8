"""Memory of a large language model while it is read, saved, loaded and quantized.

    python benchmarks/memory.py [--layers 22] [--gptq-blocks 1] [--folder DIR]

A model of TinyLlama's shape with random weights (1.1 billion parameters with 22 layers), as a bfloat16 checkpoint of
the transformers library; nothing is downloaded. Each step runs in its own process. The figure is anonymous memory
above that of the imports; pages of mapped files, which the kernel may drop at any time, are shown separately. The peer
is the manual way: transformers' `from_pretrained` in float32, then torchao's `quantize_`.

GPTQ takes minutes a block, so it quantizes the first only (0: its row is left out); the whole model is there all the
same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from common import write_result
from overwinter.signature import Signature

GIB = 2**30
_SAMPLED_S = 0.003
_WINDOWS, _LENGTH = 8, 128  # of calibration text
_WRITTEN = 8  # tokens that the model writes itself
_GPTQ = "int4_gptq"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Configuration of the model: TinyLlama's, except for the changed keys."""

    layers: int = 22
    width: int = 2048
    hidden: int = 5632
    vocabulary: int = 32_000

    def config(self) -> dict[str, Any]:
        """Return the settings of transformers' LlamaConfig."""
        return {
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "intermediate_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.width // 64,
            "num_key_value_heads": max(1, self.width // 512),
            "max_position_embeddings": 2048,
            "tie_word_embeddings": False,
        }


class Peak:
    """The most memory that this process had while it was entered, in bytes, by kind."""

    def __enter__(self) -> Self:
        self._before, self.anonymous_bytes, self.file_bytes = _resident()[0], 0, 0
        self._over, self._thread = threading.Event(), threading.Thread(target=self._watch)
        self._started_s = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.duration_s = time.perf_counter() - self._started_s

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLED_S):
            anonymous, of_files = _resident()
            self.anonymous_bytes = max(self.anonymous_bytes, anonymous - self._before)
            self.file_bytes = max(self.file_bytes, of_files)


def _resident() -> tuple[int, int]:
    """Bytes that nothing but this process holds (shared memory counts), and bytes of files."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    found = {line[0]: int(line[1]) * 1024 for line in lines if line[0] in ("RssAnon:", "RssShmem:", "RssFile:")}
    return found["RssAnon:"] + found["RssShmem:"], found["RssFile:"]


def make_checkpoint(folder: Path, shape: Shape) -> None:
    """Write random weights as transformers does, in bfloat16."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(**shape.config(), dtype="bfloat16")
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / "checkpoint")


def read_checkpoint(folder: Path) -> Any:
    """``model=huggingface``."""
    from overwinter import models

    return models.pretrained(root=str(folder / "checkpoint"))


def take_over(folder: Path) -> Callable[[], object]:
    """Run the work of the stage `train`: read the checkpoint, and save it in Overwinter's format, in float32."""
    from overwinter import models

    def work() -> None:
        model = read_checkpoint(folder)
        saving = {
            "model_config": model.saved_as(),
            "signature": Signature.of_one([_LENGTH], dtype="int64"),
            "lineage": {},
        }
        models.save_model(folder / "dense", model, variant="dense", **saving)

    return work


def load(folder: Path, variant: str = "dense") -> Callable[[], object]:
    """Load a saved variant."""
    from overwinter import models

    return lambda: models.load_model(folder / variant, trusted=[])


def write_text(folder: Path) -> Callable[[], object]:
    """Have the dense model write its own calibration text."""
    from overwinter import quantization

    model = load(folder)()
    return lambda: quantization.generate_text(model, 1, _WRITTEN, seed=0)


def quantize(folder: Path, method: str, skip: Sequence[str] = ()) -> Callable[[], object]:
    """Run the work of the stage `quantize` for one method, including its checks and the agreement with dense."""
    import numpy as np
    from omegaconf import OmegaConf

    from overwinter import quantization
    from overwinter.quantization.settings import CalibratedQuantizeConfig, MixedConfig, ScaleDistillationConfig
    from overwinter.tasks import LanguageModeling

    source = Path(__file__).parents[1] / "configs" / "quantize" / "int4_gptq.yaml"
    settings: Any = OmegaConf.to_container(OmegaConf.load(source))
    nested = {
        "scale_distillation": ScaleDistillationConfig(**settings["scale_distillation"]),
        "mixed": MixedConfig(**settings["mixed"]),
    }
    chosen = {"methods": [method], "skip": list(skip), "min_agreement": 0.0}  # random weights agree on little
    config = CalibratedQuantizeConfig(**(settings | nested | chosen))
    words = json.loads((folder / "checkpoint" / "config.json").read_text())["vocab_size"]
    calibration = np.random.default_rng(0).integers(0, words, (_WINDOWS, _LENGTH))
    return lambda: quantization.quantize(
        method,
        folder / "dense",
        folder / method,
        calibration=calibration,
        held_out=calibration,
        task=LanguageModeling(),
        settings=config,
        lineage={},
        trusted=[],
    )


def by_hand(folder: Path) -> Callable[[], object]:
    """The peer: read in float32, quantize in place, save."""
    import torch
    import transformers
    from safetensors.torch import save_file
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    def work() -> None:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder / "checkpoint", dtype=torch.float32, local_files_only=True
        )
        quantize_(model, Int8WeightOnlyConfig(version=2))
        tensors, metadata = flatten_tensor_state_dict(model.state_dict())
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "peer", metadata=metadata)

    return work


STEPS: dict[str, Callable[..., Callable[[], object]]] = {
    "read the checkpoint and save it": take_over,
    "load dense": load,
    "write calibration text": write_text,
    "int8_weight_only": lambda folder: quantize(folder, "int8_weight_only"),
    "load int8_weight_only": lambda folder: load(folder, "int8_weight_only"),
    "int4_nearest": lambda folder: quantize(folder, "int4_nearest"),
    "load int4_nearest": lambda folder: load(folder, "int4_nearest"),
    _GPTQ: lambda folder, skip: quantize(folder, _GPTQ, skip),
    "transformers + torchao int8": by_hand,
}


def measured(step: str, folder: Path, **options: Any) -> dict[str, float]:
    """Do a step in this process; return its peaks above what the imports take, and its seconds."""
    import overwinter.quantization.agreement
    import overwinter.quantization.integer_variants  # noqa: F401 -- before memory is looked at, like the others
    from overwinter.models.transformers_library import import_transformers

    import_transformers()
    import transformers.models.llama.modeling_llama  # noqa: F401 -- and the model's code

    work = STEPS[step](folder, **options)
    with Peak() as peak:
        work()
    return {name: value for name, value in vars(peak).items() if not name.startswith("_")}


def in_its_own_process(step: str, folder: Path, **options: Any) -> dict[str, float]:
    """`measured` elsewhere.

    Raises:
        SystemExit: the step failed.
    """
    order = json.dumps({"step": step, "folder": str(folder), **options})
    done = subprocess.run([sys.executable, __file__, "--order", order], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{step} failed: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def beyond(blocks: int, shape: Shape) -> list[str]:
    """Name patterns of the layers that GPTQ leaves alone."""
    return ["network.lm_head", *(f"network.model.layers.{block}.*" for block in range(blocks, shape.layers))]


def run(folder: Path, shape: Shape, gptq_blocks: int) -> dict[str, Any]:
    """Run every step once, in order; print each when it ends."""
    subprocess.run(
        [sys.executable, __file__, "--order", json.dumps({"folder": str(folder), "shape": asdict(shape)})],
        check=True,
        capture_output=True,
    )
    rows: dict[str, Any] = {}
    for step in (each for each in STEPS if gptq_blocks or each != _GPTQ):
        options = {"skip": beyond(gptq_blocks, shape)} if step == _GPTQ else {}
        rows[step] = in_its_own_process(step, folder, **options)
        described = json.loads((folder / "dense" / "model.json").read_text())
        rows[step]["share_of_float32"] = rows[step]["anonymous_bytes"] / (4 * described["parameters"])
        print(line(step, rows[step]), flush=True)
    return {"shape": asdict(shape), "parameters": described["parameters"], "gptq_blocks": gptq_blocks, "steps": rows}


def line(step: str, row: dict[str, float]) -> str:
    """One line of the table."""
    return (
        f"{step:33s} {row['anonymous_bytes'] / GIB:8.2f} GiB {row['share_of_float32']:8.1%} of float32"
        f" {row['file_bytes'] / GIB:8.2f} GiB of files {row['duration_s']:8.1f} s"
    )


def main() -> None:
    """Measure, print, write; or take one step, as ordered."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", type=int, default=Shape.layers)
    parser.add_argument("--gptq-blocks", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where some 20 GB fit; a temporary one is made in it")
    parser.add_argument("--order", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.order is not None:
        obey(json.loads(arguments.order))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        content = run(Path(folder), Shape(layers=arguments.layers), arguments.gptq_blocks)
    print(f"{content['parameters'] / 1e9:.2f} billion parameters; written to {write_result('memory', content).name}")


def obey(order: dict[str, Any]) -> None:
    """Do what another process of this program asked for."""
    folder = Path(order.pop("folder"))
    if "shape" in order:
        make_checkpoint(folder, Shape(**order["shape"]))
    else:
        print(json.dumps(measured(order.pop("step"), folder, **order)))


if __name__ == "__main__":
    main()
