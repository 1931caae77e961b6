"""Questions with answers about one picture, about two moments of a scene, and without any picture."""

import random

from vlm2vla.simulation.pictures.questions import hand, looks, places, tongues
from vlm2vla.simulation.pictures.questions.asked import Asked, Maker
from vlm2vla.simulation.pictures.truth import View

SKILLS: dict[str, tuple[Maker, float]] = {
    "objects": (looks.objects, 1.0),
    "colour": (looks.colour, 2.0),
    "shape": (looks.shape, 2.0),
    "held": (looks.held_colour, 1.0),
    "count": (looks.count, 3.5),
    "exists": (looks.exists, 3.0),
    "relation": (places.relation, 4.5),
    "extreme": (places.extreme, 2.5),
    "region": (places.region, 1.5),
    "pointing": (places.pointing, 4.0),
    "offset": (places.offset, 6.0),
    "gripper": (hand.gripper, 2.0),
    "height": (hand.height, 1.2),
    "symbol": (looks.symbol, 3.0),
    "beside": (places.beside, 1.8),
    "caption": (looks.caption, 0.5),
    "size": (looks.size, 1.2),
    "language": (tongues.language, 6.0),
    "synonym": (looks.synonym, 2.5),
}
"""Who makes questions of a skill, and how often it is asked to."""

_TRIES = 6


def ask(view: View, rng: random.Random, count: int) -> list[Asked]:
    """`count` different questions about a picture, fewer where there is little to ask."""
    names = list(SKILLS)
    weights = [SKILLS[name][1] for name in names]
    asked: dict[tuple[str, str], Asked] = {}
    for name in rng.choices(names, weights, k=_TRIES * count):
        if len(asked) == count:
            break
        made = SKILLS[name][0](view, rng)
        if made is not None:
            asked.setdefault((made.language, made.question), made)
    return list(asked.values())
