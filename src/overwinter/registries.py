"""Registries of the built-in plug-ins, one table per kind.

`plugins.Registry` imports a plug-in on first use, so this module imports none of them, and a configuration's names can
be checked without loading any.
"""

from __future__ import annotations

from typing import Any

from overwinter.plugins import Registry

ENERGY_SOURCES: Registry[Any] = Registry(
    group="overwinter.energy_sources",
    key="energy.sources",
    built_in={
        "amdsmi": "overwinter.energy.amd:open_amd",
        "hwmon": "overwinter.energy.hwmon:open_hwmon",
        "modelled": "overwinter.energy.modelled:open_modelled",
        "nvml": "overwinter.energy.nvml:open_nvml",
        "power-supply": "overwinter.energy.power_supply:open_power_supply",
        "rapl": "overwinter.energy.rapl:open_rapl",
    },
)

EXPORT_FORMATS: Registry[Any] = Registry(
    group="overwinter.export_formats",
    key="overwinter export",
    built_in={
        "compressed-tensors": "overwinter.export.compressed_tensors_format:CompressedTensorsFormat",
        "gguf": "overwinter.export.gguf_format:GgufFormat",
        "onnx": "overwinter.export.onnx_format:OnnxFormat",
        "openvino": "overwinter.export.openvino_format:OpenVinoFormat",
    },
)

# Each names the settings of a source, which open it.
INTENSITY_SOURCES: Registry[Any] = Registry(
    group="overwinter.intensity_sources",
    key="carbon.source",
    built_in={
        "constant": "overwinter.carbon.constant:ConstantCarbonConfig",
        "country": "overwinter.carbon.country:CountryCarbonConfig",
        "electricity_maps": "overwinter.carbon.settings:ElectricityMapsCarbonConfig",
        "trace": "overwinter.carbon.settings:TraceCarbonConfig",
        "uk_grid": "overwinter.carbon.settings:UkGridCarbonConfig",
        "watttime": "overwinter.carbon.settings:WattTimeCarbonConfig",
    },
)

ORCHESTRATORS: Registry[Any] = Registry(
    group="overwinter.orchestrators",
    key="overwinter deploy",
    built_in={
        "container": "overwinter.deploy.container:Container",
        "cron": "overwinter.deploy.cron:Cron",
        "kubernetes": "overwinter.deploy.kubernetes:Kubernetes",
        "systemd": "overwinter.deploy.systemd:Systemd",
        "vm": "overwinter.deploy.vm:Vm",
    },
)

POWER_ACTUATORS: Registry[Any] = Registry(
    group="overwinter.power_actuators",
    key="power.actuator",
    built_in={
        "auto": "overwinter.power.actuators.registry:open_first_usable",
        "duty_cycle": "overwinter.power.actuators.duty_cycle:open_duty_cycle",
        "nvml": "overwinter.power.actuators.nvml:open_power_limit",
        "nvml_clocks": "overwinter.power.actuators.nvml:open_locked_clocks",
        "rapl": "overwinter.power.actuators.rapl:open_rapl",
        "simulated": "overwinter.power.actuators.simulated:open_simulated",
        "zeusd": "overwinter.power.actuators.zeusd:open_zeusd",
    },
)

# Each names the settings of a policy, which create it.
POWER_POLICIES: Registry[Any] = Registry(
    group="overwinter.power_policies",
    key="power.policy",
    built_in={
        "budget_pacing": "overwinter.power.policies.budget_pacing:BudgetPacingPowerConfig",
        "carbon_aware": "overwinter.power.policies.planned_settings:CarbonAwarePowerConfig",
        "energy_optimal": "overwinter.power.policies.energy_optimal:EnergyOptimalPowerConfig",
        "none": "overwinter.power.policies.no_cap:NoCapPowerConfig",
        "price_aware": "overwinter.power.policies.planned_settings:PriceAwarePowerConfig",
        "schedule": "overwinter.power.policies.schedule:SchedulePowerConfig",
        "static": "overwinter.power.policies.static:StaticPowerConfig",
    },
)

QUANTIZERS: Registry[Any] = Registry(
    group="overwinter.quantizers",
    key="quantize.methods",
    built_in={
        "fp8_dynamic": "overwinter.quantization.torchao_variants:Fp8Dynamic",
        "fp8_weight_only": "overwinter.quantization.torchao_variants:Fp8WeightOnly",
        "int4_gptq": "overwinter.quantization.integer_variants:Int4Gptq",
        "int4_nearest": "overwinter.quantization.integer_variants:Int4Nearest",
        "int8_dynamic": "overwinter.quantization.torchao_variants:Int8Dynamic",
        "int8_grouped": "overwinter.quantization.integer_variants:Int8Grouped",
        "int8_smooth": "overwinter.quantization.integer_variants:Int8Smooth",
        "int8_static": "overwinter.quantization.int8_static:Int8Static",
        "int8_weight_only": "overwinter.quantization.integer_variants:Int8WeightOnly",
        "mixed": "overwinter.quantization.integer_variants:Mixed",
        "qat": "overwinter.quantization.integer_variants:TrainedGrids",
    },
)

RUNTIMES: Registry[Any] = Registry(
    group="overwinter.runtimes",
    key="evaluate.runtimes",
    built_in={
        "llama-cpp": "overwinter.runtime.llama_cpp_runtime:LlamaCppRuntime",
        "onnxruntime": "overwinter.runtime.onnx_runtime:OnnxRuntime",
        "openvino": "overwinter.runtime.openvino_runtime:OpenVinoRuntime",
        "torch": "overwinter.runtime.torch_runtime:TorchRuntime",
        "torch-bf16": "overwinter.runtime.torch_bf16:TorchBf16Runtime",
        "torch-compile": "overwinter.runtime.torch_compile:TorchCompileRuntime",
    },
)

SLEEP_POLICIES: Registry[Any] = Registry(
    group="overwinter.sleep_policies",
    key="policy",
    built_in={
        "break_even": "overwinter.serving.sleep.timed:BreakEven",
        "fixed": "overwinter.serving.sleep.timed:Fixed",
        "learned": "overwinter.serving.sleep.learned:Learned",
        "randomised": "overwinter.serving.sleep.timed:Randomised",
        "scheduled": "overwinter.serving.sleep.registry:scheduled",
    },
)

# Each names the settings of a sparsifier, which create it.
SPARSIFIERS: Registry[Any] = Registry(
    group="overwinter.sparsifiers",
    key="sparsify.method",
    built_in={
        "channels": "overwinter.sparsity.settings:ChannelsConfig",
        "magnitude": "overwinter.sparsity.settings:MagnitudeConfig",
        "none": "overwinter.sparsity.settings:NoSparsifyConfig",
        "one_shot": "overwinter.sparsity.settings:OneShotConfig",
    },
)

# Each names the settings of a task, which open it.
TASKS: Registry[Any] = Registry(
    group="overwinter.tasks",
    key="task.name",
    built_in={
        "classification": "overwinter.tasks.settings:ClassificationTaskConfig",
        "embeddings": "overwinter.tasks.settings:EmbeddingsTaskConfig",
        "forecasting": "overwinter.tasks.settings:ForecastingTaskConfig",
        "language_modeling": "overwinter.tasks.settings:LanguageModelingTaskConfig",
        "multilabel": "overwinter.tasks.settings:MultilabelTaskConfig",
        "regression": "overwinter.tasks.settings:RegressionTaskConfig",
        "segmentation": "overwinter.tasks.settings:SegmentationTaskConfig",
        "token_classification": "overwinter.tasks.settings:TokenClassificationTaskConfig",
    },
)

TRACKERS: Registry[Any] = Registry(
    group="overwinter.trackers",
    key="track",
    built_in={
        "mlflow": "overwinter.tracking.mlflow:MlflowTracker",
        "tensorboard": "overwinter.tracking.tensorboard:TensorBoardTracker",
    },
)
