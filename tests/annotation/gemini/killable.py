"""A run of 25 synthetic episodes as a program: `python killable.py STAGED [retry]`. Used by test_run_killed.py."""

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vlm2vla.annotation.gemini import make_gemini_annotator
from vlm2vla.annotation.run import annotate_episodes
from vlm2vla.config import GeminiConfig, LanguageConfig
from vlm2vla.embodiment import WIDOWX
from vlm2vla.types import Episode, Source


@dataclass(frozen=True)
class Grey:
    def __len__(self):
        return 20

    def read(self, step):
        buffer = io.BytesIO()
        Image.new("RGB", (32, 24), (step, step, step)).save(buffer, "PNG")
        return buffer.getvalue()


def episode(n):
    states = np.zeros((20, 7))
    states[:, 0] = 0.2 + 0.01 * np.arange(20)
    states[:, 6] = np.arange(20) < 10
    task = f"put carrot {n} on plate"
    return Episode(f"e{n:02}", "d", Source("x", ""), task, WIDOWX, 5.0, states, None, {"front": Grey()})


if __name__ == "__main__":
    staged, *options = sys.argv[1:]
    annotator = make_gemini_annotator(LanguageConfig(), GeminiConfig(timeout_s=2.0, attempts=8))
    episodes = [episode(n) for n in range(25)]
    report = annotate_episodes(episodes, annotator, Path(staged), concurrency=4, retry_failed="retry" in options)
    print(json.dumps(report.to_json()))  # noqa: T201
