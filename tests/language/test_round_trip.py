"""Inverse pairs: what is said can be read back, for every form, over axes, signs, zeros, limits and rotations."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm2vla.embodiment import AXES
from vlm2vla.errors import ActionParseError
from vlm2vla.language import (
    Direction,
    MotionPhrase,
    find_directions,
    find_gripper_words,
    form,
    parse_plan,
    parse_subtasks,
    verbalize_plan,
    verbalize_subtasks,
)
from vlm2vla.types import ActionChunk

FORMS = (
    "rows:0.5cm",
    "rows:0.1cm",
    "rows:1cm",
    "rows:0.3cm",
    "rows:2.5cm",
    "rows7:0.5cm:1deg",
    "rows7:0.25cm:5deg",
    "sentence:0.5cm",
    "sentence:0.01cm",
    "sentence7:0.5cm:1deg",
    "sentence7:1cm:0.5deg",
    "tokens:0.5cm",
    "tokens:0.1cm",
)
lengths = st.one_of(st.just(0.0), st.sampled_from([0.005, -0.005, 0.95, -0.95]), st.floats(-0.95, 0.95))
angles = st.one_of(st.just(0.0), st.sampled_from([np.pi / 2, -np.pi / 2]), st.floats(-2.9, 2.9))
bits = st.sampled_from([0.0, 1.0])


@st.composite
def chunks(draw, most_rows: int = 12) -> ActionChunk:
    width = draw(st.sampled_from([4, 7]))
    row = st.tuples(*[lengths] * 3, *[angles] * (width - 4), bits)
    still = bits.map(lambda bit: (0.0,) * (width - 1) + (bit,))
    rows = draw(st.lists(st.one_of(row, still), max_size=most_rows))
    return ActionChunk(np.array(rows).reshape(-1, width))


directions = st.builds(
    Direction, st.sampled_from(AXES), st.sampled_from([1, -1]), st.sampled_from(["slightly", "", "far"])
)
phrases = st.builds(
    MotionPhrase,
    st.lists(directions, max_size=6, unique_by=lambda direction: direction.axis).map(tuple),
    st.sampled_from(["open", "close", None]),
)


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=60, deadline=None)
@given(chunk=chunks())
def test_what_is_said_is_read_back_as_the_quantized_chunk(name, chunk):
    action_form = form(name)
    text = action_form.verbalize(chunk)
    assert action_form.parse(text) == action_form.quantize(chunk)
    assert len(action_form.parse(text)) == len(chunk)
    assert action_form.verbalize(action_form.parse(text)) == text
    assert not re.search(r"-0(\.0*)?[,\]]", text)


@pytest.mark.parametrize("name", ["rows:0.5cm", "rows7:0.5cm:1deg"])
@settings(max_examples=100, deadline=None)
@given(chunk=chunks())
def test_quantizing_keeps_totals_within_half_a_step_and_is_idempotent(name, chunk):
    action_form = form(name)
    said = action_form.quantize(chunk)
    assert action_form.quantize(said) == said
    assert len(said) == len(chunk)
    np.testing.assert_array_equal(said.gripper, chunk.gripper)
    reached = np.cumsum(chunk.rows[:, :3], axis=0)
    told = np.cumsum(said.rows[:, :3], axis=0)
    assert (np.abs(told - reached) <= 0.0025 + 1e-9).all()
    if action_form.rotation and chunk.rows.shape[1] == 7:
        assert (np.abs(np.degrees(said.rotation - chunk.rotation)) <= 0.5 + 1e-6).all()


@pytest.mark.parametrize(
    "name", ["rows:0.5cm", "rows7:0.5cm:1deg", "sentence:0.5cm", "sentence7:0.5cm:1deg", "tokens:0.5cm"]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_limits_themselves_can_be_said(name, sign):
    action_form = form(name)
    width = 7 if action_form.rotation else 4
    row = np.array([1.0, 1.0, 1.0, np.pi, np.pi, np.pi])[: width - 1] * sign
    chunk = ActionChunk(np.array([[*row, 1.0], [*-row, 0.0]]))
    assert action_form.parse(action_form.verbalize(chunk)) == chunk


@pytest.mark.parametrize(
    "name", ["rows:0.5cm", "rows7:0.5cm:1deg", "sentence:0.5cm", "sentence7:0.5cm:1deg", "tokens:0.5cm"]
)
@settings(max_examples=120, deadline=None)
@given(
    chunk=chunks(4),
    cut=st.floats(0, 1),
    splice=st.text("[],.-+ 0159einfa\n`<>'\u2212", max_size=6),
    drop=st.integers(0, 6),
)
def test_damaged_text_is_refused_or_read_within_the_limits(name, chunk, cut, splice, drop):
    action_form = form(name)
    text = action_form.verbalize(chunk)
    at = int(cut * len(text))
    damaged = text[:at] + splice + text[at + drop :]
    try:
        read = action_form.parse(damaged)
    except ActionParseError as error:
        read, position = None, error.position
    if read is None:
        assert 0 <= position <= len(damaged)
        return
    assert np.isfinite(read.rows).all()
    assert (np.abs(read.rows[:, :3]) <= 1 + 1e-9).all()
    assert set(read.gripper) <= {0.0, 1.0}


@settings(max_examples=300, deadline=None)
@given(plan=st.lists(phrases, min_size=1, max_size=6).map(tuple))
def test_a_plan_in_words_is_read_back(plan):
    assert parse_plan(verbalize_plan(plan)) == plan


@settings(max_examples=300, deadline=None)
@given(plan=st.lists(phrases, min_size=1, max_size=4).map(tuple))
def test_the_lenient_finder_agrees_with_the_strict_parser(plan):
    text = verbalize_plan(plan)
    assert find_directions(text) == tuple(direction for phrase in plan for direction in phrase.directions)
    events = [phrase.gripper for phrase in plan if phrase.gripper]
    once = [event for index, event in enumerate(events) if index == 0 or event != events[index - 1]]
    assert find_gripper_words(text) == tuple(once)


words = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=30).filter(
    lambda text: text.split()
)


@settings(max_examples=100, deadline=None)
@given(subtasks=st.lists(words, min_size=1, max_size=20))
def test_a_list_of_subtasks_is_read_back(subtasks):
    assert parse_subtasks(verbalize_subtasks(subtasks)) == tuple(" ".join(text.split()) for text in subtasks)
