"""The least that writes one token with a runtime's own package: what the server's cold start is compared with.

    python benchmarks/server_language_bare.py RUNTIME PAYLOAD TOKENIZER PROMPT

PAYLOAD is the folder that Overwinter built for the runtime; for torch one that transformers reads.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np


def main(runtime: str, payload: str, tokenizer_folder: str, prompt: str) -> None:
    """Print the first token's text."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(tokenizer_folder) / "tokenizer.json"))
    tokens = np.array([tokenizer.encode(prompt).ids])
    print(tokenizer.decode([int(NEXT[runtime](Path(payload), tokens).argmax())]), flush=True)


def on_torch(folder: Path, tokens: np.ndarray) -> np.ndarray:
    """Return the next token's logits (vocabulary,) by transformers, in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        return model(torch.from_numpy(tokens)).logits[0, -1].numpy()


def on_onnxruntime(folder: Path, tokens: np.ndarray) -> np.ndarray:
    """Return them by ONNX Runtime, with keys and values of nothing."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    shape = json.loads((folder / "language.json").read_text())
    nothing = np.zeros((1, shape["key_value_heads"], 0, shape["head_size"]), dtype=np.float32)
    fed = {each.name: nothing for each in session.get_inputs() if each.name.startswith("past_key_values.")}
    fed |= {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "logits_from": np.array([-1])}
    return session.run(["logits"], fed)[0][0, -1]


def on_openvino(folder: Path, tokens: np.ndarray) -> np.ndarray:
    """Return them by OpenVINO."""
    import openvino

    compiled = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", {"INFERENCE_NUM_THREADS": 1})
    fed = {
        "input_ids": tokens,
        "attention_mask": np.ones_like(tokens),
        "position_ids": np.arange(tokens.shape[1])[None],
        "beam_idx": np.zeros(1, dtype=np.int32),
        "logits_from": np.array([tokens.shape[1] - 1]),
    }
    known = {port.get_any_name() for port in compiled.inputs}
    return compiled({name: value for name, value in fed.items() if name in known})[0][0, -1]


def on_llama_cpp(folder: Path, tokens: np.ndarray) -> np.ndarray:
    """Return them by llama.cpp."""
    import llama_cpp

    model = llama_cpp.Llama(str(folder / "model.gguf"), n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False)
    model.eval(tokens[0].tolist())
    return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(model.ctx, -1), (model.n_vocab(),)).copy()


NEXT: dict[str, Callable[[Path, np.ndarray], np.ndarray]] = {
    "torch": on_torch,
    "onnxruntime": on_onnxruntime,
    "openvino": on_openvino,
    "llama-cpp": on_llama_cpp,
}


if __name__ == "__main__":
    main(*sys.argv[1:])
