"""Pickles: numbers come through, programs do not, and nothing of a hostile file runs."""

import os
import pickle
import subprocess
from collections import OrderedDict

import numpy as np
import pyarrow.parquet as pq
import pytest

from vlm2vla.errors import CorruptRecordError, UnsafePickleError
from vlm2vla.trajectories.safe_pickle import load, loads


class Runs:
    """Unpickled, it would make a folder: proof that code ran."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_numbers_in_containers_survive_every_protocol(protocol):
    value = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": [np.float32(2.5), (1, "x", None, True, b"raw")],
        "c": OrderedDict(d=1),
    }
    again = loads(pickle.dumps(value, protocol))
    np.testing.assert_array_equal(again["a"], value["a"])
    assert again["b"] == value["b"]
    assert again["c"] == value["c"]


@pytest.mark.parametrize(
    "hostile",
    [
        lambda mark: Runs(os.mkdir, mark),
        lambda mark: [np.zeros(7), {"actions": Runs(os.system, f"mkdir {mark}")}],
        lambda mark: Runs(subprocess.call, ["mkdir", mark]),
        lambda mark: Runs(eval, f"__import__('os').mkdir({mark!r})"),
        lambda mark: Runs(getattr, np.ndarray, "tofile"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_pickle_is_refused_before_it_runs(tmp_path, hostile, protocol):
    mark = str(tmp_path / "ran")
    file = tmp_path / "policy_out.pkl"
    file.write_bytes(pickle.dumps(hostile(mark), protocol))
    with pytest.raises(UnsafePickleError, match="was not run") as caught:
        load(file)
    assert not os.path.exists(mark)
    assert caught.value.path == str(file)


def test_a_name_hidden_in_an_allowed_module_is_refused():
    with pytest.raises(UnsafePickleError, match=r"numpy\.load"):
        loads(b"cnumpy\nload\n.")
    with pytest.raises(UnsafePickleError, match="codec"):
        loads(pickle.dumps(Runs(__import__("_codecs").encode, "x", "zip"), 2))
    # Setting attributes of an allowed function would outlive this file.
    with pytest.raises((UnsafePickleError, CorruptRecordError)):
        loads(b"cnumpy._core.numeric\n_frombuffer\n(N}S'__doc__'\nS'gone'\nstb.")
    assert np._core.numeric._frombuffer.__doc__ != "gone"
    with pytest.raises(UnsafePickleError, match="external object"):
        loads(b"Pid\n.")


def test_npy_files_go_through_the_same_gate(tmp_path):
    np.save(tmp_path / "plain.npy", np.arange(4))
    assert load(tmp_path / "plain.npy").tolist() == [0, 1, 2, 3]
    rows = np.empty(2, object)
    rows[:] = [{"actions": np.ones(7)}, {"actions": np.zeros(7)}]
    np.save(tmp_path / "out.npy", rows, allow_pickle=True)
    assert [row["actions"].sum() for row in load(tmp_path / "out.npy")] == [7, 0]
    rows[1] = Runs(os.mkdir, str(tmp_path / "ran"))
    np.save(tmp_path / "bad.npy", rows, allow_pickle=True)
    with pytest.raises(UnsafePickleError):
        load(tmp_path / "bad.npy")
    assert not (tmp_path / "ran").exists()
    (tmp_path / "cut.npy").write_bytes((tmp_path / "out.npy").read_bytes()[:90])
    with pytest.raises(CorruptRecordError):
        load(tmp_path / "cut.npy")


def test_object_arrays_inside_are_refused_however_deep():
    inner = np.empty(1, object)
    inner[0] = "x"
    with pytest.raises(UnsafePickleError, match="objects"):
        loads(pickle.dumps({"a": [(inner,)]}))


def test_doubling_references_do_not_explode():
    value = [0]
    for _ in range(60):
        value = [value, value]
    assert loads(pickle.dumps(value))


@pytest.mark.parametrize(
    "data", [b"", b"not a pickle", pickle.dumps(np.arange(100.0))[:-40], b"\x80\x04\x95" + b"\xff" * 8]
)
def test_damage_is_told_from_danger(data):
    with pytest.raises(CorruptRecordError):
        loads(data)


def test_size_is_capped(tmp_path, monkeypatch):
    monkeypatch.setattr("vlm2vla.trajectories.safe_pickle.MAX_BYTES", 50)
    (tmp_path / "big.pkl").write_bytes(pickle.dumps(np.arange(100)))
    with pytest.raises(UnsafePickleError, match="not opened"):
        load(tmp_path / "big.pkl")


def test_real_pickles_load(shared_data):
    actions = load(shared_data / "pickle-samples" / "autoeval_unfold_cloth.pkl")
    assert (len(actions), actions[0].dtype.name, actions[1].dtype.name) == (81, "int64", "float64")
    assert [len(row) for row in load(shared_data / "pickle-samples" / "avdc_metaworld_action.pkl")][0] in range(
        132, 267
    )
    observation = load(shared_data / "robot-libero-oft" / "sample_libero_spatial_observation.pkl")
    assert observation["full_image"].shape == (224, 224, 3)


def test_pickled_columns_of_the_real_sample_load(shared_data):
    root = shared_data / "lerobot21-internvla" / "sim_pick_place"
    assert len(load(next((root / "meta").glob("*.pkl")))["steps"]) == 1436
    table = pq.read_table(root / "data" / "chunk-000" / "episode_000000.parquet")
    names = [name for name in table.column_names if name.startswith("annotation.")]
    assert len(names) == 21
    for name in names:
        loads(table.column(name)[7].as_py())
