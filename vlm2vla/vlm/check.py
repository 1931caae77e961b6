"""Is a model what its entry says? Asks small questions; an adapter is compared with its base, a server is probed."""

import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from vlm2vla.errors import ModelError, VLM2VLAError
from vlm2vla.vlm.chat import Message, Sampling
from vlm2vla.vlm.protocol import ImagePart
from vlm2vla.vlm.registry import ModelEntry, ModelRegistry

if TYPE_CHECKING:
    from vlm2vla.vlm.local import LocalModels
    from vlm2vla.vlm.local.weights import Weights

QUESTIONS = ("What is in the image?", "Pick up the red cube. Which directions does the gripper move?")
SMALLEST_CHANGE = 1e-5
"""A change of every logit below this is rounding."""


@dataclass(frozen=True)
class CheckReport:
    """What was found.

    Attributes:
        name: The model.
        kind: Of its entry.
        problems: Why it should not be used as it is; empty when all is well.
        facts: What was seen.
        difference: Adapters: largest change of a logit against the base over the questions.
    """

    name: str
    kind: str
    problems: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    difference: float | None = None

    def to_json(self) -> dict:
        """Plain JSON values."""
        return asdict(self) | {"ok": not self.problems}


def check_model(entry: ModelEntry, registry: ModelRegistry, models: "LocalModels | None" = None) -> CheckReport:
    """Load the model, or ask its server, and report; whatever goes wrong is a problem of the report.

    Args:
        entry: What is checked.
        registry: Where its base is found.
        models: Where it is loaded, or is already; a place of its own when None.
    """
    try:
        return _check_local(entry, registry, models) if entry.local else _check_remote(entry)
    except VLM2VLAError as error:
        return CheckReport(entry.name, entry.kind, (str(error),))


def _check_local(entry: ModelEntry, registry: ModelRegistry, models: "LocalModels | None") -> CheckReport:
    from vlm2vla.vlm.local import LocalModels

    models = models or LocalModels(registry)
    weights, adapter = models.ready(entry.name)
    problems, difference = [], None
    if all(_change(weights, text, (adapter, 0), (adapter, 1)) < SMALLEST_CHANGE for text in QUESTIONS):
        problems.append("it does not see: another image gives the same answer")
    if entry.kind == "adapter":
        difference = max(_change(weights, text, (adapter, 0), ("", 0)) for text in QUESTIONS)
        if difference < SMALLEST_CHANGE:
            problems.append(f"the adapter changes nothing: its answers are those of {entry.base}")
    count = sum(weight.numel() for weight in weights.model.parameters())
    question = Message("user", (_picture(0), QUESTIONS[0]))
    answer = "".join(token.text for token in models.model(entry.name).stream([question], Sampling(max_new_tokens=24)))
    facts = (f"{count:,} weights, conversations of {weights.context} tokens", f"{QUESTIONS[0]} {answer!r}")
    return CheckReport(entry.name, entry.kind, tuple(problems), facts, difference)


def _check_remote(entry: ModelEntry) -> CheckReport:
    from vlm2vla.vlm.openai import BLIND, OpenAIChat
    from vlm2vla.vlm.remote import open_remote

    model = open_remote(entry)
    if not isinstance(model, OpenAIChat):
        return CheckReport(entry.name, entry.kind, facts=("Gemini is not asked: every answer is paid for",))
    served = model.served()
    try:
        can = model.probe()
    except ModelError as error:
        offers = f"; the server offers {', '.join(served)}" if served else ""
        return CheckReport(entry.name, entry.kind, (f"{error}{offers}",))
    problems = [] if can.images else [f"it does not see: it {BLIND}"]
    facts = [f"{'' if can_it else 'no '}{what}" for what, can_it in asdict(can).items()]
    return CheckReport(entry.name, entry.kind, tuple(problems), tuple(facts))


def _change(weights: "Weights", text: str, one: tuple[str, int], other: tuple[str, int]) -> float:
    """Largest difference of a logit between (adapter, picture) and another (adapter, picture)."""
    from vlm2vla.vlm.local.reading import Reading

    logits = [
        Reading(weights, [adapter]).read_prompts([weights.prompts.make([Message("user", (_picture(number), text))])])[
            0, -1
        ]
        for adapter, number in (one, other)
    ]
    return float((logits[0] - logits[1]).abs().max())


def _picture(number: int) -> ImagePart:
    """0: a red square on white; 1: a blue circle on black."""
    from PIL import Image, ImageDraw

    ground, ink, shape = (("white", "red", "rectangle"), ("black", "blue", "ellipse"))[number]
    image = Image.new("RGB", (128, 128), ground)
    getattr(ImageDraw.Draw(image), shape)((40, 30, 100, 90), fill=ink)
    file = io.BytesIO()
    image.save(file, "PNG")
    return ImagePart(file.getvalue(), "image/png")
