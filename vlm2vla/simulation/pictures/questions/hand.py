"""Questions about the gripper: open or closed, what it holds, how high it is."""

import random

from vlm2vla.simulation.pictures.questions.asked import YES_NO, Asked, label, seen_objects, the
from vlm2vla.simulation.pictures.questions.looks import opening
from vlm2vla.simulation.pictures.truth import View

_LOW_CM, _HIGH_CM = 6.0, 10.0


def gripper(view: View, rng: random.Random) -> Asked | None:
    """Open or closed; holding what."""
    sort = rng.choice(("open", "open", "what", "holds", "this"))
    held = next((thing for thing in view.things if thing.held), None)
    if sort == "open":
        state = "closed" if held else opening(view)
        if not state:
            return None
        question = rng.choice(("Is the gripper open or closed?", "Is the hand open or closed?"))
        return Asked("gripper", question, state, options=("open", "closed"), scorer="choice")
    if sort == "what":
        question = rng.choice(("What is the gripper holding?", "What is in the gripper?"))
        if held and not held.seen:
            return None
        return Asked("gripper", question, label(held) if held else "nothing", view.index(held) if held else None)
    if sort == "holds":
        question = rng.choice(("Is the gripper holding something?", "Does the gripper hold anything?"))
        return Asked("gripper", question, "yes" if held else "no", options=YES_NO, scorer="yes_no")
    things = [thing for thing in seen_objects(view) if thing.kind in ("cube", "cylinder", "can", "ball")]
    things = [thing for thing in things if the(view, thing, rng, plain=True)]
    if not things:
        return None
    thing = held if held in things and rng.random() < 0.5 else rng.choice(things)
    question = f"Is the gripper holding {the(view, thing, rng)}?"
    answer = "yes" if thing.held else "no"
    return Asked("gripper", question, answer, view.index(thing), options=YES_NO, scorer="yes_no")


def height(view: View, rng: random.Random) -> Asked | None:
    """How high the fingertips are over the table."""
    hand = view.gripper
    if rng.random() < 0.7:
        question = rng.choice(
            (
                "How high is the gripper over the table?",
                "How far above the table is the gripper?",
                "Gripper height in cm?",
            )
        )
        return Asked("height", question, f"{round(hand.z_cm)} cm", scorer="number")
    if _LOW_CM < hand.z_cm < _HIGH_CM:
        return None
    question = "Is the gripper low or high over the table?"
    answer = "low" if hand.z_cm <= _LOW_CM else "high"
    return Asked("height", question, answer, options=("low", "high"), scorer="choice")
