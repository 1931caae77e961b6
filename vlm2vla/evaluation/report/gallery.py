"""Questions on which base and fine-tuned model differ, with their pictures: what was lost, and what was won."""

import contextlib
import io
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from vlm2vla.errors import EvaluationError
from vlm2vla.evaluation.answers import read_answers
from vlm2vla.evaluation.report.document import Example, Gallery, Section
from vlm2vla.evaluation.report.evidence import Stored
from vlm2vla.evaluation.report.measured import set_of
from vlm2vla.evaluation.report.weights import answers_of
from vlm2vla.evaluation.retention import Flip
from vlm2vla.evaluation.vqa import gallery

_THUMBNAIL_PX = 240


def galleries(
    compared: Sequence[Stored], count: int, places: tuple[Path, ...], brief: Collection[str] = ()
) -> Iterator[Section]:
    """What each model lost and won, with pictures, once however often it was compared.

    Sets whose files are not here any more are left out.

    Args:
        compared: Comparisons with a base.
        count: Examples of each kind; half as many of those that were won.
        places: Where sets are looked for.
        brief: Models that have no gallery.
    """
    told: set[tuple[Path, bool]] = set()
    for stored in compared if count else ():
        vqa = set_of(stored, places)
        if vqa is None:
            continue
        base = stored.value["base"]
        names = [name for name in stored.value["retention"] if name not in brief]
        answers = {
            name: {answer.key: answer for answer in read_answers(answers_of(stored, name))} for name in (base, *names)
        }
        for name in names:
            this = answers_of(stored, name), stored.value["circular"]
            if this in told:
                continue
            told.add(this)
            shown = gallery(vqa, answers[base], answers[name], circular=stored.value["circular"])
            lost, won = ([flip for flip in shown if flip.lost is side] for side in (True, False))
            blocks = (
                *_block(lost, count, base, name, f"{base} right and {name} wrong"),
                *_block(won, count // 2, base, name, f"{base} wrong and {name} right"),
            )
            if blocks:
                yield Section(f"Lost and won by {name}: {stored.value['set']}", blocks)


def _block(flips: Sequence[Flip], count: int, base: str, name: str, which: str) -> Iterator[Gallery]:
    examples = tuple(_example(flip, base, name) for flip in _varied(flips, count))
    if examples:
        yield Gallery(f"{which}: {len(flips)} questions, {len(examples)} of them:", examples)


def _varied(flips: Sequence[Flip], count: int) -> list[Flip]:
    """Some of them, skill by skill in turn."""
    by_skill: dict[str, list[Flip]] = {}
    for flip in flips:
        by_skill.setdefault(flip.base.item.skill, []).append(flip)
    chosen: list[Flip] = []
    while len(chosen) < min(count, len(flips)):
        chosen += [skill.pop(0) for skill in by_skill.values() if skill]
    return chosen[:count]


def _example(flip: Flip, base: str, tuned: str) -> Example:
    item = flip.base.item
    image, mime_type = b"", ""
    if item.pictures:
        with contextlib.suppress(EvaluationError, OSError):
            image, mime_type = _small(item.pictures[-1].read().data), "image/jpeg"
    lines = (
        ("question", item.question),
        ("right", item.answers[0]),
        (base, flip.base.answer.strip()),
        (tuned, flip.tuned.answer.strip()),
    )
    return Example(", ".join(part for part in (item.skill, item.language, item.id) if part), image, mime_type, lines)


def _small(data: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        picture = image.convert("RGB")
    picture.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80)
    return out.getvalue()
