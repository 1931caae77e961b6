"""Every scorer against expectations written by hand from the benchmarks' own rules, not from our code."""

import pytest

from vlm2vla.errors import EvaluationError
from vlm2vla.evaluation.scorers import SCORERS, Truth, score
from vlm2vla.evaluation.scorers.text import levenshtein
from vlm2vla.evaluation.scorers.yes_no import mme_points

ANIMALS = ("a dog", "a cat", "a red bird", "a fish")


def lettered(correct: int, options: tuple[str, ...] = ANIMALS) -> Truth:
    return Truth((options[correct],), options, correct, True, "q1")


def words(right: str, *options: str) -> Truth:
    return Truth((right,), options)


def said(*answers: str) -> Truth:
    return Truth(answers)


TEN = ("stop",) * 2 + ("halt",) * 3 + ("go",) * 4 + ("yield",)

CASES = [
    # MMBench, first stage: exactly one option letter stands alone, else exactly one option's text is contained.
    ("choice", "B", lettered(1), 1.0),
    ("choice", " B.\n", lettered(1), 1.0),
    ("choice", "(B)", lettered(1), 1.0),
    ("choice", "The answer is B: a cat", lettered(1), 1.0),
    ("choice", "**B**", lettered(1), 1.0),
    ("choice", "[B]{B}", lettered(1), 1.0),
    ("choice", "b", lettered(1), 0.0),  # letters are upper case
    ("choice", "A or B", lettered(1), 0.0),  # two letters and no text: nothing can be told
    ("choice", "A or B, probably a cat", lettered(1), 1.0),  # two letters, but one text
    ("choice", "It shows A CAT", lettered(0), 1.0),  # the article in capitals is a letter: known weakness of the rule
    ("choice", "It shows a cat on a mat.", lettered(1), 1.0),
    ("choice", "a dog and a cat", lettered(1), 0.0),
    ("choice", "E", lettered(1), 0.0),  # a letter that no option has
    ("choice", "", lettered(0), 0.0),
    ("choice", "Bird", lettered(1), 0.0),  # a B inside a word is no letter
    ("choice", "\u7b54\u6848\uff1aB\u3002", lettered(1), 1.0),  # full-width marks separate as well
    ("choice", "C", lettered(1), 0.0),
    # Options in words, without letters.
    ("choice", "Red.", words("red", "red", "dark red", "blue"), 1.0),
    ("choice", "dark red", words("red", "red", "dark red", "blue"), 0.0),
    ("choice", "it is dark red", words("dark red", "red", "dark red", "blue"), 1.0),
    ("choice", "red, not dark red", words("dark red", "red", "dark red", "blue"), 0.0),  # both are named
    ("choice", "reddish", words("red", "red", "blue"), 0.0),
    ("choice", "\u7ea2\u8272\u7684", words("\u7ea2\u8272", "\u7ea2\u8272", "\u84dd\u8272"), 1.0),
    # MMMU: brackets, then letters between spaces, then before a period; the last one of several; texts in long answers.
    ("choice_last", "(A) is wrong, so (B)", lettered(1), 1.0),
    ("choice_last", "A B", lettered(1), 1.0),
    ("choice_last", "(A) then B", lettered(0), 1.0),  # brackets win over what comes later without
    ("choice_last", "I chose B. because", lettered(1), 1.0),
    ("choice_last", "the picture clearly shows a cat here", lettered(1), 1.0),
    ("choice_last", "B.", lettered(1), 1.0),
    # RealWorldQA: a letter, or the text itself.
    ("letter_or_exact", "B.", said("B"), 1.0),
    ("letter_or_exact", "A, B", said("B"), 0.0),
    ("letter_or_exact", "Downhill.", said("downhill"), 1.0),
    ("letter_or_exact", "downhill slope", said("downhill"), 0.0),
    # Exact match.
    ("exact", "  The   Red cube. ", said("the red cube"), 1.0),
    ("exact", "red cube", said("the red cube", "red cube"), 1.0),
    ("exact", "red cubes", said("red cube"), 0.0),
    ("exact", "", said("red"), 0.0),
    # ChartQA: 5 % on numbers, of the RIGHT value; percent signs divide; text exact.
    ("relaxed", "9.5", said("10"), 1.0),
    ("relaxed", "9.49", said("10"), 0.0),
    ("relaxed", "10.5", said("10"), 1.0),
    ("relaxed", "10.52", said("10"), 0.0),  # with swapped arguments this would count
    ("relaxed", "-10", said("10"), 0.0),
    ("relaxed", "1,000", said("1000"), 0.0),
    ("relaxed", "5", said("5%"), 0.0),
    ("relaxed", "0.05", said("5%"), 1.0),
    ("relaxed", "0", said("0"), 1.0),
    ("relaxed", "0.0", said("0"), 0.0),  # zero has no 5 %: text must be equal
    ("relaxed", "Red", said("red"), 1.0),
    ("relaxed", "red bar", said("red"), 0.0),
    # ANLS of DocVQA: 1 - distance / longer length, the best answer, below one half nothing.
    ("anls", "1994", said("1994"), 1.0),
    ("anls", "1995", said("1994"), 0.75),
    ("anls", "19", said("1994"), 0.5),  # exactly one half still counts
    ("anls", "1", said("1994"), 0.0),
    ("anls", "MONDAY", said("monday"), 1.0),
    ("anls", "new  york", said("boston", "New York"), 1.0),
    ("anls", "hello word", said("hello world"), 1 - 1 / 11),
    ("anls", "", said("x"), 0.0),
    # TextVQA: leave one out of ten people.
    ("vqa_accuracy", "yield", said(*TEN), 0.3),
    ("vqa_accuracy", "stop", said(*TEN), 0.6),
    ("vqa_accuracy", "halt", said(*TEN), 0.9),
    ("vqa_accuracy", "go", said(*TEN), 1.0),
    ("vqa_accuracy", "left", said(*TEN), 0.0),
    ("vqa_accuracy", "The Go!", said(*TEN), 1.0),  # article, case and punctuation fall away
    ("vqa_accuracy", "2", said(*("two",) * 10), 1.0),
    ("vqa_accuracy", "none", said(*("0",) * 10), 1.0),
    ("vqa_accuracy", "1,000", said(*("1000",) * 10), 1.0),
    ("vqa_accuracy", "3.5", said(*("35",) * 10), 0.0),  # a period between digits stays
    ("vqa_accuracy", "dont walk", said(*("don't walk",) * 10), 1.0),
    ("vqa_accuracy", "coca-cola", said(*("coca cola",) * 10), 1.0),
    ("vqa_accuracy", "u.s.", said(*("us",) * 10), 1.0),
    # OCRBench: contained, lower case; formulas keep case and lose spaces.
    ("substring", "The sign says\nCENTRE Street", said("centre street"), 0.0 + 1.0),
    ("substring", "says centre\nstreet", said("Centre Street"), 1.0),
    ("substring", "cent", said("centre"), 0.0),
    ("substring", "12", said("1", "9"), 1.0),  # contained is enough: known weakness of the rule
    ("substring_formula", "x ^ 2 + 1", said("x^2+1"), 1.0),
    ("substring_formula", "X^2", said("x^2"), 0.0),
    # MME: yes or no within the first four letters.
    ("yes_no", "Yes.", said("yes"), 1.0),
    ("yes_no", "Yes, it is a dog", said("Yes"), 1.0),
    ("yes_no", "No", said("yes"), 0.0),
    ("yes_no", "n", said("no"), 1.0),
    ("yes_no", "Not at all", said("no"), 1.0),
    ("yes_no", "I think yes", said("yes"), 0.0),  # comes too late
    ("yes_no", "maybe", said("no"), 0.0),
    ("yes_no", "", said("no"), 0.0),
    ("yes_no", "s\u00ed", said("s\u00ed"), 1.0),
    ("yes_no", "\u6ca1\u6709", said("\u4e0d\u662f"), 1.0),
    ("yes_no", "\u0928\u0939\u0940\u0902", said("\u0939\u093e\u0901"), 0.0),
    # Counts: one number, digits or words, four languages.
    ("number", "3", said("3"), 1.0),
    ("number", "There are three.", said("3"), 1.0),
    ("number", "3 of 5", said("3"), 0.0),
    ("number", "13", said("3"), 0.0),
    ("number", "tres", said("3"), 1.0),
    ("number", "\u4e09\u4e2a", said("3"), 1.0),
    ("number", "\u0924\u0940\u0928", said("3"), 1.0),
    ("number", "3.0", said("3"), 1.0),
    ("number", "many", said("3"), 0.0),
    ("number", "\u22122", said("-2"), 1.0),  # a typographic minus
    # Places: within 2 cm, all axes together.
    ("list_cm", "[63, -12]", said("[63, -12]"), 1.0),
    ("list_cm", "it is at [64, -12].", said("[63, -12]"), 1.0),
    ("list_cm", "(65, -12)", said("[63, -12]"), 1.0),
    ("list_cm", "[65, -13]", said("[63, -12]"), 0.0),  # 2.24 cm
    ("list_cm", "[63, -12, 4]", said("[63, -12]"), 0.0),
    ("list_cm", "63, -12", said("[63, -12]"), 0.0),
    ("list_cm", "[63, x]", said("[63, -12]"), 0.0),
    ("list_cm", "[1.0, 0.5, -2.0]", said("[1, 0.5, -2]"), 1.0),
]


@pytest.mark.parametrize(("name", "answer", "truth", "expected"), CASES)
def test_the_rules_of_the_benchmarks(name, answer, truth, expected):
    assert score(name, answer, truth).value == pytest.approx(expected)


def test_there_is_a_case_for_every_scorer():
    assert {case[0] for case in CASES} == set(SCORERS)
    assert len(CASES) >= 60


def test_a_place_tells_how_far_it_is_off():
    assert score("list_cm", "[60, -12]", said("[63, -8]")).error_cm == 5.0
    assert score("list_cm", "nothing", said("[63, -8]")).error_cm is None


def test_what_was_understood_is_told():
    assert score("choice", "I say (C)", lettered(1)).understood == "C"
    assert score("yes_no", "maybe", said("no")).understood == ""


def test_a_guess_of_mmmu_is_the_same_each_time():
    guesses = {score("choice_last", "no idea", lettered(2)).value for _ in range(5)}
    assert len(guesses) == 1
    truths = [Truth((ANIMALS[0],), ANIMALS, 0, True, str(number)) for number in range(400)]
    share = sum(score("choice_last", "no idea", truth).value for truth in truths) / 400
    assert 0.15 < share < 0.35


def test_mme_counts_images_with_both_answers_right():
    rows = [
        ("existence", "1.jpg", 1.0),
        ("existence", "1.jpg", 1.0),
        ("existence", "2.jpg", 1.0),
        ("existence", "2.jpg", 0.0),
        ("code_reasoning", "3.jpg", 0.0),
        ("code_reasoning", "3.jpg", 0.0),
    ]
    points = mme_points(rows)
    # accuracy 75 % + both right 50 %
    assert points["existence"] == pytest.approx(125)
    assert (points["perception"], points["cognition"]) == (pytest.approx(125), 0)


def test_edit_distance():
    assert [levenshtein(*pair) for pair in (("kitten", "sitting"), ("", "abc"), ("flaw", "lawn"), ("x", "x"))] == [
        3,
        3,
        2,
        0,
    ]


def test_an_unknown_scorer_is_refused():
    with pytest.raises(EvaluationError, match="exact"):
        score("exakt", "a", said("a"))
