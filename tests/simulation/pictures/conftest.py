"""One camera for all tests of pictures, and a small set that is made once."""

import pytest

from vlm2vla.config import PicturesConfig
from vlm2vla.simulation.pictures import make
from vlm2vla.simulation.pictures.camera import PictureCamera


@pytest.fixture(scope="session")
def camera(mesh_folder):
    with PictureCamera(mesh_folder) as camera:
        yield camera


@pytest.fixture(scope="session")
def picture_set(tmp_path_factory):
    """A folder with 60 pictures."""
    folder = tmp_path_factory.mktemp("pictures") / "set"
    make.make_pictures(PicturesConfig(out=folder, count=60, seed=10_990_000, texts=800))
    return folder
