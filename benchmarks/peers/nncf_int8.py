"""NNCF's int8 of an ONNX file, for OpenVINO: run by the peer's own Python (`make peers`).

.venv-peers/nncf/bin/python benchmarks/peers/nncf_int8.py MODEL.onnx INPUTS.npy RESULT.xml
"""

import sys

import nncf
import numpy as np
import openvino


def main(source: str, inputs: str, result: str) -> None:
    """Quantize by the inputs, 16 at a time, and save."""
    samples = np.load(inputs)
    calibration = nncf.Dataset(list(samples.reshape(-1, 16, samples.shape[-1])))
    model = openvino.Core().read_model(source)
    quantized = nncf.quantize(model, calibration, model_type=nncf.ModelType.TRANSFORMER)
    openvino.save_model(quantized, result, compress_to_fp16=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
