"""Chat and Drive answer from one copy of the weights."""

from ui import chat
from vlm2vla.driving import DriveService
from vlm2vla.vlm.local import LocalModels
from vlm2vla.vlm.registry import ModelRegistry


def test_chat_and_drive_share_the_models_of_the_process(workspace, tiny_folder):
    ModelRegistry(workspace).add("driver", str(tiny_folder / "full"))
    models = LocalModels(ModelRegistry(workspace))
    driving = DriveService(workspace, models=models)
    talking = chat.open_chat(workspace, models)
    try:
        assert "driver" in [choice.name for choice in driving.policies.choices()]
        list(talking.ask(talking.new(["driver"])["id"], "hello?"))
        assert models.loaded() == ("driver",)
        assert driving.policies._all_drivers()._models is models
    finally:
        driving.close()
