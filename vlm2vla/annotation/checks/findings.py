"""What a check says."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth a look.

    Attributes:
        severity: "error" is wrong and must not be exported, "warning" wants a look, "info" is good to know.
        code: Stable name of the check ("plan-direction"), for counts and filters.
        message: A sentence for people.
        uid: The subtask, or "" for the whole episode.
        start_step, end_step: Half-open steps it is about.
    """

    severity: Severity
    code: str
    message: str
    uid: str = ""
    start_step: int = 0
    end_step: int = 0


@dataclass(frozen=True)
class SpanError:
    """Distance between what the action text of a subtask adds up to and what was recorded.

    Attributes:
        uid: The subtask.
        cm: Length of the difference of translations, centimetres.
        deg: Length of the difference of roll, pitch, yaw, degrees; 0 in a form without rotation.
    """

    uid: str
    cm: float
    deg: float
