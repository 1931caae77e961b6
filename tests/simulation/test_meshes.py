import numpy as np
import pytest

from vlm2vla.errors import NotFoundError
from vlm2vla.simulation.meshes import decimate, light_mesh, read_stl, turned
from vlm2vla.simulation.room import bowl_profile, plate_profile
from vlm2vla.simulation.textures import card_texture, table_texture
from vlm2vla.simulation.urdf import describe


def volume(vertices, faces):
    corners = vertices[faces]
    return float(np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6)


def test_turned_shapes_are_closed_and_look_outward():
    for profile in (bowl_profile(), plate_profile()):
        for crisp in (False, True):
            assert volume(*turned(profile, crisp=crisp)) > 1e-5


def test_robot_meshes_are_light_and_made_once(tmp_path):
    visual = max(describe().visuals, key=lambda visual: visual.mesh.stat().st_size)
    vertices, faces = light_mesh(visual.mesh, tmp_path, 0.01)
    _, all_faces = read_stl(visual.mesh)
    assert len(faces) < len(all_faces) / 5
    kept = next(tmp_path.glob("*.npz"))
    made = kept.stat().st_mtime_ns
    again, _ = light_mesh(visual.mesh, tmp_path, 0.01)
    assert np.array_equal(vertices, again)
    assert kept.stat().st_mtime_ns == made


def test_a_damaged_cache_is_made_again(tmp_path):
    mesh = describe().visuals[0].mesh
    vertices, _ = light_mesh(mesh, tmp_path, 0.01)
    kept = next(tmp_path.glob("*.npz"))
    for damage in (b"", b"nonsense", kept.read_bytes()[:200]):
        kept.write_bytes(damage)
        again, _ = light_mesh(mesh, tmp_path, 0.01)
        assert np.array_equal(vertices, again)


def test_decimation_keeps_the_extent():
    rng = np.random.default_rng(0)
    vertices = rng.uniform(-0.1, 0.1, (3000, 3))
    faces = rng.integers(0, 3000, (4000, 3))
    merged, kept = decimate(vertices, faces, 0.02)
    assert len(merged) < 1500
    assert kept.max() < len(merged)
    assert np.abs(merged.max(0) - vertices.max(0)).max() < 0.02


@pytest.mark.parametrize("content", [b"", b"solid ascii", bytes(80) + (99).to_bytes(4, "little")])
def test_broken_mesh_files_are_named(tmp_path, content):
    path = tmp_path / "arm.STL"
    path.write_bytes(content)
    if content == b"":
        path.unlink()
    with pytest.raises(NotFoundError, match="arm.STL"):
        read_stl(path)


def test_textures_are_repeatable_and_symbols_differ():
    assert np.array_equal(table_texture("marble", 3), table_texture("marble", 3))
    assert not np.array_equal(table_texture("marble", 3), table_texture("marble", 4))
    from vlm2vla.simulation.scenes import SYMBOLS, TABLE_TEXTURES

    pictures = [card_texture(symbol, (0.8, 0.1, 0.1)) for symbol in SYMBOLS]
    assert all(picture.shape == (128, 128, 3) for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == len(SYMBOLS)
    assert all(table_texture(name, 0).shape == (512, 512, 3) for name in TABLE_TEXTURES)
