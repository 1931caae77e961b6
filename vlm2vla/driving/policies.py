"""The policies that can drive, by name: the expert, a person typing, a replay, and every model that writes actions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlm2vla.annotation.store import AnnotationStore
from vlm2vla.config import TrialsConfig, did_you_mean
from vlm2vla.driving.robots import Connected
from vlm2vla.driving.typing_line import TypingLine
from vlm2vla.embodiment import STRETCH_RE1
from vlm2vla.errors import ConfigError, NotFoundError
from vlm2vla.policy import Driving, Policy, ReplayPolicy, TypedPolicy, Verdict, Verifier
from vlm2vla.robot import Observation
from vlm2vla.rollout.told import OneByOne, words_of
from vlm2vla.trajectories import EpisodeIndex
from vlm2vla.workspace import Workspace

if TYPE_CHECKING:
    from vlm2vla.rollout.drivers import Drivers
    from vlm2vla.vlm.local import LocalModels

JSON = dict[str, Any]
MAX_EPISODES = 200
USUAL = "lora"
"""The shipped fine-tuned model: what a studio is there to show drives unless somebody chooses another policy."""


@dataclass(frozen=True)
class Wish:
    """What a policy is made for.

    Attributes:
        connected: The robot.
        instruction: The task in words.
        line: Where a person types.
        episode: Id of the episode to replay.
    """

    connected: Connected
    instruction: str
    line: TypingLine
    episode: str = ""


Make = Callable[[Wish], tuple[Policy, Verifier]]


@dataclass(frozen=True)
class PolicyChoice:
    """One policy that can be chosen.

    Attributes:
        name, title, note: For people.
        make: Makes it for a run.
        kind: "built in" or "model".
        steerable: Its words steer it: changing a subtask or a plan changes what it does.
        needs: What the page must ask for: "typed", "episode".
        robots: Ids of robots it can drive; any when empty.
    """

    name: str
    title: str
    note: str
    make: Make
    kind: str = "built in"
    steerable: bool = False
    needs: tuple[str, ...] = ()
    robots: tuple[str, ...] = ()

    def view(self, robot: str) -> JSON:
        """For a page; `robot` is the id of the open one, or ""."""
        fits = not self.robots or not robot or robot in self.robots
        return {
            "name": self.name,
            "title": self.title,
            "note": self.note,
            "kind": self.kind,
            "steerable": self.steerable,
            "needs": list(self.needs),
            "available": fits,
            "why_not": "" if fits else "Only for a simulated robot: it works from the simulator's truth.",
        }


class Policies:
    """All policies of one workspace.

    Args:
        workspace: Whose episodes are replayed and whose models drive.
        more: Further ones, before the models.
        models: The models of this process, where somebody else uses them too.
    """

    def __init__(self, workspace: Workspace, more: tuple[PolicyChoice, ...] = (), models: "LocalModels | None" = None):
        self._workspace, self._more, self._local = workspace, more, models
        self._drivers: Drivers | None = None
        self._store: AnnotationStore | None = None

    def choices(self) -> tuple[PolicyChoice, ...]:
        """Every policy: the one that drives unless somebody chooses, the built-in ones, other models."""
        models = self._models()
        usual = tuple(choice for choice in models if choice.name == USUAL)
        return (*usual, EXPERT, TYPED, self._replay(), *self._more, *(each for each in models if each not in usual))

    def get(self, name: str) -> PolicyChoice:
        """The one called `name`.

        Raises:
            NotFoundError: There is none; the message offers the closest.
        """
        choices = self.choices()
        for choice in choices:
            if choice.name == name:
                return choice
        raise NotFoundError(f"no policy {name!r}; {did_you_mean(name, [choice.name for choice in choices])}")

    def episodes(self) -> list[JSON]:
        """Episodes that a Stretch can replay; of annotated ones the words are those of the annotation."""
        store = self._open_store()
        found = [row for row in EpisodeIndex(self._workspace).summaries() if row.embodiment == STRETCH_RE1.name]
        return [
            {"id": row.id, "instruction": row.instruction, "annotated": store.head(row.id) is not None}
            for row in found[:MAX_EPISODES]
        ]

    def _open_store(self) -> AnnotationStore:
        self._store = self._store or AnnotationStore.open(self._workspace.database_url)
        return self._store

    def _replay(self) -> PolicyChoice:
        def make(wish: Wish) -> tuple[Policy, Verifier]:
            if not wish.episode:
                raise NotFoundError("choose an episode to replay")
            index = EpisodeIndex(self._workspace)
            embodiment = index.get(wish.episode).embodiment
            if embodiment.name != wish.connected.robot.embodiment.name:
                raise ConfigError(f"{wish.episode} was recorded on {embodiment.title}; its numbers fit no other robot")
            return ReplayPolicy(words_of(wish.episode, self._open_store(), index)), OneByOne()

        return PolicyChoice(
            "replay",
            "replay of an episode",
            "Drives what an annotation says (what the numbers say, where there is none), without looking.",
            make,
            needs=("episode",),
        )

    def _models(self) -> tuple[PolicyChoice, ...]:
        drivers = self._all_drivers()
        return tuple(_model(drivers, name) for name in drivers.names())

    def _all_drivers(self) -> "Drivers":
        if self._drivers is None:
            from vlm2vla.rollout.drivers import Drivers

            self._drivers = Drivers(self._workspace, self._local)
        return self._drivers


class PersonSays:
    """A verifier that leaves it to the person who types."""

    name = "the person who types"

    def verify(self, driving: Driving, before: Observation, after: Observation) -> Verdict:
        """Never done by itself."""
        return Verdict(False, "the person who types says when it is done")


def _expert(wish: Wish) -> tuple[Policy, Verifier]:
    from vlm2vla.rollout.expert import ExpertDriver
    from vlm2vla.simulation.expert import Expert

    stage = wish.connected.stage
    if stage is None:
        raise ConfigError("the scripted expert drives only in the simulator: it works from the simulator's truth")
    driver = ExpertDriver(Expert(stage.task, stage.scene, stage.seed), stage.world.state)
    return driver, driver


def _typed(wish: Wish) -> tuple[Policy, Verifier]:
    return TypedPolicy(wish.line.read), PersonSays()


def _model(drivers: "Drivers", name: str) -> PolicyChoice:
    def make(wish: Wish) -> tuple[Policy, Verifier]:
        embodiment = wish.connected.robot.embodiment
        policy = drivers.policy(name, embodiment, stopped=wish.line.stopped)
        return policy, drivers.verifier(TrialsConfig().verifier, name, embodiment)

    note = "A vision-language model writes subtasks, plans and actions."
    return PolicyChoice(name, name, note, make, kind="model", steerable=True)


EXPERT = PolicyChoice(
    "expert",
    "scripted expert",
    "Works from the simulator's truth, not from pictures or words: it does the task of the scene, whatever the "
    "instruction says.",
    _expert,
    robots=("simulated",),
)
TYPED = PolicyChoice(
    "typed",
    "a person typing",
    "You type action language, as a sentence or as a list of rows.",
    _typed,
    needs=("typed",),
)
