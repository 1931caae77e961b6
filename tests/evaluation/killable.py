"""Answers a set slowly, so that a test can kill it in the middle."""

import sys
import time
from pathlib import Path

from vlm2vla.evaluation import load_set
from vlm2vla.evaluation.config import VqaConfig
from vlm2vla.evaluation.vqa import Contestant, evaluate
from vlm2vla.vlm.chat import Token


class Slow:
    name = "base"

    def stream(self, messages, sampling, *, stopped=None):
        with Path(sys.argv[3]).open("a") as log:
            log.write(messages[-1].text + "\n")
        time.sleep(0.05)
        yield Token("red")


report = evaluate(
    load_set(sys.argv[1]), [Contestant("base", "f", Slow)], Path(sys.argv[2]), VqaConfig(models="base", batch=4)
)
sys.stdout.write(str(report.models[0].asked))
