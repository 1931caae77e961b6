"""The annotator that asks a vision-language model, Gemini by default.

The model writes subtasks, their boundaries and motion plans; the numbers of each chunk come from the recording.
Two passes (describe, then segment) or one. Knows no SDK: any `VLM` serves.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vlm2vla.annotation.annotator import machine_uid, now
from vlm2vla.annotation.contact_sheet import DEFAULT_LAYOUT, SheetLayout
from vlm2vla.annotation.derive import derive_chunk
from vlm2vla.annotation.gemini_answers import (
    Description,
    Event,
    PlannedSubtask,
    check_segmentation,
)
from vlm2vla.annotation.gemini_prompt import View, describe_request, make_view, prompts_hash, segment_request
from vlm2vla.annotation.staging import Checkpoint
from vlm2vla.config import GeminiConfig, LanguageConfig
from vlm2vla.errors import ModelError, ModelSchemaError
from vlm2vla.language import make_form
from vlm2vla.types import AnnotatedEpisode, AnnotatedSubtask, Episode, LabelSource, Provenance
from vlm2vla.vlm.answers import parse_answer
from vlm2vla.vlm.protocol import NO_USAGE, VLM, Estimate, Usage, VLMRequest

Replies = Mapping[str, Mapping[str, Any]]

# Stands in for the first pass where the second is only estimated.
_TYPICAL_DESCRIPTION = Description(
    objects=["object", "container"], events=[Event(step=0, what="The gripper moves. " * 4)] * 5, task_done=True
)


class GeminiAnnotator:
    """See `annotator.Annotator`; `paid`, so a run hands it a checkpoint (see `run.PaidAnnotator`)."""

    name: LabelSource = "gemini"
    paid = True

    def __init__(
        self, vlm: VLM, language: LanguageConfig, config: GeminiConfig, *, layout: SheetLayout = DEFAULT_LAYOUT
    ):
        """Annotate with `vlm`, write chunks as `language` says, show frames as `config` and `layout` say."""
        self.vlm, self.language, self.config, self.layout = vlm, language, config, layout
        self._form = make_form(language)

    def annotate(
        self,
        episode: Episode,
        *,
        span: tuple[int, int] | None = None,
        hint: str = "",
        checkpoint: Checkpoint | None = None,
    ) -> AnnotatedEpisode:
        """Label the episode or the span; replies that the checkpoint has are not asked for again.

        Raises:
            ModelError: As `VLM.answer`, or the answer cannot be an annotation (ModelSchemaError).
            AnnotationError: The span is not in the episode, or it has no camera.
            CorruptRecordError: A frame does not decode.
        """
        view = self.view(episode, span, hint)
        asked = _Asked(self.vlm, checkpoint)
        description: Description | None = None
        if self.config.passes == 2:
            description = asked.reply("describe", describe_request(view, self.config.thinking))
        segmentation = asked.reply("segment", segment_request(view, self.config.thinking, description))
        try:
            planned, mended = check_segmentation(segmentation, *view.span)
        except ModelSchemaError as error:
            asked.refuse("segment", error)
            raise
        subtasks = tuple(self._subtask(episode, index, row) for index, row in enumerate(planned, 1))
        return AnnotatedEpisode(
            episode.id, self._form.name, subtasks, (self._provenance(view, asked, mended, description),)
        )

    def requests(self, view: View, replies: Replies | None = None) -> tuple[VLMRequest, ...]:
        """What annotating would ask, when `replies` are kept already; a second pass is typical until there is a first.

        Raises:
            ModelSchemaError: A kept reply is damaged.
        """
        description, asked = None, []
        if self.config.passes == 2:
            request = describe_request(view, self.config.thinking)
            if kept := self._kept("describe", request, replies):
                description = parse_answer(kept["text"], request, NO_USAGE)
            else:
                asked, description = [request], _TYPICAL_DESCRIPTION
        request = segment_request(view, self.config.thinking, description)
        return tuple(asked) if self._kept("segment", request, replies) else (*asked, request)

    def estimate(self, view: View, *, count: bool = False, replies: Replies | None = None) -> Estimate:
        """What annotating takes, all passes together.

        Args:
            view: Of the episode.
            count: Let the provider count tokens, free of charge.
            replies: Replies that are kept from an earlier attempt (`Staged.replies`); they are not asked for again.
        """
        parts = [self.vlm.estimate(request, count=count) for request in self.requests(view, replies)]
        return Estimate(
            sum(part.input_tokens for part in parts),
            sum(part.output_tokens for part in parts),
            sum(part.cost_usd for part in parts),
            sum(part.worst_usd for part in parts),
            all(part.counted for part in parts),
        )

    def stop(self) -> None:
        """Send nothing more; requests under way still finish."""
        self.vlm.stop()

    def view(self, episode: Episode, span: tuple[int, int] | None = None, hint: str = "") -> View:
        """What the model is shown of an episode; errors as `annotate`."""
        return make_view(
            episode,
            max_frames=self.config.max_frames,
            rotation=self._form.rotation,
            span=span,
            hint=hint,
            layout=self.layout,
        )

    def _kept(self, name: str, request: VLMRequest, replies: Replies | None) -> Mapping[str, Any] | None:
        """The reply to exactly this request, if it is among `replies`."""
        reply = (replies or {}).get(name)
        return reply if reply is not None and reply["key"] == _fingerprint(request, self.vlm.model) else None

    def _subtask(self, episode: Episode, index: int, row: PlannedSubtask) -> AnnotatedSubtask:
        return AnnotatedSubtask(
            uid=machine_uid(index, episode.id, row.start_step),
            text=row.text,
            start_step=row.start_step,
            end_step=row.end_step,
            plan=row.plan,
            chunk=derive_chunk(episode, row.start_step, row.end_step, self.language, self._form),
            sources={"subtask": "gemini", "plan": "gemini", "chunk": "kinematic"},
        )

    def _provenance(
        self, view: View, asked: "_Asked", mended: tuple[str, ...], description: Description | None
    ) -> Provenance:
        paid = asked.paid
        settings = {
            "passes": self.config.passes,
            "thinking": self.config.thinking,
            "frames": list(view.steps),
            "camera": next(iter(view.episode.cameras)),
            "sheet": asdict(self.layout),
            "language": asdict(self.language),
            "span": list(view.span),
            "hint": view.hint,
            "mended": list(mended),
        }
        if description is not None and view.span[1] == len(view.episode):  # only then it has seen the end
            settings["task_done"] = description.task_done
        return Provenance(
            source="gemini",
            author=f"gemini annotator ({self.vlm.model})",
            created_at=now(),
            model=self.vlm.model,
            model_version=asked.model_version,
            prompt_hash=prompts_hash(),
            settings=settings,
            input_tokens=paid.input_tokens,
            output_tokens=paid.output_tokens,
            cost_usd=paid.cost_usd,
            seconds=round(asked.seconds, 3),
        )


class _Asked:
    """The replies for one episode: from the checkpoint where it has them, else asked for and kept."""

    def __init__(self, vlm: VLM, checkpoint: Checkpoint | None):
        self._vlm, self._checkpoint = vlm, checkpoint
        self._paid = Usage()
        self.seconds = 0.0
        self.model_version = ""

    @property
    def paid(self) -> Usage:
        """Everything paid for this annotation, refused replies too."""
        return self._checkpoint.paid if self._checkpoint else self._paid

    def reply(self, name: str, request: VLMRequest) -> Any:
        """The reply to `request` as its schema."""
        key = _fingerprint(request, self._vlm.model)
        stored = self._checkpoint.load(name, key) if self._checkpoint else None
        if stored is None:
            stored = self._ask(name, key, request)
        self.seconds += stored["seconds"]
        self.model_version = stored["model_version"]
        return parse_answer(stored["text"], request, NO_USAGE)

    def refuse(self, name: str, error: ModelError, usage: Usage = NO_USAGE) -> None:
        """Keep an unusable reply aside; without a checkpoint the error carries what was paid."""
        self._paid += usage
        if self._checkpoint:
            self._checkpoint.refuse(name, error, usage)
        else:
            error.details["usage"] = asdict(self._paid)

    def _ask(self, name: str, key: str, request: VLMRequest) -> dict[str, Any]:
        checkpoint, worst_usd = self._checkpoint, self._vlm.estimate(request).worst_usd

        def watch(event: str) -> None:
            if checkpoint:
                checkpoint.sent(name, worst_usd) if event == "sent" else checkpoint.unbilled()

        try:
            answer = self._vlm.answer(request, watch=watch)
        except ModelError as error:
            self.refuse(name, error, Usage(**error.details.get("usage", {})))
            raise
        self._paid += answer.usage
        row = {
            "text": answer.text,
            "model": answer.model,
            "model_version": answer.model_version,
            "seconds": answer.seconds,
        }
        if checkpoint:
            checkpoint.reply(name, key, answer.usage, row)
        return row


def _fingerprint(request: VLMRequest, model: str) -> str:
    """Equal for equal questions to equal models."""
    schema = json.dumps(request.schema.model_json_schema(), sort_keys=True) if request.schema else ""
    digest = hashlib.sha256("\0".join((model, request.thinking, schema, request.text)).encode())
    for image in request.images:
        digest.update(image.data)
    return digest.hexdigest()[:16]


def make_gemini_annotator(language: LanguageConfig, config: GeminiConfig) -> GeminiAnnotator:
    """The annotator on the real Gemini.

    Raises:
        ConfigError: No key, unknown model, a server that may not be asked.
    """
    from vlm2vla.vlm.gemini import GeminiVLM

    return GeminiAnnotator(GeminiVLM(config), language, config)
