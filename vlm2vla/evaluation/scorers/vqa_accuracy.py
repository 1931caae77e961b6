"""VQA accuracy with ten answers (TextVQA, VQAv2): the share of people who agree, after EvalAI's normalisation."""

import re

from vlm2vla.evaluation.scorers.truth import Score, Truth

_ENOUGH = 3
"""An answer that this many of the other people gave is right."""
_ARTICLES = {"a", "an", "the"}
_NUMBERS = {
    word: str(value)
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
# Written without the apostrophe these are no other words ("hell" is not "he'll"); as in the original, none with "I".
_CONTRACTED = """\
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've
    needn't not've o'clock oughtn't shan't she'd've should've shouldn't shouldn't've that's there'd there'd've there're
    there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've
    when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't
    somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've
    something'll 'ow's'at wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _spellings(word: str) -> list[str]:
    """The word with one of its apostrophes left out."""
    return [word[:place] + word[place + 1 :] for place, letter in enumerate(word) if letter == "'"]


_CONTRACTIONS = {spelling: word for word in _CONTRACTED.split() for spelling in _spellings(word)}


def vqa_accuracy(answer: str, truth: Truth) -> Score:
    """Mean over the people, each left out once, of min(1, others who said the same / 3).

    With ten people: 1 of them 0.3, 2 of them 0.6, 3 of them 0.9, 4 or more 1. With a single accepted answer there is
    nobody to leave out: equal is 1.
    """
    given = normalised(answer)
    people = [normalised(right) for right in truth.answers]
    if len(people) == 1:
        return Score(float(given == people[0]), given)
    same = sum(right == given for right in people)
    total = sum(min(1.0, (same - (right == given)) / _ENOUGH) for right in people)
    return Score(total / len(people) if people else 0.0, given)


def normalised(text: str) -> str:
    """EvalAI's normalisation: case, punctuation, number words, articles, contractions."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    text = " ".join(text.replace("\n", " ").replace("\t", " ").split(" ")).strip()
    words = []
    for word in _without_marks(text).split():
        word = _NUMBERS.get(word, word)
        if word not in _ARTICLES:
            words.append(_CONTRACTIONS.get(word, word))
    return " ".join(words)


def _without_marks(text: str) -> str:
    """A mark beside a space goes; one between letters becomes a space; a period goes unless a digit follows."""
    result = text
    for mark in _MARKS:
        beside_space = f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if beside_space else " ")
    return re.sub(r"\.(?!\d)", "", result)
