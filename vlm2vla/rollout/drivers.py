"""Policies and verifiers by name: what drives, and what says that a subtask is done.

"expert" is the scripted expert of the simulator, "expert-4dof" the same without its wrist; every other name is a
model of the registry. Weights are loaded at
the first word, and shared by whatever asks the same model.
"""

import os
import threading
from dataclasses import replace
from pathlib import Path

from vlm2vla.config import PolicyConfig
from vlm2vla.embodiment import Embodiment
from vlm2vla.policy import KinematicVerifier, Verifier, VLMPolicy, VLMVerifier
from vlm2vla.vlm.chat import ChatModel
from vlm2vla.vlm.local import LocalModels
from vlm2vla.vlm.origin import read_origin
from vlm2vla.vlm.registry import ModelEntry, ModelRegistry
from vlm2vla.vlm.remote import open_remote
from vlm2vla.workspace import Workspace

EXPERT = "expert"
# Whether it turns the wrist where the task asks for it; the other one does what four numbers a row can say.
EXPERTS = {EXPERT: True, "expert-4dof": False}


class Drivers:
    """The models of one workspace as policies and verifiers.

    Args:
        workspace: Whose registry is asked.
        models: The models of this process, where there are some already.
    """

    def __init__(self, workspace: Workspace, models: LocalModels | None = None):
        self._registry = ModelRegistry(workspace)
        self._models = models or LocalModels(self._registry)

    def names(self) -> tuple[str, ...]:
        """Models that were trained to write actions, by name."""
        return tuple(entry.name for entry in self._registry.list() if entry.actions)

    def policy(
        self,
        name: str,
        embodiment: Embodiment,
        config: PolicyConfig | None = None,
        *,
        stopped: threading.Event | None = None,
    ) -> VLMPolicy:
        """The model called `name` as a policy; weights are loaded at its first word.

        Weights that say in which form of actions they were trained are asked for that form, whatever `config` says;
        and for plans at the temperature that they name, where `config` names none.

        Raises:
            NotFoundError: No such model.
        """
        entry = self._registry.get(name)
        config = as_trained(entry, config or PolicyConfig())
        return VLMPolicy(self._chat(entry), embodiment, config, stopped=stopped)

    def verifier(self, kind: str, model: str, embodiment: Embodiment) -> Verifier:
        """How verdicts are made while `model` drives.

        Args:
            kind: kinematic: from the numbers; self: the model itself looks; otherwise the name of a model that looks.
            model: Who drives.
            embodiment: Named in prompts.

        Raises:
            NotFoundError: No such model.
        """
        if kind == "kinematic":
            return KinematicVerifier()
        return VLMVerifier(self._chat(self._registry.get(model if kind == "self" else kind)), embodiment)

    def _chat(self, entry: ModelEntry) -> ChatModel:
        if entry.local:
            return self._models.session(entry.name)
        return open_remote(entry)


def as_trained(entry: ModelEntry, config: PolicyConfig) -> PolicyConfig:
    """`config` with what the weights of `entry` tell: the action form of their training, and a temperature."""
    origin = read_origin(Path(entry.path)) if entry.local and entry.path else None
    if origin and config.temperature_plan is None:
        config = replace(config, temperature_plan=origin.temperature_plan)
    if entry.form:
        return replace(config, form=entry.form)
    return replace(config, form=entry.writes) if config.form == PolicyConfig.form and entry.writes else config


def one_thread_each() -> None:
    """For worker processes, before torch is loaded: several that each take all cores stand in each other's way."""
    os.environ["OMP_NUM_THREADS"] = "1"
