"""Checks of the words: one language, objects that the instruction knows, gripper verbs that fit the gripper."""

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from vlm2vla.annotation.checks.findings import Finding
from vlm2vla.annotation.checks.recording import Recording
from vlm2vla.annotation.lexicon import (
    ADVERBS,
    ARTICLES,
    MANNER,
    NO_OBJECTS,
    PARTICLES,
    PRONOUNS,
    STOPS,
    is_english,
    verb_of,
    words_of,
)
from vlm2vla.types import AnnotatedEpisode, AnnotatedSubtask, Episode

_LETTERS = re.compile(r"[^\W\d_]+")
_NEAR_S = 0.6
_TAKES = re.compile(r"^(?:and |then )?(?:grasp|grab|grip|clasp|clutch|pinch|seize)\b", re.IGNORECASE)
_LETS_GO = re.compile(r"^(?:and |then )?(?:release|let go|ungrasp|drop)\b", re.IGNORECASE)
# Words of subtasks that name no object of the scene.
_KNOWN = NO_OBJECTS | ADVERBS | ARTICLES | MANNER | PARTICLES | PRONOUNS | STOPS


def check_language(annotated: AnnotatedEpisode) -> Iterator[Finding]:
    """Subtasks and plans are written in one language, in one alphabet."""
    for subtask in annotated.subtasks:
        where = (subtask.uid, subtask.start_step, subtask.end_step)
        for name, text in (("subtask", subtask.text), ("plan", subtask.plan)):
            if text.isascii():
                if name == "subtask" and text and not _reads_english(text):
                    yield Finding("warning", "language", f'"{text}" does not read like English.', *where)
                continue
            mixed = [word for word in _LETTERS.findall(text) if len(_scripts(word)) > 1]
            if mixed:
                message = f'"{mixed[0]}" in the {name} mixes letters of {" and ".join(sorted(_scripts(mixed[0])))}.'
                yield Finding("error", "mixed-letters", message, *where)
            elif foreign := _scripts(text) - {"Latin"}:
                message = f"The {name} is written in {' and '.join(sorted(foreign))} letters, the plans are English."
                yield Finding("warning", "language", message, *where)
            elif name == "subtask" and not _reads_english(text):
                yield Finding("warning", "language", f'"{text}" does not read like English.', *where)


def check_objects(subtasks: Sequence[AnnotatedSubtask], episode: Episode) -> Iterator[Finding]:
    """Objects that the subtasks name occur in the instruction, or in another wording of it; each is said once."""
    known = _vocabulary((episode.instruction, *episode.paraphrases))
    if not known:
        return
    said: set[str] = set()
    for subtask in subtasks:
        content = _content(subtask.text) if subtask.text.isascii() else ()
        unknown = [word for word in content if word not in said and not _is_known(word, known)]
        said.update(unknown)
        if unknown:
            names = ", ".join(f'"{word}"' for word in unknown)
            verb = "does" if len(unknown) == 1 else "do"
            message = f'{names} {verb} not occur in the instruction "{episode.instruction}".'
            yield Finding("warning", "object-unknown", message, subtask.uid, subtask.start_step, subtask.end_step)


def check_gripper_verb(subtask: AnnotatedSubtask, recording: Recording) -> Iterator[Finding]:
    """A subtask that grasps or releases has the gripper do so."""
    takes, lets_go = _TAKES.match(subtask.text), _LETS_GO.match(subtask.text)
    if not (takes or lets_go):
        return
    wanted, other = ("close", "open") if takes else ("open", "close")
    start, end = subtask.start_step, subtask.end_step
    near = max(1, round(_NEAR_S * recording.rate_hz))
    if wanted in {event for _, event in recording.events(start - near, end + near)}:
        return
    opposite = other in {event for _, event in recording.events(start, end)}
    done = f"{other}s instead" if opposite else f"does not {wanted} here"
    message = f'"{subtask.text}": the gripper {done}.'
    yield Finding("error" if opposite else "warning", "subtask-gripper", message, subtask.uid, start, end)


@lru_cache(maxsize=16384)
def _reads_english(text: str) -> bool:
    return is_english(text)


@lru_cache(maxsize=4096)
def _scripts(text: str) -> frozenset[str]:
    """Names of the alphabets of a text's letters; Chinese and the Japanese alphabets count as one."""
    names = {unicodedata.name(letter, "").split(" ", 1)[0].capitalize() for letter in text if letter.isalpha()}
    east = {"Cjk", "Hiragana", "Katakana", "Ideographic"}
    return frozenset(("East Asian" if name in east else name) for name in names if name)


@lru_cache(maxsize=16384)
def _vocabulary(texts: tuple[str, ...]) -> frozenset[str]:
    """Stems of the words of the instruction; empty when none of its wordings is English."""
    if not any(is_english(text) for text in texts):
        return frozenset()
    return frozenset(_stem(word.lower()) for text in texts for word in words_of(text))


@lru_cache(maxsize=16384)
def _content(text: str) -> tuple[str, ...]:
    """Words that may name an object."""
    return tuple(
        word
        for word in dict.fromkeys(word.lower() for word in words_of(text))
        if word[0].isalpha() and word not in _KNOWN and not verb_of(word) and not word.endswith("ly")
    )


@lru_cache(maxsize=65536)
def _is_known(word: str, known: frozenset[str]) -> bool:
    stem = _stem(word)
    # A close match forgives the typing errors of crowd-written instructions.
    return stem in known or bool(difflib.get_close_matches(stem, known, n=1, cutoff=0.8))


def _stem(word: str) -> str:
    if len(word) > 4 and word.endswith("es") and word[-3] in "sxzho":
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
