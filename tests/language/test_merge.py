"""The merging rule: where rows end, what vanishes, what is preserved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm2vla.errors import AnnotationError
from vlm2vla.language import form, merge_steps


def steps(*rows_cm, gripper=1.0) -> np.ndarray:
    """[T, 7] from (dx, dy, dz) or (dx, dy, dz, gripper) in centimetres."""
    actions = np.zeros((len(rows_cm), 7))
    for action, row in zip(actions, rows_cm, strict=True):
        action[:3] = np.array(row[:3]) / 100
        action[6] = row[3] if len(row) > 3 else gripper
    return actions


def said(actions, **options) -> str:
    return form("rows:0.5cm").verbalize(merge_steps(actions, rotation=False, **options))


def test_a_row_ends_at_the_first_axis_that_moved_far_enough():
    assert said(steps(*[(1, 0, -0.5)] * 6)) == "[[3.0, 0.0, -1.5, 1], [3.0, 0.0, -1.5, 1]]"


def test_a_row_ends_at_the_path_length_where_no_axis_is_far_enough():
    actions = steps(*[(0.9, 0.9, 0.9)] * 4)
    assert len(merge_steps(actions, rotation=False, axis_cm=50)) == 2
    assert len(merge_steps(actions, rotation=False, axis_cm=50, total_cm=50)) == 1


def test_a_row_ends_where_the_leading_axis_turns_back():
    assert said(steps((0, 0, -1), (0, 0, -1), (0, 0, 1), (0, 0, 1))) == "[[0.0, 0.0, -2.0, 1], [0.0, 0.0, 2.0, 1]]"


def test_jitter_on_the_leading_axis_does_not_end_a_row():
    assert len(merge_steps(steps((1, 0, 0), (-0.1, 0, 0), (1, 0, 0)), rotation=False)) == 1


def test_a_gripper_change_ends_a_row_and_is_a_row_of_zeros_where_the_arm_rests():
    actions = steps((1, 0, 0, 1), (0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 1, 0))
    assert said(actions) == "[[1.0, 0.0, 0.0, 1], [0.0, 0.0, 0.0, 0], [0.0, 0.0, 1.0, 0]]"


def test_a_gripper_that_changes_while_moving_is_part_of_that_row():
    assert said(steps((1, 0, 0, 1), (0, 0, 1, 0))) == "[[1.0, 0.0, 0.0, 1], [0.0, 0.0, 1.0, 0]]"


def test_a_change_before_the_first_step_counts_when_it_is_known():
    still = steps((0, 0, 0), gripper=0.0)
    assert len(merge_steps(still, rotation=False)) == 0
    assert len(merge_steps(still, rotation=False, gripper_before=0.0)) == 0
    assert said(still, gripper_before=1.0) == "[[0.0, 0.0, 0.0, 0]]"


def test_idle_steps_vanish():
    rest = [(0, 0, 0)] * 5
    assert said(steps(*rest, (2, 0, 0), *rest, (2, 0, 0), *rest)) == "[[4.0, 0.0, 0.0, 1]]"
    assert said(steps(*rest)) == "[]"


def test_slow_drift_is_not_taken_for_rest():
    drift = steps(*[(0.05, 0, 0)] * 100)
    assert merge_steps(drift, rotation=False).translation[0] == pytest.approx(0.05)


def test_the_remainder_is_a_last_shorter_row():
    assert said(steps(*[(1, 0, 0)] * 4)) == "[[3.0, 0.0, 0.0, 1], [1.0, 0.0, 0.0, 1]]"


def test_rotation_is_left_out_or_ends_rows_of_its_own():
    actions = steps((0, 0, 0), (0, 0, 0), (0, 0, 0))
    actions[:, 5] = np.radians(10)
    assert len(merge_steps(actions, rotation=False)) == 0
    turned = merge_steps(actions, rotation=True)
    assert np.degrees(turned.rows[:, 5]) == pytest.approx([20, 10])
    assert len(merge_steps(actions, rotation=True, axis_deg=90)) == 1


def test_only_real_steps_are_taken():
    with pytest.raises(AnnotationError, match=r"\[T, 7\]"):
        merge_steps(np.zeros((3, 4)), rotation=False)
    with pytest.raises(AnnotationError, match="finite"):
        merge_steps(np.full((3, 7), np.nan), rotation=False)
    assert len(merge_steps(np.zeros((0, 7)), rotation=True)) == 0


@settings(max_examples=200, deadline=None)
@given(
    data=st.lists(
        st.tuples(
            *[st.sampled_from([0.0, 0.0, 0.001, -0.002, 0.009, -0.013, 0.03])] * 3,
            *[st.floats(-0.2, 0.2)] * 3,
            st.booleans(),
        ),
        min_size=1,
        max_size=40,
    ),
    rotation=st.booleans(),
    before=st.sampled_from([None, 0.0, 1.0]),
)
def test_sums_and_gripper_commands_are_preserved(data, rotation, before):
    actions = np.array(data, dtype=float)
    merged = merge_steps(actions, rotation=rotation, gripper_before=before)
    if not len(merged):
        # Idle as a whole.
        assert (np.abs(actions[:, :3].sum(axis=0)) < 0.005).all()
        assert len(set(actions[:, 6])) == 1
        return
    np.testing.assert_allclose(merged.translation, actions[:, :3].sum(axis=0), atol=1e-12)
    if rotation:
        np.testing.assert_allclose(merged.rotation, actions[:, 3:6].sum(axis=0), atol=1e-12)
    runs = [actions[0, 6], *actions[1:, 6][np.diff(actions[:, 6]) != 0]]
    told = [merged.gripper[0], *merged.gripper[1:][np.diff(merged.gripper) != 0]]
    # A first run without motion is not told when nothing says that it changed anything.
    assert told in (runs, runs[1:])
