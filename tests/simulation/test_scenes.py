import dataclasses

import numpy as np
import pytest

from vlm2vla.errors import ConfigError
from vlm2vla.simulation import SceneNeeds, make_scene
from vlm2vla.simulation.frames import Pose, ee_of
from vlm2vla.simulation.scenes import REGION_X, SYMBOLS
from vlm2vla.simulation.stretch import LIMITS

NEEDS = [
    SceneNeeds(),
    SceneNeeds(graspable=4, containers=1),
    SceneNeeds(graspable=3, containers=2, cards=2, beside_cards=2),
    SceneNeeds(kinds=("ball", "can", "tray"), cards=3),
]


@pytest.mark.parametrize("needs", NEEDS)
def test_scenes_hold_what_a_task_needs_and_keep_things_apart(needs):
    for seed in range(60):
        scene = make_scene(seed, require=needs)
        assert len(scene.graspable) >= needs.graspable
        assert len(scene.containers) >= needs.containers
        assert len(scene.cards) >= needs.cards
        assert {*needs.kinds} <= {thing.kind for thing in scene.objects}
        assert 3 <= len(scene.graspable) + len(scene.containers) <= 6
        names = [thing.name for thing in scene.objects]
        assert len(names) == len(set(names))
        for index, one in enumerate(scene.objects):
            for other in scene.objects[:index]:
                away = np.hypot(one.position[0] - other.position[0], one.position[1] - other.position[1])
                assert away > one.radius_m + other.radius_m, (seed, one.name, other.name)


def test_the_hand_reaches_every_object_and_every_container():
    nearest = ee_of(Pose(LIMITS["base"][0], LIMITS["arm"][0], LIMITS["lift"][0], 0.0))
    farthest = ee_of(Pose(LIMITS["base"][1], LIMITS["arm"][1], LIMITS["lift"][1], 0.0))
    for seed in range(100):
        scene = make_scene(seed, require=NEEDS[2])
        for thing in scene.objects:
            for height in (0.012, 0.25):
                point = (*thing.position, scene.table_height_m + height)
                assert np.all(nearest[:3] <= point)
                assert np.all(point <= farthest[:3])


def test_one_object_beside_each_wanted_card_and_the_others_away():
    for seed in range(60):
        scene = make_scene(seed, require=SceneNeeds(graspable=4, cards=2, beside_cards=2))
        for card in scene.cards[:2]:
            distances = {
                thing.name: np.hypot(thing.position[0] - card.position[0], thing.position[1] - card.position[1])
                for thing in scene.graspable
            }
            beside = [thing.name for thing in scene.graspable if thing.beside == card.name]
            assert len(beside) == 1
            assert min(distances, key=distances.get) == beside[0]


def test_same_seed_same_scene_and_seeds_differ():
    assert make_scene(7) == make_scene(7)
    assert len({make_scene(seed).objects for seed in range(30)}) == 30


def test_kinds_symbols_and_textures_all_occur():
    scenes = [make_scene(seed, require=SceneNeeds(cards=1)) for seed in range(300)]
    kinds = {thing.kind for scene in scenes for thing in scene.objects}
    assert kinds == {"cube", "cylinder", "can", "ball", "bowl", "plate", "tray", "card"}
    assert {card.symbol for scene in scenes for card in scene.cards} == set(SYMBOLS)
    assert len({scene.look.table_texture for scene in scenes}) == 6


@pytest.mark.parametrize(
    ("needs", "says"),
    [
        (SceneNeeds(graspable=7), "0 to 6 graspable"),
        (SceneNeeds(cards=-1), "0 to 3 cards"),
        (SceneNeeds(kinds=("banana",)), "banana"),
        (SceneNeeds(graspable=6, containers=3, cards=3, beside_cards=3), "does not fit"),
    ],
)
def test_impossible_wishes_are_named(needs, says):
    with pytest.raises(ConfigError, match=says):
        make_scene(0, require=needs)


def test_finding_an_object_by_name():
    scene = make_scene(3)
    assert scene.find(scene.objects[0].name) is scene.objects[0]
    with pytest.raises(ConfigError, match=scene.objects[0].name):
        scene.find("green banana")


def test_scenes_are_plain_values():
    scene = make_scene(2)
    assert dataclasses.asdict(scene)["objects"][0]["name"] == scene.objects[0].name
    assert REGION_X[0] <= scene.objects[0].position[0] <= REGION_X[1]
