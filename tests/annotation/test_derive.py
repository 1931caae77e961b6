"""Plan and action text of a span, from the numbers."""

import numpy as np
import pytest

from vlm2vla.annotation.derive import derive_chunk, derive_plan
from vlm2vla.config import LanguageConfig
from vlm2vla.errors import AnnotationError
from vlm2vla.language import find_gripper_words, make_form
from vlm2vla.motion import displacement

CONFIG = LanguageConfig()


@pytest.mark.parametrize("form", ["rows", "rows7", "sentence", "sentence7"])
@pytest.mark.parametrize("span", [(0, 12), (3, 17), (12, 38), (0, 38)])
def test_the_chunk_adds_up_to_the_recorded_displacement(pick_and_place, form, span):
    config = LanguageConfig(form=form)
    action_form = make_form(config)
    chunk = action_form.parse(derive_chunk(pick_and_place, *span, config, action_form))
    recorded = displacement(pick_and_place, *span)
    assert np.abs(chunk.translation - recorded[:3]).max() <= 0.0026


def test_the_plan_names_the_motion_of_the_span_only(pick_and_place):
    assert derive_plan(pick_and_place, 15, 20, CONFIG) == "move up"
    assert "right" in derive_plan(pick_and_place, 21, 28, CONFIG)


def test_a_gripper_event_on_the_first_step_belongs_to_the_span(pick_and_place):
    assert find_gripper_words(derive_plan(pick_and_place, 12, 15, CONFIG)) == ("close",)
    assert find_gripper_words(derive_plan(pick_and_place, 13, 15, CONFIG)) == ()


@pytest.mark.parametrize("span", [(-1, 5), (5, 5), (6, 5), (0, 39)])
def test_spans_outside_the_episode_are_refused(pick_and_place, span):
    with pytest.raises(AnnotationError, match="no span"):
        derive_plan(pick_and_place, *span, CONFIG)
    with pytest.raises(AnnotationError, match="no span"):
        derive_chunk(pick_and_place, *span, CONFIG, make_form(CONFIG))
