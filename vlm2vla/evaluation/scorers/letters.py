"""Multiple choice: which option does an answer name?"""

import random
import re

from vlm2vla.evaluation.items import LETTERS
from vlm2vla.evaluation.scorers.text import exact, plain
from vlm2vla.evaluation.scorers.truth import Score, Truth

# What separates letters from the rest; full-width marks as well, so that Chinese answers are read alike.
_MARKS = re.compile(r"[.()\[\],:;!*#{}\uff0e\uff08\uff09\uff0c\uff1a\uff1b\uff01\u3002\u3001]")


def choice(answer: str, truth: Truth) -> Score:
    """MMBench's first stage, with nothing after it (VLMEvalKit's "exact matching").

    Exactly one option letter, in upper case, stands alone among the words of the answer; else exactly one option's text
    is contained in it, whatever the case; else it is wrong. Where the options have no letters, the answer must be one
    of them or contain exactly one of them as whole words; inside a longer option that is named, a shorter one does
    not count.
    """
    index = _letter(answer, truth) if truth.lettered else -1
    if index < 0:
        index = _contained(answer, truth) if truth.lettered else _named(answer, truth)
    if index < 0:
        return Score(0.0)
    if truth.lettered:
        return Score(float(index == truth.correct), LETTERS[index])
    accepted = {plain(right) for right in truth.answers}
    return Score(float(plain(truth.options[index]) in accepted), truth.options[index])


def choice_last(answer: str, truth: Truth) -> Score:
    """MMMU's official rule for multiple choice.

    Letters in brackets; else letters between spaces; else letters before a period; else option texts. Of several, the
    one that occurs last. When there is none the official script guesses at random: here from the question's id.
    """
    text = f" {answer.strip().strip(',.!?;:' + chr(39))} "
    letters = LETTERS[: len(truth.options)]
    for shape in ("({})", " {} ", "{}."):
        places = {letter: text.rfind(shape.format(letter)) for letter in letters}
        if max(places.values()) >= 0:
            letter = max(places, key=places.get)
            return Score(float(LETTERS.index(letter) == truth.correct), letter)
    if len(text.split()) > 5:
        lower = text.lower()
        found = {index: lower.rfind(option.lower()) for index, option in enumerate(truth.options)}
        if max(found.values(), default=-1) >= 0:
            index = max(found, key=found.get)
            return Score(float(index == truth.correct), letters[index])
    guess = random.Random(truth.id).randrange(len(letters))
    return Score(float(guess == truth.correct), "")


def letter_or_exact(answer: str, truth: Truth) -> Score:
    """RealWorldQA: by letter where the options are lettered or a letter is right, else the text itself."""
    right = truth.answers[0].strip()
    if truth.options:
        return choice(answer, truth)
    if len(right) == 1 and right in "ABCD":
        given = _only_letter(answer, "ABCD")
        return Score(float(given == right), given)
    return exact(answer, truth)


def _letter(answer: str, truth: Truth) -> int:
    found = _only_letter(answer, LETTERS[: len(truth.options)])
    return LETTERS.index(found) if found else -1


def _only_letter(answer: str, letters: str) -> str:
    words = set(_MARKS.sub(" ", answer).split())
    found = [letter for letter in letters if letter in words]
    return found[0] if len(found) == 1 else ""


def _contained(answer: str, truth: Truth) -> int:
    lower = answer.lower()
    found = [index for index, option in enumerate(truth.options) if option.lower() in lower]
    return found[0] if len(found) == 1 else -1


def _named(answer: str, truth: Truth) -> int:
    given = plain(answer)
    options = [plain(option) for option in truth.options]
    if given in options:
        return options.index(given)
    found = []
    # The longest first, so that "dark red" is not read as "red" too.
    for index in sorted(range(len(options)), key=lambda index: -len(options[index])):
        given, times = re.subn(_pattern(options[index]), " ", given) if options[index] else (given, 0)
        if times:
            found.append(index)
    return found[0] if len(found) == 1 else -1


def _pattern(option: str) -> str:
    # Chinese has no spaces between words.
    if any("\u4e00" <= letter <= "\u9fff" for letter in option):
        return re.escape(option)
    return rf"(?<!\w){re.escape(option)}(?!\w)"
