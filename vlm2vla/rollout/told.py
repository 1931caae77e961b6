"""Policies that are told what to do beforehand: an episode to replay, or action language somebody wrote.

What was told is read before anything moves. Neither policy looks: the robot does what the words say, within the
safety rules, and whether that did the task is for the simulator's truth to say.
"""

from collections import deque
from collections.abc import Mapping
from pathlib import Path

from vlm2vla.annotation.kinematic import KinematicAnnotator
from vlm2vla.annotation.store import AnnotationStore
from vlm2vla.config import ToldConfig
from vlm2vla.embodiment import Embodiment
from vlm2vla.errors import ActionParseError, ConfigError
from vlm2vla.policy import Driving, Policy, ReplayPolicy, TypedPolicy, Verdict, Verifier
from vlm2vla.policy.typed import read_typed
from vlm2vla.robot import Observation
from vlm2vla.trajectories import EpisodeIndex
from vlm2vla.types import AnnotatedEpisode
from vlm2vla.workspace import Workspace

REPLAY, TYPED = "replay", "typed"


class Told:
    """What one of the two policies was told, read and found to be possible.

    Args:
        policy: "replay" or "typed".
        config: What it was told.
        workspace: Whose episodes are replayed.

    Raises:
        ConfigError: Something is missing, cannot be read, or is not action language.
        NotFoundError: No such episode.
    """

    def __init__(self, policy: str, config: ToldConfig, workspace: Workspace):
        config.check(policy)
        self.episode, self.robot = None, ""
        if policy == REPLAY:
            index = EpisodeIndex(workspace)
            self.robot = index.get(config.episode).embodiment.name
            self.episode = words_of(config.episode, AnnotationStore.open(workspace.database_url), index)
        self.texts = () if self.episode else texts_of(config)

    @property
    def cycles(self) -> int:
        """How many cycles saying it all takes."""
        return len(self.episode.subtasks) if self.episode else len(self.texts)

    def driver(self, embodiment: Embodiment) -> tuple[Policy, Verifier]:
        """A policy that says it once, and a verifier that calls it done when all was said.

        Raises:
            ConfigError: The episode was recorded on another robot.
        """
        if self.episode is None:
            waiting = deque(self.texts)
            return TypedPolicy(lambda: waiting.popleft() if waiting else None), AllSaid(waiting)
        if self.robot != embodiment.name:
            raise ConfigError(f"{self.episode.episode_id} was recorded on {self.robot}; its numbers fit no other robot")
        return ReplayPolicy(self.episode), OneByOne()


class OneByOne:
    """A verifier that goes on to the next subtask after every chunk."""

    name = "none (one chunk per subtask)"

    def verify(self, driving: Driving, before: Observation, after: Observation) -> Verdict:
        """Done."""
        return Verdict(True, "replayed")


class AllSaid:
    """A verifier that is content when nothing more waits to be said."""

    name = "none (until all was said)"

    def __init__(self, waiting: deque[str]):
        self._waiting = waiting

    def verify(self, driving: Driving, before: Observation, after: Observation) -> Verdict:
        """Done once the last text was carried out."""
        return Verdict(not self._waiting, "" if self._waiting else "all was said")


def texts_of(config: ToldConfig) -> tuple[str, ...]:
    """The chunks of `say` or `say_file`, each of them action language.

    Raises:
        ConfigError: The file cannot be read, nothing is said, or a text is not action language; the message says
            which.
    """
    if config.say_file is None:
        texts = dict(enumerate((text.strip() for text in config.say.split(";")), 1))
    else:
        texts = _lines(config.say_file)
    texts = {place: text for place, text in texts.items() if text}
    if not texts:
        raise ConfigError("nothing is said: write action language, such as: move forward 4 cm")
    for place, text in texts.items():
        try:
            read_typed(text, "open")
        except ActionParseError as error:
            where = f"{config.say_file}, line {place}" if config.say_file else f"motion {place}"
            raise ConfigError(f"{where}: {error}") from error
    return tuple(texts.values())


def _lines(file: Path) -> Mapping[int, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    return {number: line.strip() for number, line in enumerate(lines, 1) if not line.lstrip().startswith("#")}


def words_of(episode: str, store: AnnotationStore, index: EpisodeIndex) -> AnnotatedEpisode:
    """What is said in a replay: the annotation of an episode, or where there is none, what its numbers say.

    Raises:
        NotFoundError: No such episode.
    """
    head = store.head(episode)
    return head.annotated if head else KinematicAnnotator(recorded=True).annotate(index.get(episode))
