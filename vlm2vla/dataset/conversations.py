"""The stream that every conversation format is written from: selected samples with their image files.

Knows no file format. One unreadable frame or odd label costs that sample only; it is counted and named.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from vlm2vla.dataset.folder import ImageFiles
from vlm2vla.dataset.samples import Sample, samples_of
from vlm2vla.dataset.select import LabelledEpisode, Selection
from vlm2vla.errors import ExportError, NotFoundError, TrajectoryError, VLM2VLAError
from vlm2vla.types import AnnotatedEpisode, Episode

# Why a sample is left out that may be there the next time: a disk that was not connected, a video being copied.
UNREADABLE = "frame not readable"

ExtraSamples = Callable[[AnnotatedEpisode, Episode], Iterable[Sample]]


@dataclass(frozen=True)
class Conversation:
    """A sample that is ready to be written.

    Attributes:
        sample: The turns and where they come from.
        paths: Image files in the order of `sample.images`, relative to the export folder.
    """

    sample: Sample
    paths: tuple[str, ...]


def conversations(
    items: Iterable[LabelledEpisode],
    selection: Selection,
    images: ImageFiles,
    *,
    joined: bool,
    extra: ExtraSamples | None = None,
) -> Iterator[Conversation]:
    """Conversations of all exportable labels, one episode in memory at a time.

    Args:
        items: Labels and recordings, any status.
        selection: Filters them and keeps the books.
        images: Where the frames go.
        joined: As in `samples_of`.
        extra: Makes further samples from an episode's selected labels.
    """
    for item in selection.of(items):
        if not item.episode.cameras:
            selection.leave_out("recording without images", item.episode.id)
            continue
        try:
            samples = list(samples_of(item.annotated, item.episode, joined=joined))
            samples.extend(extra(item.annotated, item.episode) if extra is not None else ())
        except VLM2VLAError as error:
            selection.leave_out("no conversation possible", f"{item.episode.id}: {error}")
            continue
        for sample in samples:
            try:
                _check_images(sample)
                paths = tuple(images.path(ref, item.episode) for ref in sample.images)
            except (TrajectoryError, NotFoundError) as error:
                selection.leave_out(UNREADABLE, f"{sample.id}: {error}")
            except ExportError as error:
                selection.leave_out("sample not writable", f"{sample.id}: {error}")
            else:
                yield Conversation(sample, paths)


def refuse_nothing(written: int, selection: Selection) -> None:
    """Stop an export that would be empty.

    Raises:
        ExportError: Nothing was written; the message says what was left out and why.
    """
    if written:
        return
    reasons = ", ".join(f"{reason}: {number}" for reason, number in selection.left_out.most_common())
    hint = "" if selection.include_unreviewed else "; accept labels in the studio, or add --include-unreviewed"
    first = f"; first problem: {selection.problems[0]}" if selection.problems else ""
    raise ExportError(f"nothing to export ({reasons or 'no annotated episodes'}){first}{hint}")


def _check_images(sample: Sample) -> None:
    shown = [(turn.role, turn.images) for turn in sample.turns if turn.images]
    if sum(number for _, number in shown) != len(sample.images):
        raise ExportError(f"its turns show {sum(n for _, n in shown)} images, it has {len(sample.images)}")
    first = next((turn for turn in sample.turns if turn.role == "user"), None)
    if first is None or first.images != len(sample.images):
        raise ExportError("all its images must stand in the first user turn")
