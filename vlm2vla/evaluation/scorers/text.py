"""Answers in words: exact and relaxed match, ANLS, substring."""

from vlm2vla.evaluation.scorers.truth import Score, Truth

RELATIVE_TOLERANCE = 0.05
ANLS_THRESHOLD = 0.5


def plain(text: str) -> str:
    """Lower case, single spaces, no full stop at the end."""
    return " ".join(text.lower().split()).rstrip(".\u3002\u0964").rstrip()


def exact(answer: str, truth: Truth) -> Score:
    """The answer is one of the accepted ones; case, outer spaces and a full stop at the end do not count."""
    given = plain(answer)
    return Score(float(given in {plain(right) for right in truth.answers}), given)


def relaxed(answer: str, truth: Truth) -> Score:
    """ChartQA's relaxed correctness: numbers within 5 % of the right one, everything else equal but for case.

    "12%" counts as 0.12. A right answer of zero, and text, must be met exactly. "1,000" is text, and so is wrong
    against "1000", as in the original.
    """
    given = answer.strip()
    return Score(float(any(_relaxed(given, right.strip()) for right in truth.answers)), given)


def _relaxed(given: str, right: str) -> bool:
    value, target = _number(given), _number(right)
    if value is not None and target:
        return abs(value - target) / abs(target) <= RELATIVE_TOLERANCE
    return given.lower() == right.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def anls(answer: str, truth: Truth) -> Score:
    """Normalised Levenshtein similarity of DocVQA and InfoVQA: the best over the accepted answers; 0 where below 0.5.

    Distance between lower-case texts with single spaces; it is divided by the longer one's length as it was written,
    as both public harnesses do.
    """
    given = " ".join(answer.strip().lower().split())
    best = 0.0
    for right in truth.answers:
        target = " ".join(right.strip().lower().split())
        longest = max(len(answer), len(right))
        best = max(best, 1 - levenshtein(target, given) / longest if longest else 1.0)
    return Score(best if best >= ANLS_THRESHOLD else 0.0, given)


def substring(answer: str, truth: Truth) -> Score:
    """OCRBench: an accepted answer is contained in the given one; lower case, line breaks are spaces."""
    given = answer.strip().replace("\n", " ").lower()
    hit = any(right.strip().replace("\n", " ").lower() in given for right in truth.answers)
    return Score(float(hit), given)


def substring_formula(answer: str, truth: Truth) -> Score:
    """OCRBench's handwritten formulas (HME100k): the same, but case is kept and spaces are dropped."""
    given = answer.replace("\n", "").replace(" ", "")
    return Score(float(any(right.replace("\n", "").replace(" ", "") in given for right in truth.answers)), given)


def levenshtein(first: str, second: str) -> int:
    """Edit distance: insertions, deletions and replacements of characters."""
    if len(first) > len(second):
        first, second = second, first
    row = list(range(len(first) + 1))
    for line, letter in enumerate(second, 1):
        above, row[0] = row[0], line
        for column, other in enumerate(first, 1):
            above, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, above + (letter != other))
    return row[-1]
