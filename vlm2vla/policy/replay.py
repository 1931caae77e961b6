"""Drives what an annotation says: the recorded subtasks, plans and chunks, one after the other."""

from collections.abc import Iterator

from vlm2vla.errors import ActionParseError
from vlm2vla.language import form
from vlm2vla.policy.protocol import ChunkReady, Driving, GaveUp, PlanReady, PolicyEvent, SubtasksReady
from vlm2vla.robot import Observation
from vlm2vla.types import AnnotatedEpisode


class ReplayPolicy:
    """The words of one annotated episode, driven without looking."""

    def __init__(self, annotated: AnnotatedEpisode):
        self.name = f"replay of {annotated.episode_id}"
        self._annotated = annotated
        self._form = form(annotated.action_form)

    def subtasks(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The annotated subtasks."""
        yield SubtasksReady(tuple(subtask.text for subtask in self._annotated.subtasks))

    def plan(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The annotated plan of the current subtask."""
        yield PlanReady(self._annotated.subtasks[driving.index].plan)

    def chunk(self, driving: Driving, observation: Observation) -> Iterator[PolicyEvent]:
        """The annotated chunk of the current subtask."""
        text = self._annotated.subtasks[driving.index].chunk
        try:
            chunk = self._form.parse(text)
        except ActionParseError as error:
            yield GaveUp(f"the annotated chunk does not parse: {error}", 1)
            return
        yield ChunkReady(chunk, text, text)
