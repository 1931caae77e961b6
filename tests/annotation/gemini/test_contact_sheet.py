import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vlm2vla.annotation.contact_sheet import SheetLayout, contact_sheets, sample_steps
from vlm2vla.errors import CorruptRecordError


def picture(part):
    return np.asarray(Image.open(io.BytesIO(part.data)).convert("RGB")).astype(int)


def test_first_last_and_gripper_changes_are_shown(filmed):
    steps = sample_steps(filmed, 8)
    assert len(steps) == 8
    assert {0, 37, 11, 12, 31, 32} <= set(steps)


def test_frames_lie_evenly_along_the_path_not_in_time(episode_factory):
    slow_then_fast = episode_factory([(30, (1, 0, 0)), (10, (30, 0, 0))])
    steps = sample_steps(slow_then_fast, 8)
    assert sum(step > 30 for step in steps) >= 5


def test_turning_on_the_spot_is_motion_too(episode_factory):
    still_then_turn = episode_factory([(30, (0, 0, 0)), (10, (0, 0, 0, 0, 0, 90))])
    assert sum(step > 30 for step in sample_steps(still_then_turn, 8)) >= 5


def test_standing_still_gets_frames_evenly_in_time(episode_factory):
    steps = sample_steps(episode_factory([(40, (0, 0, 0))]), 5)
    assert max(np.diff(steps)) <= 12


def test_short_episodes_are_shown_whole_and_spans_stay_inside(filmed):
    assert sample_steps(filmed, 100) == tuple(range(38))
    assert sample_steps(filmed, 4, (10, 13)) == (10, 11, 12)
    inside = sample_steps(filmed, 6, (10, 30))
    assert inside[0] == 10
    assert inside[-1] == 29


def test_many_gripper_changes_do_not_take_more_frames_than_there_are(episode_factory):
    flapping = episode_factory([(60, (20, 0, 0))], [(step, step % 2) for step in range(1, 60)])
    assert len(sample_steps(flapping, 6)) == 6
    assert len(sample_steps(flapping, 2)) == 2


def test_frames_stand_in_reading_order_under_their_labels(filmed):
    layout = SheetLayout(columns=2, rows=2, tile_px=64, label_px=20, gap_px=4, quality=95)
    sheets = contact_sheets(filmed, (0, 10, 20, 30, 37), layout=layout)
    assert len(sheets) == 2
    image = picture(sheets[0])
    assert image.shape[:2] == (2 * (48 + 20), 2 * 64 + 4)
    for index, step in enumerate((0, 10, 20, 30)):
        row, column = divmod(index, 2)
        middle = image[row * 68 + 20 + 24, column * 68 + 32]
        assert abs(middle[0] - step) <= 6
        assert abs(middle[2] - 128) <= 6
        strip = image[row * 68 : row * 68 + 20, column * 68 : column * 68 + 64]
        assert strip.max() > 200, "the label is legible: bright on black"


def test_labels_differ_from_step_to_step(filmed):
    layout = SheetLayout(columns=1, rows=1, tile_px=256)
    one, other = (picture(contact_sheets(filmed, (step,), layout=layout)[0])[:30] for step in (12, 13))
    assert (np.abs(one - other) > 100).any()


def test_a_broken_frame_is_an_error(filmed):
    class Broken:
        def __len__(self):
            return 38

        def read(self, step):
            raise CorruptRecordError("cut off", path="film.mp4", record=step)

    with pytest.raises(CorruptRecordError):
        contact_sheets(replace(filmed, cameras={"front": Broken()}), (0, 1))
