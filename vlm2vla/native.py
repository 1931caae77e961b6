"""Loads native libraries in the one order in which they get on with each other.

Triton (it comes with xgrammar and torch) and Mesa's software renderer each carry an LLVM. Mesa first and Triton later
ends the process with a segmentation fault; Triton first is fine. So whoever is about to draw, or to load a model, loads
Triton before.
"""

import contextlib
import importlib


def load_in_order() -> None:
    """Load Triton's native library if it is installed; call it before the first GL call. Cheap the second time."""
    with contextlib.suppress(ImportError):
        importlib.import_module("triton._C.libtriton")
