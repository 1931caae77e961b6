"""Families of tasks: which scene, which objects, which words; all of it from one seed.

Five mirror the evaluation of the paper: pick up; pick and place; pick, place, then lift (compositional); pick up with a
translated instruction; pick up what is only referred to (by the picture beside it, a synonym, a rare colour name). One
is beyond it: pick up a box that lies across, too wide for the fingers unless the wrist turns.
Knows no robot and no policy.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from vlm2vla.config import did_you_mean
from vlm2vla.errors import ConfigError
from vlm2vla.simulation import instructions, scenes
from vlm2vla.simulation.instructions import Reference, Roles
from vlm2vla.simulation.scenes import Scene, SceneNeeds, make_scene

Family = Literal[
    "pick-up", "pick-and-place", "pick-place-lift", "pick-up-translated", "pick-up-reference", "pick-up-turned"
]
# Those of the paper, and the one that needs rotation.
FAMILIES: tuple[Family, ...] = get_args(Family)[:5]
TURNED: Family = "pick-up-turned"
# What the scripted expert solves and records of the paper's; the other two are for testing policies.
RECORDED: tuple[Family, ...] = FAMILIES[:3]
_ALL = (*FAMILIES, TURNED)
_PARAPHRASES = 3


@dataclass(frozen=True)
class Task:
    """What to do in a scene. Objects are named as in `Scene.objects`.

    Attributes:
        family: One of `FAMILIES`, or `TURNED`.
        instruction: The task in words.
        language: "en", "es", "zh" or "hi".
        target: What is picked up.
        destination: Where it goes, or "".
        second: What is lifted afterwards, or "".
        held_out: The wording, or the way the target is named, never occurs in action data.
        reference: How the target is named ("" is plainly, by colour and kind).
        paraphrases: Other wordings of the same kind.
    """

    family: Family
    instruction: str
    language: str
    target: str
    destination: str = ""
    second: str = ""
    held_out: bool = False
    reference: Reference = ""
    paraphrases: tuple[str, ...] = ()


def make_task(
    family: str, seed: int, *, held_out: bool = False, language: str = "", reference: Reference = ""
) -> tuple[Scene, Task]:
    """A scene and a task in it; equal arguments give equal ones.

    Args:
        family: One of `FAMILIES`, or `TURNED`.
        seed: Any whole number from 0.
        held_out: Word it in a way that no recording is worded.
        language: One of `instructions.LANGUAGES`; "" is English, or any other one for "pick-up-translated".
        reference: For "pick-up-reference": how the target is named; "" draws it.

    Raises:
        ConfigError: Unknown family or language.
    """
    if family not in _ALL:
        raise ConfigError(f"no task family {family!r}; {did_you_mean(family, _ALL)}")
    rng = np.random.default_rng([seed, _ALL.index(family), 3])
    others = instructions.LANGUAGES[1:]
    drawn = others[rng.integers(len(others))] if family == "pick-up-translated" else "en"
    language = language or drawn
    if family == "pick-up-reference":
        reference = reference or ("picture", "picture", "synonym", "colour")[rng.integers(4)]
    else:
        reference = ""
    scene = make_scene(seed, require=_needs(family, reference))
    roles = _roles(family, scene, reference, rng)
    key = "pick-up" if family.startswith("pick-up-") else family
    key = "reference-picture" if reference == "picture" else key
    templates = instructions.templates(key, language, held_out=held_out)
    order = rng.permutation(len(templates))
    texts = [instructions.say(templates[index], roles, language, reference) for index in order]
    task = Task(
        family=family,
        instruction=texts[0],
        language=language,
        target=roles.target.name,
        destination=roles.destination.name if roles.destination else "",
        second=roles.second.name if roles.second else "",
        held_out=held_out or bool(reference),
        reference=reference,
        paraphrases=tuple(texts[1 : 1 + _PARAPHRASES]),
    )
    return scene, task


def _needs(family: str, reference: Reference) -> SceneNeeds:
    return SceneNeeds(
        graspable=2 if family == "pick-place-lift" else 1,
        containers=1 if family in ("pick-and-place", "pick-place-lift") else 0,
        beside_cards=1 if reference == "picture" else 0,
        kinds=(scenes.TURNED,) if family == TURNED else (),
    )


def _roles(family: str, scene: Scene, reference: Reference, rng: np.random.Generator) -> Roles:
    """Who takes which part."""
    graspable = scene.graspable
    if family == TURNED:
        return Roles(next(thing for thing in graspable if thing.kind == scenes.TURNED))
    if reference == "picture":
        target = next(thing for thing in graspable if thing.beside)
        return Roles(target, picture=scene.find(target.beside))
    if reference:
        graspable = tuple(thing for thing in graspable if instructions.has_synonym(thing, reference)) or graspable
    chosen = [graspable[index] for index in rng.permutation(len(graspable))]
    if family not in ("pick-and-place", "pick-place-lift"):
        return Roles(chosen[0])
    destination = scene.containers[rng.integers(len(scene.containers))]
    return Roles(chosen[0], destination, chosen[1] if family == "pick-place-lift" else None)
