"""Registries and loaded models over the tiny Gemma 3 of tests/conftest.py."""

import pytest

from vlm2vla.vlm.registry import ModelRegistry
from vlm2vla.workspace import Workspace


@pytest.fixture
def tiny_registry(tiny_folder, workspace):
    return ModelRegistry(workspace, shipped=tiny_folder)


@pytest.fixture(scope="session")
def tiny_models(tiny_folder, tmp_path_factory):
    """`LocalModels` over base, lora and full, loaded once for the whole test run."""
    from vlm2vla.vlm.local import LocalModels

    return LocalModels(ModelRegistry(Workspace.open(tmp_path_factory.mktemp("workspace")), shipped=tiny_folder))
