"""The simulator and the models live in one process."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_model_can_be_loaded_after_a_picture_was_drawn():
    pytest.importorskip("triton", reason="only Triton clashes with the software renderer")
    code = (
        "from vlm2vla.simulation import World, make_scene; world = World(make_scene(1)); world.render('external');"
        "import torch, triton; print('both')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "both"), done.stderr
