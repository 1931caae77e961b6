"""One folder of decimated meshes for all tests, and a world that each test may reset."""

import pytest

from vlm2vla.simulation import World, make_scene


@pytest.fixture(scope="session")
def mesh_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("meshes")


@pytest.fixture(scope="module")
def module_world(mesh_folder):
    with World(make_scene(1), cache=mesh_folder) as world:
        yield world


@pytest.fixture
def world(module_world):
    """A world at the beginning of scene 1, fingers open, no faults."""
    module_world.robot.faults.clear()
    module_world.robot.release_runstop()
    module_world.speed = 0.0
    module_world.reset(make_scene(1))
    return module_world
