"""Even rows: the same motion and gripper commands, in rows of equal length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vla.errors import AnnotationError
from vlm2vla.language import even_rows
from vlm2vla.types import ActionChunk


def chunk(*rows):
    return ActionChunk(np.array(rows) / np.array([100, 100, 100, 1]))


def test_one_way_at_two_speeds_is_written_in_the_same_rows():
    slow = chunk([2.5, -1.0, 0, 1], [2.5, -1.0, 0, 1], [2.5, -1.0, 0, 1], [2.5, -1.0, 0, 1])
    fast = chunk([5.0, -2.0, 0, 1], [3.0, -1.2, 0, 1], [2.0, -0.8, 0, 1])
    assert even_rows(slow, row_cm=4.5) == even_rows(fast, row_cm=4.5)
    assert len(even_rows(slow, row_cm=4.5)) == 3


def test_a_corner_stays_and_a_small_bend_goes():
    corner = even_rows(chunk([0, 0, 4, 0], [0, 0, 4, 0], [0, 4, 0, 0], [0, 4, 0, 0]), row_cm=8)
    assert corner == chunk([0, 0, 8, 0], [0, 8, 0, 0])
    bent = even_rows(chunk([4, 1, 0, 1], [4, -1, 0, 1]), row_cm=8)
    assert bent == chunk([8, 0, 0, 1])


def test_the_gripper_acts_where_it_acted_and_stands_still_meanwhile():
    close = even_rows(chunk([0, 0, -4, 1], [0, 0, -4, 1], [0, -0.5, 0, 0], [0, 0, 4, 0]), row_cm=4.5)
    assert np.allclose(close.rows[2], [0, 0, 0, 0])
    assert close.gripper.tolist() == [1, 1, 0, 0]
    last = even_rows(chunk([0, 0, -0.5, 1], [0, 0, 0, 0]), row_cm=4.5)
    assert last == chunk([0, 0, -0.5, 1], [0, 0, 0, 0])
    release = even_rows(chunk([0, 0, 0, 1], [0, 0, 3, 1], [0, 0, 3, 1]), row_cm=4.5)
    assert release == chunk([0, 0, 0, 1], [0, 0, 3, 1], [0, 0, 3, 1])


values = st.lists(
    st.tuples(st.integers(-8, 8), st.integers(-8, 8), st.integers(-8, 8), st.integers(0, 1)), min_size=1, max_size=9
)


@given(values)
def test_totals_and_the_order_of_commands_are_kept(rows):
    before = chunk(*rows)
    after = even_rows(before, row_cm=4.5)
    assert np.allclose(before.translation, after.translation, atol=1e-9)
    assert np.abs(after.rows[:, :3]).max() <= 0.045 + 1e-9
    order = [before.gripper[0], *before.gripper[1:][np.diff(before.gripper) != 0]]
    kept = [after.gripper[0], *after.gripper[1:][np.diff(after.gripper) != 0]]
    assert order == kept


def test_rotation_is_cut_into_rows_that_the_safety_rules_let_pass():
    turn = np.array([[0.03, 0, 0, 0, 0, 0.5, 1], [0.03, 0, 0, 0, 0, 0.7, 1], [0, 0, -0.05, 0, 0, 0, 1], [0] * 7])
    even = even_rows(ActionChunk(turn), row_cm=4.5)
    assert np.allclose(even.rows[:, :6].sum(axis=0), turn[:, :6].sum(axis=0))
    assert np.abs(even.rows[:, 5]).max() <= np.radians(11) + 1e-9
    assert np.allclose(even.rows[0, [0, 5]] / even.rows[0, 5], [0.06 / 1.2, 1.0])  # one straight way
    assert even.gripper.tolist() == [1.0] * (len(even) - 1) + [0.0]
    still = np.column_stack([turn[:, :3], np.zeros((4, 3)), turn[:, 6]])
    plain = even_rows(ActionChunk(turn[:, [0, 1, 2, 6]]), row_cm=4.5)
    assert np.array_equal(even_rows(ActionChunk(still), row_cm=4.5).rows[:, [0, 1, 2, 6]], plain.rows)


def test_lengths_are_above_zero():
    with pytest.raises(AnnotationError):
        even_rows(ActionChunk(np.zeros((1, 4))), row_cm=0.0)
