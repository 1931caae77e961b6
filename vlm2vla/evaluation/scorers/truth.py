"""What a scorer is given beside the answer, and what it returns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Truth:
    """What is right.

    Attributes:
        answers: Accepted answers; for "vqa_accuracy" one of each person who was asked.
        options: The options in the order in which they were shown; empty where the answer is free.
        correct: Index of the right option among them.
        lettered: The options were shown as A, B, C.
        id: Of the question; seeds the guess of "choice_last".
    """

    answers: tuple[str, ...]
    options: tuple[str, ...] = ()
    correct: int = -1
    lettered: bool = False
    id: str = ""


@dataclass(frozen=True)
class Score:
    """One graded answer.

    Attributes:
        value: 0 to 1.
        understood: What the scorer took the answer to be ("B", "yes", "12"); "" when it could not tell.
        error_cm: Distance to the right place, where the answer is one.
    """

    value: float
    understood: str = ""
    error_cm: float | None = None
