"""Soft tokens: equal on every machine, and everything can be read from them again."""

import numpy as np
import pytest

from vlm2vla.training.pretrain.config import THINGS, SoftConfig
from vlm2vla.training.pretrain.soft import NUMBERS, Roughness, SoftSpace, centre_of

CUBE = {"name": "red cube", "kind": "cube", "colour": "red", "symbol": "", "x_cm": 61.5, "y_cm": -12.0, "z_cm": 2.0}
CUBE |= {"dx_cm": 8.0, "dy_cm": -7.5, "dz_cm": -14.0, "held": False, "beside": "star card"}
CARD = CUBE | {"name": "star card", "kind": "card", "symbol": "star", "x_cm": 55.0, "y_cm": 20.5, "beside": ""}
SCENE = {
    "things": [CUBE, CARD],
    "gripper": {"x_cm": 53.5, "y_cm": -4.5, "z_cm": 16.0, "open": 1.0, "holding": ""},
}


@pytest.fixture(scope="module")
def space() -> SoftSpace:
    return SoftSpace()


def _patches(**covered: list[int]) -> np.ndarray:
    patches = np.full(100, -1, np.int8)
    for at, value in ((covered.get("cube", []), 0), (covered.get("card", []), 1), (covered.get("gripper", []), THINGS)):
        patches[at] = value
    return patches


def test_every_number_is_read_back_from_the_patch_that_it_was_written_to(space):
    tokens = space.target(SCENE, _patches(cube=[34, 35, 44], card=[70], gripper=[12])) - space.places
    for name in NUMBERS:
        assert abs(space.read(name, tokens[34]) - CUBE[name]) <= 0.25, name
    for name in ("x_cm", "y_cm", "z_cm"):
        assert abs(space.read(name, tokens[12]) - SCENE["gripper"][name]) <= 0.25, name


def test_kind_colour_symbol_and_what_it_is_beside_are_the_closest_concepts(space):
    tokens = space.target(SCENE, _patches(cube=[34], card=[70]))

    def closest(token: np.ndarray, *names: str) -> str:
        return max(names, key=lambda name: float(space.concept(name) @ token))

    assert closest(tokens[34], "kind:cube", "kind:can", "kind:card", "kind:gripper") == "kind:cube"
    assert closest(tokens[34], "colour:blue", "colour:red", "colour:pink") == "colour:red"
    assert closest(tokens[34], "beside:star", "beside:7") == "beside:star"
    assert closest(tokens[70], "symbol:7", "symbol:star", "symbol:moon") == "symbol:star"
    assert abs(float(space.concept("symbol:star") @ tokens[34])) < 2


def test_one_patch_of_each_thing_is_its_centre(space):
    tokens = space.target(SCENE, _patches(cube=[33, 34, 35, 44])) - space.places
    different = [index for index in (33, 34, 35, 44) if not np.allclose(tokens[index], tokens[33])]
    assert different == [34] == [centre_of(np.array([33, 34, 35, 44]), 10)]


def test_tokens_are_about_one_per_dimension_and_the_same_every_time(space):
    patches = _patches(cube=[34, 35], card=[70], gripper=[12])
    tokens = space.target(SCENE, patches)
    assert tokens.shape == (100, 192)
    assert tokens.dtype == np.float32
    assert 0.6 < tokens[[34, 70]].std() < 1.4
    assert np.array_equal(tokens, SoftSpace(SoftConfig()).target(SCENE, patches))
    assert not np.array_equal(tokens, SoftSpace(SoftConfig(seed=1)).target(SCENE, patches))


def test_an_empty_picture_is_blank(space):
    assert np.array_equal(space.target(SCENE, _patches()), space.blank())


def test_roughness_moves_numbers_about_as_much_as_it_says(space):
    rng = np.random.default_rng(0)
    patches = _patches(cube=list(range(100)))
    errors = []
    for _ in range(20):
        tokens = space.rough(SCENE, patches, rng, Roughness(0.2, 0.5, 0.0)) - space.places
        errors += list(space.read("x_cm", tokens) - CUBE["x_cm"])
    assert 0.3 < np.std(errors) < 1.0
