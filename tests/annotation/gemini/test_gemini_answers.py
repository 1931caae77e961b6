import pytest

from vlm2vla.annotation.gemini_answers import Segmentation, check_segmentation
from vlm2vla.errors import ModelSchemaError


def segmentation(*spans, text="Grasp it", plan="move down"):
    rows = [{"subtask": text, "motion_plan": plan, "start_step": a, "end_step": b} for a, b in spans]
    return Segmentation.model_validate({"subtasks": rows})


def checked(*spans, first=0, end=40, **words):
    subtasks, notes = check_segmentation(segmentation(*spans, **words), first, end)
    return [(row.start_step, row.end_step) for row in subtasks], notes


def test_a_good_answer_passes_unchanged():
    assert checked((0, 12), (12, 40)) == ([(0, 12), (12, 40)], ())


@pytest.mark.parametrize(
    ("spans", "mended"),
    [
        (((0, 11), (12, 39)), [(0, 12), (12, 40)]),  # ends taken as inclusive
        (((1, 15), (12, 42)), [(0, 12), (12, 40)]),  # overlap, and past the end
        (((2, 12), (16, 40)), [(0, 16), (16, 40)]),  # gap
    ],
)
def test_small_faults_are_mended_and_noted(spans, mended):
    result, notes = checked(*spans)
    assert result == mended
    assert len(notes) == sum(
        [spans[0][0] != 0, spans[0][1] != spans[1][0], spans[1][1] != 40],
    )


@pytest.mark.parametrize(
    "spans",
    [
        (),
        ((0, 12), (20, 40)),  # a gap of 8
        ((0, 25), (12, 40)),  # an overlap of 13
        ((20, 40), (0, 20)),  # not in order
        ((0, 12), (12, 12), (12, 40)),  # empty
        ((0, 1000),),
        ((-30, 40),),
        tuple((n, n + 1) for n in range(40)),  # one for each step
    ],
)
def test_what_cannot_be_mended_is_refused(spans):
    with pytest.raises(ModelSchemaError):
        checked(*spans)


def test_a_span_keeps_its_own_bounds():
    assert checked((10, 15), (15, 19), first=10, end=20)[0] == [(10, 15), (15, 20)]
    with pytest.raises(ModelSchemaError):
        checked((0, 5), (5, 10), first=10, end=20)


@pytest.mark.parametrize("words", [{"text": " \n "}, {"plan": ""}, {"text": "x" * 500}, {"text": "\u200b\u200b"}])
def test_words_are_neither_empty_nor_endless(words):
    with pytest.raises(ModelSchemaError, match="1"):
        checked((0, 40), **words)


def test_words_come_on_one_line():
    subtasks, _ = check_segmentation(segmentation((0, 40), text=" Grasp\n the\tcup "), 0, 40)
    assert subtasks[0].text == "Grasp the cup"
