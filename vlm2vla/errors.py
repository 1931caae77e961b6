"""Every error the library raises on purpose.

    VLM2VLAError
    ├── ConfigError              a setting or file name that cannot be right
    ├── WorkspaceError           the artefact folder cannot be used as it is
    ├── NotFoundError            an episode, revision, model or file that is not there
    ├── TrajectoryError          a recording that cannot be read
    │   ├── FormatError          no reader knows this folder or file
    │   ├── CorruptRecordError   damaged bytes: checksum, truncation, broken video
    │   ├── UnsafePickleError    a pickle that asks for more than numbers
    │   └── InvalidEpisodeError  readable, but wrong: shapes, NaN, empty instruction, units
    ├── ActionParseError         action text that is not in the action language
    ├── AnnotationError          a label could not be made, changed or checked
    │   ├── EditError            an edit that the annotation does not allow
    │   └── StaleRevisionError   somebody saved in between
    ├── ModelError               a VLM that did not answer as asked
    │   ├── ModelBlockedError    refused by the provider's safety rules
    │   ├── ModelTruncatedError  stopped before the answer was complete
    │   ├── ModelSchemaError     an answer that does not fit the schema
    │   ├── ModelUnavailableError  network, quota, server fault, timeout
    │   ├── ModelInputError      a prompt or an image that the model cannot take
    │   ├── ModelLoadError       weights that cannot be read, or do not fit
    │   ├── ModelFaultError      weights that compute NaN, or memory that ran out
    │   └── SpendingCapError     the next call would pass --max-cost
    ├── RobotError               a robot that cannot be reached, seen or trusted
    │   └── ActionRefusedError   an action that a safety rule does not let through
    ├── ExportError              a data set that cannot be written
    ├── TrainingError            a run that cannot start or go on: samples, checkpoints, loss
    └── EvaluationError          a VQA set, a stored answer or a result that cannot be used

A message says what is wrong, where, and how to fix it. The CLI prints it in one line; the studio shows it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class VLM2VLAError(Exception):
    """Base of all errors that the library raises on purpose."""


class ConfigError(VLM2VLAError):
    """A setting cannot be right; the message names it and offers the closest valid value."""


class WorkspaceError(VLM2VLAError):
    """The workspace folder cannot be created, read or written."""


class NotFoundError(VLM2VLAError):
    """Something was asked for by a name that nothing here has."""


class TrajectoryError(VLM2VLAError):
    """A recording cannot be read.

    Attributes:
        path: File or folder at fault.
        record: Which record, episode or row in it, or None for the whole file.
    """

    def __init__(self, message: str, *, path: Path | str = "", record: int | str | None = None):
        super().__init__(message)
        self.path = str(path)
        self.record = record

    def __str__(self) -> str:
        where = self.path + (f", record {self.record}" if self.record is not None else "")
        return f"{super().__str__()} ({where})" if where else super().__str__()

    def as_row(self) -> dict[str, Any]:
        """One row of an import report: kind, message, path, record."""
        return {
            "kind": type(self).__name__,
            "message": super().__str__(),
            "path": self.path,
            "record": self.record,
        }


class FormatError(TrajectoryError):
    """No reader recognises the folder or file."""


class CorruptRecordError(TrajectoryError):
    """Bytes are damaged: wrong checksum, truncated record, video that does not decode."""


class UnsafePickleError(TrajectoryError):
    """A pickle asks for a global that is not on the allow-list of plain numeric types."""


class InvalidEpisodeError(TrajectoryError):
    """The recording is readable but cannot be an episode: shapes, NaN, units, no instruction."""


class ActionParseError(VLM2VLAError):
    """Action text is not in the action language.

    Attributes:
        text: The text that was given (shortened).
        position: Index of the first character that does not fit.
        reason: What was expected there.
    """

    def __init__(self, reason: str, *, text: str = "", position: int = 0):
        near = text[max(0, position - 12) : position + 12]
        super().__init__(f"{reason} at character {position}" + (f" near {near!r}" if near else ""))
        self.reason = reason
        self.text = text[:500]
        self.position = position


class AnnotationError(VLM2VLAError):
    """A label could not be made, changed or checked."""


class EditError(AnnotationError):
    """The annotation does not allow this edit; nothing was changed."""


class StaleRevisionError(AnnotationError):
    """Somebody saved a newer revision; nothing was changed.

    Attributes:
        episode_id: Whose annotation it is.
        base: Revision that the refused change was made on.
        head: Newest revision in the store.
    """

    def __init__(self, episode_id: str, base: int, head: int, author: str = ""):
        who = f" by {author}" if author else ""
        super().__init__(f"{episode_id}: revision {head}{who} was saved after revision {base} that you edited")
        self.episode_id, self.base, self.head = episode_id, base, head


class ModelError(VLM2VLAError):
    """A VLM did not answer as asked.

    Attributes:
        details: Plain values for the log and the staged file (status code, finish reason, ...).
    """

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None):
        super().__init__(message)
        self.details = dict(details or {})


class ModelBlockedError(ModelError):
    """The provider's safety rules refused the prompt or the answer."""


class ModelTruncatedError(ModelError):
    """The answer stopped at the token limit, so it is not complete."""


class ModelSchemaError(ModelError):
    """The answer is not valid JSON for the schema, or breaks a rule the schema cannot say."""


class ModelUnavailableError(ModelError):
    """The model could not be reached: network, quota, server fault, timeout."""


class ModelInputError(ModelError):
    """The model cannot take the prompt: too long, an image that is none or too large, or that it cannot see."""


class ModelLoadError(ModelError):
    """Weights cannot be read, do not fit each other, or change nothing."""


class ModelFaultError(ModelError):
    """The computation broke down: NaN, or no memory left. The model goes on with the next question."""


class SpendingCapError(ModelError):
    """The next call could pass the spending cap; what is already paid for is kept."""


class RobotError(VLM2VLAError):
    """A robot cannot be reached, seen or trusted; nothing moves until that is mended."""


class ActionRefusedError(RobotError):
    """A safety rule does not let an action through; nothing moved.

    Attributes:
        rule: Name of the rule.
    """

    def __init__(self, message: str, *, rule: str = ""):
        super().__init__(message)
        self.rule = rule


class ExportError(VLM2VLAError):
    """A data set cannot be written as asked."""


class TrainingError(VLM2VLAError):
    """A training run cannot start or go on; what it has written stays, and --resume goes on from it."""


class EvaluationError(VLM2VLAError):
    """A VQA set, a stored answer or a result cannot be used as asked."""
