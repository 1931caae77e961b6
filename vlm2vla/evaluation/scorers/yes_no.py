"""Yes or no (MME, POPE and our own sets), and MME's points."""

from collections.abc import Iterable

from vlm2vla.evaluation.scorers.truth import Score, Truth

# Beginnings of an answer in the other languages of our own sets.
_YES = ("s\u00ed", "\u662f", "\u5bf9", "\u6709", "\u0939\u093e\u0901", "\u0939\u093e\u0902")
_NO = ("\u5426", "\u4e0d", "\u6ca1", "\u0928\u0939\u0940\u0902")

# 200 points each.
PERCEPTION = frozenset(
    ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "ocr")
)
COGNITION = frozenset(("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"))


def yes_no(answer: str, truth: Truth) -> Score:
    """MME's rule: "yes" or "no" within the first four letters; neither is wrong.

    Full stops and case do not count, a lone "y" or "n" does. In Spanish, Mandarin and Hindi the first word decides.
    """
    given = meaning(answer)
    return Score(float(bool(given) and given == meaning(truth.answers[0])), given)


def meaning(text: str) -> str:
    """The text as "yes" or "no"; empty when it is neither."""
    text = text.lower().strip().replace(".", "")
    if len(text) == 1 and text in "yn":
        return "yes" if text == "y" else "no"
    if len(text) > 1 and "yes" in text[:4]:
        return "yes"
    if text.startswith(_YES):
        return "yes"
    if text.startswith(_NO) or (len(text) > 1 and "no" in text[:4]):
        return "no"
    return ""


def mme_points(graded: Iterable[tuple[str, str, float]]) -> dict[str, float]:
    """MME's score from (category, image or question id, score of the answer): two questions about each image.

    Each category earns accuracy + accuracy with both questions right, in percent: at most 200.

    Returns:
        Points of every category, and the sums "perception" (10 categories) and "cognition" (4).
    """
    images: dict[str, dict[str, list[float]]] = {}
    for category, image, value in graded:
        images.setdefault(category, {}).setdefault(image, []).append(value)
    points = {}
    for category, answered in images.items():
        each = [sum(values) / len(values) for values in answered.values()]
        both = [all(value == 1 for value in values) for values in answered.values()]
        points[category] = 100 * (sum(each) + sum(both)) / len(answered)
    sums = {
        name: sum(value for category, value in points.items() if category.lower() in members)
        for name, members in (("perception", PERCEPTION), ("cognition", COGNITION))
    }
    return points | sums
