import numpy as np
import pytest

from vlm2vla.errors import ConfigError
from vlm2vla.simulation import instructions
from vlm2vla.simulation.tasks import FAMILIES, RECORDED, make_task

SEEDS = range(40)


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_seeds_make_equal_tasks_whose_objects_are_there(family):
    for seed in SEEDS:
        scene, task = make_task(family, seed)
        assert (scene, task) == make_task(family, seed)
        things = {thing.name: thing for thing in scene.objects}
        assert things[task.target].graspable
        if family in ("pick-and-place", "pick-place-lift"):
            assert things[task.destination].container
        else:
            assert not task.destination
        if family == "pick-place-lift":
            assert things[task.second].graspable
            assert task.second != task.target
        assert task.instruction not in task.paraphrases


def test_translated_tasks_come_in_the_three_languages():
    languages = {make_task("pick-up-translated", seed)[1].language for seed in SEEDS}
    assert languages == {"es", "zh", "hi"}
    assert make_task("pick-up-translated", 0, language="hi")[1].language == "hi"
    assert all(make_task(family, 0)[1].language == "en" for family in RECORDED)


def test_references_never_name_the_object_as_the_data_does():
    kinds = set()
    for seed in SEEDS:
        scene, task = make_task("pick-up-reference", seed)
        target = next(thing for thing in scene.objects if thing.name == task.target)
        kinds.add(task.reference)
        assert task.held_out
        for text in (task.instruction, *task.paraphrases):
            assert instructions.phrase(target, "en") not in text
    assert kinds == {"picture", "synonym", "colour"}


def test_the_picture_points_to_one_object():
    for seed in SEEDS:
        scene, task = make_task("pick-up-reference", seed, reference="picture")
        card = next(
            thing for thing in scene.objects if thing.symbol and instructions.phrase(thing, "en") in task.instruction
        )
        distances = sorted(
            (np.linalg.norm(np.subtract(thing.position[:2], card.position[:2])), thing.name)
            for thing in scene.objects
            if thing.graspable
        )
        assert distances[0][1] == task.target
        assert distances[0][0] < 0.15
        assert len(distances) == 1 or distances[1][0] > distances[0][0] + 0.03


def test_held_out_wordings_are_others():
    for family in FAMILIES:
        _, plain = make_task(family, 7, reference="picture" if family == "pick-up-reference" else "")
        _, held_out = make_task(family, 7, held_out=True, reference="picture" if family == "pick-up-reference" else "")
        assert held_out.held_out
        assert held_out.instruction not in (plain.instruction, *plain.paraphrases)
        assert held_out.target == plain.target


def test_everything_that_can_lie_on_the_table_has_a_name_in_every_language():
    named = set()
    for family in ("pick-and-place", "pick-up-reference"):
        for seed in range(150):
            scene, _ = make_task(family, seed)
            named |= set(scene.objects)
    for thing in named:
        for language in instructions.LANGUAGES:
            assert instructions.phrase(thing, language)


def test_unknown_family_offers_the_closest():
    with pytest.raises(ConfigError, match="did you mean 'pick-up'"):
        make_task("pickup", 0)
