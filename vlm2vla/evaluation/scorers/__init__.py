"""Pure scorers: the text of an answer and what is right -> a score of 0 to 1. The definitions of the benchmarks.

Where two harnesses differ, the docstring of the scorer says which one it follows. None of them asks another model.
"""

from collections.abc import Callable

from vlm2vla.config import did_you_mean
from vlm2vla.errors import EvaluationError
from vlm2vla.evaluation.scorers import letters, numbers, text, vqa_accuracy, yes_no
from vlm2vla.evaluation.scorers.truth import Score, Truth

Scorer = Callable[[str, Truth], Score]

SCORERS: dict[str, Scorer] = {
    "choice": letters.choice,
    "choice_last": letters.choice_last,
    "letter_or_exact": letters.letter_or_exact,
    "exact": text.exact,
    "relaxed": text.relaxed,
    "anls": text.anls,
    "substring": text.substring,
    "substring_formula": text.substring_formula,
    "vqa_accuracy": vqa_accuracy.vqa_accuracy,
    "yes_no": yes_no.yes_no,
    "number": numbers.number,
    "list_cm": numbers.list_cm,
}


def score(name: str, answer: str, truth: Truth) -> Score:
    """Grade one answer.

    Raises:
        EvaluationError: No such scorer.
    """
    if name not in SCORERS:
        raise EvaluationError(f"no scorer {name!r}; {did_you_mean(name, SCORERS)}")
    return SCORERS[name](answer, truth)


__all__ = ["SCORERS", "Score", "Scorer", "Truth", "score"]
