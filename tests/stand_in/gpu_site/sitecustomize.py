"""Gives a process the stand-in GPU as soon as it imports torch, and costs one that does not nothing."""

import ctypes
import importlib.util
import os
import sys


class Waiting:
    """Finds torch as everyone else does, but loads the stand-in's library before it and the stand-in after it."""

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        # Before torch, and for all to see: it takes the place of two of torch's functions.
        ctypes.CDLL(os.environ["OVERWINTER_STAND_IN_GPU"], ctypes.RTLD_GLOBAL)
        spec = importlib.util.find_spec("torch")
        run = spec.loader.exec_module

        def run_and_install(module):
            run(module)
            import overwinter_stand_in_gpu

            overwinter_stand_in_gpu.install()

        spec.loader.exec_module = run_and_install
        return spec


if "OVERWINTER_STAND_IN_GPU" in os.environ:
    sys.meta_path.insert(0, Waiting())
