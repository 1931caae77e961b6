"""A cycle of our policy beside the paper's procedure, same weights; and what keeps its chunks parsable.

Usage: `python -m bench policy`. Frames of the sample episodes (the shipped adapter did not learn from them), the
shipped models. The paper's procedure is a processor and a `generate` call for each level, with nothing kept from one to
the next, and a chunk that does not parse sampled again. Both ways write at the paper's temperatures, then greedily,
frame by frame in turn in one process, on one thread. Processor seconds are told beside those of the clock: other work
on the machine disturbs them less, and their ratio counts.
"""

import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from vlm2vla.config import PolicyConfig
from vlm2vla.embodiment import STRETCH_RE1
from vlm2vla.errors import ActionParseError
from vlm2vla.evaluation.actions import Moment, grade_one
from vlm2vla.evaluation.config import ActionsConfig
from vlm2vla.language import ActionForm, dialogue, form
from vlm2vla.pipeline.open_loop import questions_of
from vlm2vla.policy import VLMPolicy
from vlm2vla.policy.protocol import ChunkReady, Driving, PlanReady
from vlm2vla.policy.vlm import messages_of, plan_temperature
from vlm2vla.robot import Observation, RobotStatus
from vlm2vla.rollout.drivers import as_trained
from vlm2vla.vlm.chat import Message
from vlm2vla.vlm.local import LocalModels
from vlm2vla.vlm.registry import SHIPPED_FOLDER, ModelRegistry
from vlm2vla.workspace import Workspace

SAMPLE = Path(__file__).resolve().parents[1] / "assets" / "sample"
CYCLES, CHUNKS = 16, 48
MOST = {"plan": 120, "chunk": 900}


@dataclass(frozen=True)
class Cycle:
    """One plan and chunk.

    Attributes:
        seconds: From the picture to the chunk, or to giving up; of the processor.
        clock_s: The same by the clock.
        chunk: Text of the last try.
        tries: How many chunks were written.
        parsed: The last one is in the action language.
    """

    seconds: float
    clock_s: float
    chunk: str
    tries: int
    parsed: bool


def main() -> None:
    """Measure and print."""
    if not all((SHIPPED_FOLDER / name).is_dir() for name in ("base", "lora")):
        print("no models ship: nothing to drive with")
        return
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace.open(scratch)
        registry = ModelRegistry(workspace)
        models = LocalModels(registry)
        config = as_trained(registry.get("lora"), PolicyConfig())
        words = form(config.form)
        moments = _moments(workspace)
        _cycles(models, config, words, _spread(moments, CYCLES))
        _parsing(models, config, _spread(moments, CHUNKS))


def _moments(workspace: Workspace) -> list[Moment]:
    """Beginnings and middles of the subtasks of the sample episodes."""
    found: list[Moment] = []
    for folder in sorted(path for path in SAMPLE.iterdir() if path.is_dir()):
        asked = questions_of(ActionsConfig(data=str(folder), episodes=0, verifier=False), workspace)
        found += asked.moments
    return found


def _cycles(models: LocalModels, config: PolicyConfig, words: ActionForm, moments: Sequence[Moment]) -> None:
    """Time of a cycle, our way and the paper's, and what was written."""
    greedy = replace(config, temperature_plan=0.0, temperature_chunk=0.0)
    generate = _generate()
    ways: dict[str, Callable[[Moment], Cycle]] = {
        "ours": _ours(models, replace(config, parse="grammar")),
        "paper": lambda moment: _papers(generate, config, words, moment),
        "ours, greedy": _ours(models, replace(greedy, parse="grammar")),
        "paper, greedy": lambda moment: _papers(generate, greedy, words, moment),
    }
    done: dict[str, list[Cycle]] = {name: [] for name in ways}
    for number, moment in enumerate((moments[0], *moments)):
        for name, way in ways.items():
            cycle = way(moment)
            if number:  # the first one loads and warms
                done[name].append(cycle)
    for name, cycles in done.items():
        print(f"{name}: {_told(cycles, done['paper, greedy'], moments, words)}")
    for ours, paper in (("ours", "paper"), ("ours, greedy", "paper, greedy")):
        ratios = [one.seconds / other.seconds for one, other in zip(done[ours], done[paper], strict=True)]
        print(
            f"{ours} / {paper}: {_mean(done[ours]) / _mean(done[paper]):.2f} of the time "
            f"(median over frames {statistics.median(ratios):.2f})"
        )
    same = sum(a.chunk == b.chunk for a, b in zip(done["ours, greedy"], done["paper, greedy"], strict=True))
    print(f"the same chunk, letter by letter, when both are greedy: {same} of {len(moments)}")


def _told(cycles: list[Cycle], greedy: list[Cycle], moments: Sequence[Moment], words: ActionForm) -> str:
    """Time, and quality: tries, distance of rows from the greedy chunk, share of directions as recorded."""
    apart, agree = [], []
    for cycle, best, moment in zip(cycles, greedy, moments, strict=True):
        if cycle.parsed and best.parsed:
            rows = grade_one(replace(moment, chunk=words.parse(best.chunk)), cycle.chunk, words).row_cm
            apart += [rows] if rows is not None else []
        direction = grade_one(moment, cycle.chunk, words).direction
        agree += [direction] if direction is not None else []
    return (
        f"{_mean(cycles):.3f} s a cycle ({statistics.median(cycle.clock_s for cycle in cycles):.3f} by the clock, "
        f"median), parsed {sum(cycle.parsed for cycle in cycles)} of {len(cycles)} in "
        f"{sum(cycle.tries for cycle in cycles) / len(cycles):.2f} tries, rows {np.mean(apart):.2f} cm from the "
        f"paper's greedy ones, {np.mean(agree):.0%} of directions as recorded"
    )


def _parsing(models: LocalModels, config: PolicyConfig, moments: Sequence[Moment]) -> None:
    """Share of frames that end with a chunk, by what keeps chunks parsable."""
    for temperature in (config.temperature_chunk, 1.5):
        for parse in ("none", "retry", "grammar"):
            way = _ours(models, replace(config, parse=parse, temperature_chunk=temperature))
            cycles = [way(moment) for moment in moments]
            print(
                f"parse {parse}, temperature {temperature}: {sum(cycle.parsed for cycle in cycles)} of {len(cycles)} "
                f"frames with a chunk, {_mean(cycles):.3f} s a cycle; "
                f"{sum(cycle.parsed and cycle.tries == 1 for cycle in cycles)} at the first try"
            )


def _ours(models: LocalModels, config: PolicyConfig) -> Callable[[Moment], Cycle]:
    """Our policy over one session."""
    policy = VLMPolicy(models.session("lora"), STRETCH_RE1, config)

    def cycle(moment: Moment) -> Cycle:
        seen, driving = _seen(moment), Driving(moment.instruction, (moment.subtask,))
        began, text, tries, parsed = _now(), "", 0, False
        for event in policy.plan(driving, seen):
            driving = driving.planned(event.text) if isinstance(event, PlanReady) else driving
        for event in policy.chunk(driving, seen) if driving.plan else ():
            text = event.raw if isinstance(event, ChunkReady) else text
            tries += not hasattr(event, "level")
            parsed |= isinstance(event, ChunkReady)
        return Cycle(*_since(began), text, max(1, tries - (not parsed)), parsed)

    return cycle


def _papers(generate: Callable, config: PolicyConfig, words: ActionForm, moment: Moment) -> Cycle:
    """A call for the plan, a call for the chunk, and again for what does not parse."""
    seen = _seen(moment)
    began = _now()
    turns = dialogue(moment.instruction, STRETCH_RE1, words, subtask=moment.subtask)
    plan = " ".join(generate(messages_of(turns, seen), "plan", plan_temperature(config), config.top_p).split())
    turns = dialogue(moment.instruction, STRETCH_RE1, words, subtask=moment.subtask, plan=plan)
    text, tries, parsed = "", 0, False
    while plan and not parsed and tries <= config.retries:
        text = generate(messages_of(turns, seen), "chunk", config.temperature_chunk, config.top_p)
        tries, parsed = tries + 1, _parses(words, text)
    return Cycle(*_since(began), text, max(1, tries), parsed)


def _generate() -> Callable[[list[Message], str, float, float], str]:
    """What transformers and peft do by themselves."""
    import torch
    from peft import PeftModel
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from vlm2vla.vlm.local.prompt import as_chat

    processor = AutoProcessor.from_pretrained(SHIPPED_FOLDER / "base")
    model = AutoModelForImageTextToText.from_pretrained(SHIPPED_FOLDER / "base", dtype=torch.float32)
    model = PeftModel.from_pretrained(model, SHIPPED_FOLDER / "lora").eval()
    torch.manual_seed(0)

    def generate(messages: list[Message], level: str, temperature: float, top_p: float) -> str:
        text = processor.apply_chat_template(as_chat(messages), add_generation_prompt=True)
        images = [Image.open(io.BytesIO(part.data)) for message in messages for part in message.images]
        inputs = processor(text=[text], images=[images], return_tensors="pt", add_special_tokens=False)
        how = {"do_sample": True, "temperature": temperature, "top_p": top_p} if temperature else {"do_sample": False}
        with torch.no_grad():
            ids = model.generate(**inputs, max_new_tokens=MOST[level], top_k=None, **how)
        return processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    return generate


def _now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def _since(began: tuple[float, float]) -> tuple[float, float]:
    return time.process_time() - began[0], time.perf_counter() - began[1]


def _parses(words: ActionForm, text: str) -> bool:
    try:
        words.parse(text)
    except ActionParseError:
        return False
    return True


def _seen(moment: Moment) -> Observation:
    status = RobotStatus(ready=True, moving=False, homed=True, runstop=False)
    return Observation(0.0, MappingProxyType({"external": moment.image.data}), np.zeros(7), {}, status)


def _spread(moments: list[Moment], count: int) -> list[Moment]:
    return [moments[number * len(moments) // count] for number in range(min(count, len(moments)))]


def _mean(cycles: Sequence[Cycle]) -> float:
    return statistics.mean(cycle.seconds for cycle in cycles)


if __name__ == "__main__":
    main()
