"""Names of models: what ships, what is added, what a path or a hub id stands for."""

import json

import pytest

from tests.vlm.tiny_model import make_adapter
from vlm2vla.errors import ConfigError, NotFoundError, WorkspaceError
from vlm2vla.vlm.origin import Origin, fingerprint, read_origin, write_origin
from vlm2vla.vlm.registry import ModelRegistry


def test_what_ships_is_listed_first_and_only_where_it_is_there(tiny_registry, tiny_folder):
    assert [(entry.name, entry.kind, entry.actions) for entry in tiny_registry.list()] == [
        ("base", "base", ""),
        ("lora", "adapter", "language"),
        ("full", "checkpoint", "language"),
    ]
    assert tiny_registry.get("lora").base == str(tiny_folder / "base")
    assert all(entry.shipped for entry in tiny_registry.list())


def test_added_models_are_there_the_next_time(tiny_registry, tiny_folder, workspace):
    tiny_registry.add("mine", str(tiny_folder / "lora"), base="base", note="first try")
    tiny_registry.add("server", "http://127.0.0.1:8000/v1/", model="base")
    again = ModelRegistry(workspace, shipped=tiny_folder)
    assert [entry.name for entry in again.list()] == ["base", "lora", "full", "mine", "server"]
    assert again.get("mine") == tiny_registry.get("mine")
    assert (again.get("mine").kind, again.get("mine").note) == ("adapter", "first try")
    assert (again.get("server").url, again.get("server").model) == ("http://127.0.0.1:8000/v1", "base")
    again.remove("mine")
    assert [entry.name for entry in tiny_registry.list()] == ["base", "lora", "full", "server"]
    assert (tiny_folder / "lora" / "adapter_config.json").is_file(), "files of a forgotten model stay"


def test_a_path_or_a_hub_id_stands_wherever_a_name_does(tiny_registry, tiny_folder):
    assert tiny_registry.get(str(tiny_folder / "base")).kind == "base"
    assert tiny_registry.get(str(tiny_folder / "full")).kind == "checkpoint"
    adapter = tiny_registry.get(str(tiny_folder / "lora"))
    assert (adapter.kind, adapter.base) == ("adapter", str(tiny_folder / "base"))
    assert tiny_registry.get("google/gemma-3-12b-it").path == "google/gemma-3-12b-it"
    assert tiny_registry.get("gemini-3.8-flash").kind == "gemini"


def test_a_training_run_stands_for_the_adapter_in_it(tiny_registry, tiny_folder, tmp_path):
    run = tmp_path / "run"
    make_adapter(tiny_folder / "base", run / "adapter")
    (run / "config.json").write_text('{"variant": "lora"}')  # how the run was made, no config of a model
    write_origin(run / "adapter", Origin("base", fingerprint(tiny_folder / "base"), "tokens", "tokens:0.5cm"))
    entry = tiny_registry.add("run", str(run))
    assert (entry.path, entry.actions) == (str(run / "adapter"), "tokens")
    assert read_origin(run / "adapter").form == "tokens:0.5cm"


def test_an_adapter_whose_base_has_moved_is_found_by_its_origin_or_asked_for(tiny_registry, tiny_folder, tmp_path):
    folder = make_adapter(tiny_folder / "base", tmp_path / "moved")
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "/somewhere/else/base"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(NotFoundError, match="say which with --base"):
        tiny_registry.add("moved", str(folder))
    assert tiny_registry.add("told", str(folder), base="base").base == str(tiny_folder / "base")
    write_origin(folder, Origin("base"))
    assert tiny_registry.add("moved", str(folder)).base == str(tiny_folder / "base")


@pytest.mark.parametrize(
    ("name", "where", "error", "says"),
    [
        ("base", "http://127.0.0.1/v1", ConfigError, "already"),
        ("../base", "http://127.0.0.1/v1", ConfigError, "cannot be a model's name"),
        ("", "http://127.0.0.1/v1", ConfigError, "cannot be a model's name"),
        ("new", "/no/such/folder", NotFoundError, "no folder"),
        ("new", "tests", NotFoundError, "holds no model"),
    ],
)
def test_what_cannot_be_added_says_why_and_changes_nothing(tiny_registry, name, where, error, says):
    with pytest.raises(error, match=says):
        tiny_registry.add(name, where)
    assert len(tiny_registry.list()) == 3


def test_unknown_names_get_a_hint_and_shipped_ones_stay(tiny_registry):
    with pytest.raises(NotFoundError, match="did you mean 'lora'"):
        tiny_registry.get("lara")
    with pytest.raises(ConfigError, match="ships with the software"):
        tiny_registry.remove("lora")


@pytest.mark.parametrize("content", ["{", "[]", '{"models": [{"name": "x", "kind": "witch"}]}', '{"models": [3]}'])
def test_a_damaged_list_is_an_error_that_says_which_file(tiny_registry, workspace, content):
    (workspace.models / "registry.json").write_text(content)
    with pytest.raises(WorkspaceError, match=r"registry\.json is damaged"):
        tiny_registry.list()


def test_fingerprints_tell_weights_apart(tiny_folder):
    found = {name: fingerprint(tiny_folder / name) for name in ("base", "lora", "full")}
    assert len(set(found.values())) == 3
    assert fingerprint(tiny_folder / "base") == found["base"]
    assert fingerprint(tiny_folder) == ""
