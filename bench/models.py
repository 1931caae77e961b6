"""Two answers from one copy of the weights, beside one answer.

Usage: `python -m bench models`. The shipped models, or, where there are none, random weights of about their size. All
ways are asked in turn, several times, in this process; times are medians, and their ratios count. "One answer" is that
of the slower one asked alone, which is the adapter; the base alone is told too. A new picture each time is an honest
first question: the vision tower runs, once for both. Two answers share that and what a token costs beside its
arithmetic; the arithmetic of the second row is not for nothing where weights lie in the processor's cache, as those of
a small model do.
"""

import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vlm2vla.vlm.chat import Message, Sampling
from vlm2vla.vlm.local import LocalModels
from vlm2vla.vlm.protocol import ImagePart
from vlm2vla.vlm.registry import SHIPPED_FOLDER, ModelRegistry
from vlm2vla.workspace import Workspace

ROUNDS, TOKENS, THREADS = 9, 64, (1, 2)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        shipped = _models(Path(scratch))
        models = LocalModels(ModelRegistry(Workspace.open(Path(scratch) / "workspace"), shipped=shipped))
        _pair(models)
        _memory(shipped)


def _models(scratch: Path) -> Path:
    if (SHIPPED_FOLDER / "base").is_dir() and (SHIPPED_FOLDER / "lora").is_dir():
        print(f"models: {SHIPPED_FOLDER}")
        return SHIPPED_FOLDER
    from tests.vlm.tiny_model import make_adapter, make_base

    print("models: random weights, width 256, 6 layers, LoRA of rank 16")
    base = make_base(scratch / "models" / "base", hidden=256, layers=6, heads=8)
    make_adapter(base, scratch / "models" / "lora", rank=16)
    return scratch / "models"


def _pair(models: LocalModels) -> None:
    """Base and adapter in one batch against one of them; equally many tokens each, whatever they are."""
    import torch

    weights, _ = models.ready("lora")
    ends, weights.ends = weights.ends, frozenset()  # no answer may be shorter than another
    numbers, threads = itertools.count(1), torch.get_num_threads()
    print(f"one answer: {TOKENS} tokens of base or adapter, asked alone; both: as many of each, in one batch")
    for count in THREADS:
        torch.set_num_threads(count)
        for what, number in (("a picture seen before", lambda: 0), ("a new picture each time", lambda: next(numbers))):
            took = _in_turn(_ways(models, number))
            for unit, (base, lora, both) in zip(("s", "processor s"), zip(*took.values(), strict=True), strict=True):
                print(
                    f"{count} thread(s), {what}: base {base:.3f}, adapter {lora:.3f}, both {both:.3f} {unit}: "
                    f"{both / max(base, lora):.2f} of the slower one, {both / base:.2f} of the base",
                    flush=True,
                )
    torch.set_num_threads(threads)
    weights.ends = ends


def _ways(models: LocalModels, number: Callable[[], int]) -> dict[str, Callable[[], object]]:
    """What is compared; `number` is of the picture that is asked about."""
    sampling = Sampling(max_new_tokens=TOKENS)

    def question() -> list[Message]:
        return [Message("user", (_image(number()), "What is on the table?"))]

    return {
        "base": lambda: sum(1 for _ in models.model("base").stream(question(), sampling)),
        "lora": lambda: sum(1 for _ in models.model("lora").stream(question(), sampling)),
        "both": lambda: _answer(models, ["base", "lora"], question(), sampling),
    }


def _memory(shipped: Path) -> None:
    """Largest resident memory of a process that answers with the base, and of one that answers with both."""
    peaks = {}
    for names in ("base", "base,lora"):
        command = [sys.executable, "-m", "bench.models", "--peak", names, str(shipped)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        peaks[names] = (float(told[-2]), float(told[-1]))
    (one, weights_one), (both, weights_both) = peaks["base"], peaks["base,lora"]
    print(
        f"peak memory: base {one:.0f} MB, base and lora {both:.0f} MB: {both / one:.2f}; weights alone "
        f"{weights_one:.1f} and {weights_both:.1f} MB: {weights_both / weights_one:.2f}"
    )


def _peak(names: str, shipped: str) -> None:
    """Answer, and print the process's peak memory and the size of all weights, MB."""
    import resource

    with tempfile.TemporaryDirectory() as scratch:
        models = LocalModels(ModelRegistry(Workspace.open(scratch), shipped=Path(shipped)))
        message = [Message("user", (_image(), "What is on the table?"))]
        _answer(models, names.split(","), message, Sampling(max_new_tokens=16))
        weights, _ = models.ready("base")
        sizes = {one.data_ptr(): one.numel() * one.element_size() for one in weights.model.parameters()}
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, sum(sizes.values()) / 1e6)


def _answer(models: LocalModels, names: list[str], message: list[Message], sampling: Sampling) -> None:
    """Let all of them answer; one that cannot is no bench."""
    for _, token in models.stream_together(names, message, sampling):
        if isinstance(token, Exception):
            raise token


def _in_turn(ways: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Median seconds of each by the clock and of the processor, all asked in turn after a first time for nothing."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            way()
            if number:
                took[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return {name: tuple(map(statistics.median, zip(*seconds, strict=True))) for name, seconds in took.items()}


def _image(number: int = 0) -> ImagePart:
    """Another number is another picture."""
    import io

    from PIL import Image, ImageDraw

    image, (down, across) = Image.new("RGB", (224, 224), "white"), divmod(number, 150)
    ImageDraw.Draw(image).rectangle((across, down, across + 50, down + 50), fill="red")
    file = io.BytesIO()
    image.save(file, "PNG")
    return ImagePart(file.getvalue(), "image/png")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        _peak(*sys.argv[2:])
    else:
        main()
