"""Responses of openvino-genai to a GGUF file: run by the peer's own Python (`make peers`).

.venv-peers/openvino-genai/bin/python benchmarks/peers/openvino_genai_responses.py MODEL.gguf THREADS
"""

import sys

import numpy as np
import openvino_genai
from openvino import Tensor
from responding import answer


def main(path: str, threads: str) -> None:
    """Load, and respond."""
    pipeline = openvino_genai.LLMPipeline(path, "CPU", INFERENCE_NUM_THREADS=int(threads))

    def respond(prompt: list[int], count: int) -> list[int]:
        settings = openvino_genai.GenerationConfig(max_new_tokens=count, ignore_eos=True, do_sample=False)
        found = pipeline.generate(Tensor(np.array([prompt], dtype=np.int64)), settings)
        return [int(token) for token in found.tokens[0]]

    answer(respond)


if __name__ == "__main__":
    main(*sys.argv[1:])
