"""Evaluation of models by name: brings the registry and the models of this process to the evaluation unit."""

import threading
from collections.abc import Iterator, Sequence
from functools import partial

from vlm2vla.errors import ModelError
from vlm2vla.evaluation import load_set
from vlm2vla.evaluation.config import VqaConfig, names_of
from vlm2vla.evaluation.vqa import Contestant, VqaReport, evaluate
from vlm2vla.pipeline.store import Progress
from vlm2vla.vlm.chat import ChatModel, Message, Sampling, Token
from vlm2vla.vlm.identity import identity
from vlm2vla.vlm.local import LocalModels
from vlm2vla.vlm.registry import ModelEntry, ModelRegistry
from vlm2vla.vlm.remote import open_remote
from vlm2vla.workspace import Workspace


def evaluate_vqa(
    config: VqaConfig,
    workspace: Workspace,
    progress: Progress = None,
    *,
    stopped: threading.Event | None = None,
) -> VqaReport:
    """Ask models the questions of a set, and compare the fine-tuned ones with the base.

    Raises:
        NotFoundError: No such set or model.
        EvaluationError: The set cannot be used, or another process is answering.
    """
    vqa = load_set(config.set, places=(workspace.vqa_sets,))
    names = names_of(config.models)
    opener = Opener(workspace)
    return evaluate(
        vqa,
        [opener.contestant(name) for name in names],
        workspace.evaluations / "vqa",
        config,
        stopped=stopped,
        progress=progress,
    )


class Opener:
    """Models of a workspace by name, for evaluation.

    Args:
        workspace: Whose registry is asked.
        models: The models of this process, where there are some already.
    """

    def __init__(self, workspace: Workspace, models: LocalModels | None = None):
        self.registry = ModelRegistry(workspace)
        self._models = models or LocalModels(self.registry)

    def contestant(self, name: str) -> Contestant:
        """The model with what tells its weights apart; nothing is loaded yet.

        Raises:
            NotFoundError: No such model.
        """
        entry = self.registry.get(name)
        return Contestant(name, identity(entry), partial(self.open, entry))

    def open(self, entry: ModelEntry) -> ChatModel:
        """The model, ready to be asked.

        Raises:
            ConfigError: It cannot be asked in this way.
        """
        if entry.local:
            return _Batched(entry.name, self._models)
        return open_remote(entry)


class _Batched:
    """A model of this process that takes many questions at once."""

    def __init__(self, name: str, models: LocalModels):
        self.name, self._models = name, models

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, *, stopped: threading.Event | None = None
    ) -> Iterator[Token]:
        """See `ChatModel.stream`."""
        return self._models.model(self.name).stream(messages, sampling, stopped=stopped)

    def score(self, messages: Sequence[Message], answer: str) -> tuple[Token, ...]:
        """See `ChatModel.score`."""
        return self._models.model(self.name).score(messages, answer)

    def answer_all(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling
    ) -> Iterator[tuple[int, str | ModelError]]:
        """See `LocalModels.answer_all`; all of them in one batch."""
        return self._models.answer_all(self.name, conversations, sampling, batch=max(1, len(conversations)))
