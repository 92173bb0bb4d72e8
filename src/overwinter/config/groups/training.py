"""The group `train/`, and the settings of fine-tuning that other stages share with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from overwinter.config.settings import setting
from overwinter.config.targets import OPTIMIZER, SCHEDULE, refuse_code, trusted_target
from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from overwinter.config.groups import Config


@dataclass
class FitConfig:
    """The settings of the training loop, for training and fine-tuning."""

    epochs: int = setting("maximum number of passes over the training split", at_least=1)
    batch_size: int = setting("samples per optimizer step", at_least=1)
    learning_rate: float = setting("peak learning rate, unless your own optimizer has an lr", above=0)
    weight_decay: float = setting(
        "decoupled weight decay of AdamW, not applied to biases and normalization layers", at_least=0
    )
    warmup_fraction: float = setting(
        "share of all steps used for linear warmup; then cosine decay to zero", at_least=0, at_most=1
    )
    optimizer: dict[str, Any] | None = setting(
        "your own optimizer: {_target_: torch.optim.SGD, momentum: 0.9}; null is AdamW", default=None
    )
    muon_learning_rate: float | None = setting(
        "peak learning rate of Muon for matrices and convolution kernels, with AdamW for the rest; null: AdamW for all",
        above=0,
        default=None,
    )
    schedule: dict[str, Any] | None = setting(
        "your own schedule: {_target_: torch.optim.lr_scheduler.StepLR, step_size: 5}; null is warmup and cosine",
        default=None,
    )
    schedule_interval: str = setting(
        "after what your own schedule advances: epoch or step", choices=("epoch", "step"), default="epoch"
    )
    gradient_clip_norm: float = setting("maximum norm of the gradients; larger ones are scaled down", above=0)
    patience_epochs: int = setting("early stopping: epochs without a better validation loss; 0 disables it", at_least=0)
    min_gain_per_kj: float | None = setting(
        "early stopping on marginal return: least gain of the headline measure per kJ in two epochs; null disables it",
        above=0,
        default=None,
    )
    precision: str = setting(
        "auto (bf16 if the accelerator supports it, else fp32), native (bf16 also on a CPU that has it), fp32 or bf16",
        choices=("auto", "native", "fp32", "bf16"),
    )
    keep_freed_memory: bool = setting(
        "keep up to 1 GB of freed memory for the next step, which saves the kernel's clearing of pages", default=False
    )
    compile: str = setting(
        "torch.compile: never, always, or auto: where it is estimated to repay until the end, and is checked to",
        choices=("never", "auto", "always"),
        default="never",
    )
    to: dict[str, float] | None = setting(
        "stop as soon as the validation split reaches it: {accuracy: 0.91}; null: train all epochs", default=None
    )
    checks_per_epoch: int = setting(
        "measurements of the validation split in an epoch, to see whether `to` is reached", at_least=1, default=1
    )
    checkpoint_interval_s: float = setting("seconds between checkpoints on disk", at_least=0)

    def low_rank(self) -> Any:
        """Return the settings of low-rank adapters (`overwinter.training.lora`); None: the layers are trained."""
        return None


@dataclass
class ShrinkConfig:
    """Channels removed while training, so that the rest of it is cheaper."""

    amount: float = setting(
        "share of the FLOPs for a sample that is gone in the end, 0 to below 1", at_least=0, below=1
    )
    at: list[float] = setting("after which shares of all steps channels go, each time an equal part", above=0, below=1)
    ratio: str = setting(
        "uniform: the same share of every layer; global: all ranked together, each against its layer's mean",
        choices=("uniform", "global"),
        default="uniform",
    )
    multiple_of: int = setting(
        "what stays is a multiple of it where it was one: kernels compute 8 or 16 channels at once",
        at_least=1,
        default=1,
    )


@dataclass
class TrainConfig(FitConfig):
    """The stage `train`."""

    version: int = setting("raised when the stage's behaviour changes")
    method: str = setting(
        "fit: train or fine-tune; pretrained: take the weights that the model comes with, and only measure them",
        choices=("fit", "pretrained"),
        default="fit",
    )
    batch_sizes: list[int] = setting(
        "batch sizes, of which the one with the fewest joules per sample, each under its best power limit, is taken; "
        "[]: batch_size",
        at_least=1,
        default_factory=list,
    )
    shrink: ShrinkConfig | None = setting(
        "channels removed while training: {amount: 0.5, at: [0.1, 0.2, 0.3]}; null keeps all", default=None
    )

    teacher: str | None = setting(
        "folder of a saved model or a bundle whose predictions the training follows too; null: none", default=None
    )
    distillation_weight: float = setting(
        "share of the loss that follows the teacher's predictions, 0 to 1", at_least=0, at_most=1, default=0.5
    )
    distillation_temperature: float = setting("softens the teacher's and the model's predictions", above=0, default=2.0)
    whitening_samples: int = setting(
        "training images whose patches the first convolution whitens, frozen with its normalization; 0: it is trained",
        at_least=0,
        default=0,
    )
    distributed: str = setting(
        "none: one process; started by torchrun: ddp (a copy of the model in each process) or fsdp (a share of it)",
        choices=("none", "ddp", "fsdp"),
        default="none",
    )
    processes: int = setting(
        "processes on each machine that divide a batch among them: one per GPU, or on the cores of a CPU",
        at_least=1,
        default=1,
    )
    nodes: int = setting("machines that take part; they meet at torchrun.rendezvous", at_least=1, default=1)

    def check(self, key: str) -> None:
        """Check constraints that the fields' types and `setting`s cannot express."""
        self._check_distributed(key)
        if self.shrink is not None and (not self.shrink.at or sorted(set(self.shrink.at)) != self.shrink.at):
            raise ConfigError(f"{key}.shrink.at={self.shrink.at} must name shares of the training in ascending order.")
        others = {
            "qat": self.quantization_aware(),
            "sparse": self.sparse_from_start(),
            "whitening_samples": self.whitening_samples or None,
        }
        if self.shrink is not None and self.compile != "never":
            raise ConfigError(
                f"{key}.shrink removes channels, and {key}.compile={self.compile} would compile anew each time. "
                f"Set {key}.compile=never."
            )
        for name in (name for name, other in others.items() if self.shrink is not None and other is not None):
            raise ConfigError(f"{key}.shrink removes channels for which {key}.{name} keeps a tensor. Set only one.")

    def _check_distributed(self, key: str) -> None:
        if self.distributed == "none":
            if self.processes > 1 or self.nodes > 1:
                raise ConfigError(
                    f"{key}.processes={self.processes} and {key}.nodes={self.nodes} need {key}.distributed=ddp or fsdp."
                )
            return
        alone = {
            "method=pretrained": self.method == "pretrained",
            "qat": self.quantization_aware() is not None,
            "sparse": self.sparse_from_start() is not None,
            "shrink": self.shrink is not None,
            "whitening_samples": self.whitening_samples > 0,
            f"compile={self.compile}": self.compile != "never",
            "batch_sizes": bool(self.batch_sizes),
            "muon_learning_rate": self.distributed == "fsdp" and self.muon_learning_rate is not None,
            "lora": self.distributed == "fsdp" and self.low_rank() is not None,
        }
        found = [f"{key}.{name}" for name, is_set in alone.items() if is_set]
        if found:
            raise ConfigError(
                f"{key}.distributed={self.distributed} does not work with {', '.join(found)}, which is made "
                f"for one process. Set {key}.distributed=none, or leave that out."
            )
        if self.batch_size < self.processes * self.nodes:
            raise ConfigError(
                f"{key}.batch_size={self.batch_size} has no sample for some of the {self.processes * self.nodes} "
                f"processes ({key}.processes x {key}.nodes). Raise it to at least their number."
            )

    def quantization_aware(self) -> Any:
        """Return the settings of quantization-aware training (`overwinter.training.qat`); None for plain training."""
        return None

    def sparse_from_start(self) -> Any:
        """Return the settings of training with few weights (`overwinter.sparsity.rigl`); None: with all of them."""
        return None


def fits_of(config: Config) -> dict[str, FitConfig]:
    """Return key of the configuration -> settings of each fit: the training, and a fine-tuning if there is one."""
    fine_tuning = config.sparsify.fine_tuning()
    return {"train": config.train, **({} if fine_tuning is None else {config.sparsify.fit_key(): fine_tuning.fit})}


def check_training(config: Config) -> None:
    """Check that the classes which optimizers and schedules name may be called, without importing them.

    Raises:
        ConfigError: one is not trusted, its arguments are not plain data, or there are two optimizers.
    """
    for key, fit in fits_of(config).items():
        if fit.optimizer is not None and fit.muon_learning_rate is not None:
            raise ConfigError(f"{key}.optimizer and {key}.muon_learning_rate are both set. Set one of them to null.")
        for kind, node in ((OPTIMIZER, fit.optimizer), (SCHEDULE, fit.schedule)):
            if node is not None:
                where = f"{key}.{kind.key.rpartition('.')[2]}"
                trusted_target(node, kind, trusted=config.trusted_targets, key=where)
                refuse_code(node, key=where)


def check_distributed(config: Config) -> None:
    """Check that the processes of a distributed training can find each other and their devices.

    Raises:
        ConfigError: several machines have no place to meet, or the device is one GPU.
    """
    if config.train.distributed == "none":
        return
    rendezvous = config.torchrun.rendezvous
    host, _, port = (rendezvous or "").rpartition(":")
    if rendezvous is not None and not (host and port.isdecimal()):
        raise ConfigError(f"torchrun.rendezvous={rendezvous!r} must be host:port of the first machine, node1:29500.")
    if config.train.nodes > 1 and rendezvous is None:
        raise ConfigError(
            f"train.nodes={config.train.nodes} machines need torchrun.rendezvous: host:port of the first, node1:29500."
        )
    if ":" in config.device:
        raise ConfigError(
            f"device={config.device} names one GPU, and train.distributed={config.train.distributed} gives each "
            "process its own. Set device=cuda, and CUDA_VISIBLE_DEVICES to those it may use."
        )


def check_trained_grids(config: Config) -> None:
    """Check that a model for the method `qat` was trained quantization-aware and is not changed afterwards.

    Raises:
        ConfigError: training is not quantization-aware, or sparsify changes the weights after it.
    """
    if "qat" not in config.quantize.methods:
        return
    if config.train.quantization_aware() is None:
        raise ConfigError("quantize.methods has qat, but train.qat is not set. Set train=qat_int8.")
    if config.sparsify.method != "none":
        raise ConfigError(
            f"quantize.methods has qat, but sparsify.method={config.sparsify.method} changes the weights after "
            "quantization-aware training. Set sparsify=none."
        )


def check_kept_masks(config: Config) -> None:
    """Check that no stage trains again what was sparse from the start, which would undo its masks.

    Raises:
        ConfigError: sparsify changes the weights after sparse training.
    """
    if config.train.sparse_from_start() is not None and config.sparsify.method != "none":
        raise ConfigError(
            f"train.sparse keeps few weights from the start, and sparsify.method={config.sparsify.method} would train "
            "the others too. Set sparsify=none, or train without train.sparse."
        )
