"""Is the subtask done? By a model that looks at two images, or by the numbers of the robot.

`VLMVerifier` asks any model that can be talked to: the fine-tuned model itself, or a larger one behind a server.
`KinematicVerifier` looks at nothing: it compares where the chunk was to lead with where the robot is. Both say "not
yet" when they cannot tell.
"""

import re

import numpy as np

from vlm2vla.embodiment import Embodiment
from vlm2vla.errors import ModelError
from vlm2vla.language import completed_dialogue
from vlm2vla.policy.protocol import Driving, Verdict
from vlm2vla.policy.vlm import messages_of
from vlm2vla.robot import Observation
from vlm2vla.vlm.chat import ChatModel, Sampling

_YES_OR_NO = re.compile(r"\W*(yes|no)\b", re.I)

# The arm counts as arrived this near to where its chunk was to lead, metres.
ARRIVED_M = 0.02
# Where a subtask turns the hand: as turned within this much, radians.
TURNED_RAD = 0.1
# Fingers that closed further than this hold nothing, share of the full opening.
EMPTY = 0.08
# Fingers that are as wide as this have not closed at all.
_WIDE = 0.95
_OPEN_FROM = 0.5


class VLMVerifier:
    """Shows a model the scene as the subtask began and as it is now, and asks whether the subtask is completed.

    Args:
        model: Any model that sees two images.
        embodiment: Named in the prompt.
    """

    def __init__(self, model: ChatModel, embodiment: Embodiment):
        self.name = f"{model.name} looking at two images"
        self._model, self._embodiment = model, embodiment

    def verify(self, driving: Driving, before: Observation, after: Observation) -> Verdict:
        """Yes only where the model says yes."""
        turns = completed_dialogue(driving.instruction, driving.subtask, self._embodiment, None)
        messages = messages_of(turns, before, after)
        try:
            text = "".join(token.text for token in self._model.stream(messages, Sampling(max_new_tokens=8)))
        except ModelError as error:
            return Verdict(False, f"{self._model.name} could not tell: {error}")
        return _verdict(text)


class KinematicVerifier:
    """A subtask is done when its chunk led where it was to lead and the gripper is as commanded.

    It does not know what the subtask means: a chunk that leads past the object is "done" as well. Fingers that closed
    on nothing are seen, by their opening.
    """

    name = "kinematic"

    def verify(self, driving: Driving, before: Observation, after: Observation) -> Verdict:
        """Compare the goal of the chunk with the newest observation."""
        if driving.goal is None:
            return Verdict(False, "there is no chunk to compare with")
        left = float(np.linalg.norm(driving.goal[:3] - after.ee[:3]))
        if left > ARRIVED_M:
            return Verdict(False, f"{left * 100:.1f} cm are left to where the chunk was to lead")
        to_turn, left = (float(np.abs(driving.goal[3:6] - seen.ee[3:6]).max()) for seen in (before, after))
        if to_turn > TURNED_RAD and left > TURNED_RAD:
            return Verdict(False, f"{np.degrees(left):.0f} degrees are left to how the chunk was to turn")
        opening = float(after.ee[6])
        if driving.goal[6] >= _OPEN_FROM:
            done = opening >= _OPEN_FROM
            return Verdict(done, "there, with the gripper open" if done else "there, but the gripper is not open")
        if opening > _WIDE:  # the chunk ended before its last row
            return Verdict(False, "there, but the fingers have not closed")
        if opening < EMPTY:
            return Verdict(False, "there, but the fingers closed on nothing")
        return Verdict(True, "there, with something between the fingers")


def _verdict(text: str) -> Verdict:
    match = _YES_OR_NO.match(text)
    if match is None:
        return Verdict(False, f"no yes or no in the answer {text.strip()[:80]!r}")
    return Verdict(match.group(1).lower() == "yes", text.strip())
