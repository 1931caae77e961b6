"""What an instruction is about: its verb, the object, the place, in the instruction's own words.

A handful of rules for the short imperative sentences of robot data sets, not a grammar of English. It does not know
what is in the image, and it corrects no spelling: an unknown sentence gives the generic task ("the object").
"""

import difflib
from dataclasses import dataclass, replace
from functools import lru_cache

from vlm2vla.annotation.lexicon import (
    ADVERBS,
    ARTICLES,
    AWAY,
    KINDS,
    MANNER,
    PARTICLES,
    PLEASANTRIES,
    PRONOUNS,
    RELATIVE,
    STOPS,
    STRONG,
    TOOL,
    TOWARDS,
    TaskKind,
    is_english,
    verb_of,
    words_of,
)

_MAX_NOUN_WORDS = 7
_MAX_TAIL_WORDS = 8


@dataclass(frozen=True)
class Task:
    """An instruction taken apart.

    Attributes:
        kind: "place" moves the object somewhere, "pick" takes it, "contact" acts on it where it is (turn, push, open).
        verb: As a subtask begins with it ("Turn", "Pick up"); "" when unknown.
        object: Noun phrase without article ("carrot"); "object" when unknown.
        place: Noun phrase of where it goes, or "".
        preposition: How a subtask leads to the place ("to", "next to", "under").
        tail: Rest of a contact task ("vertical to front"), or "".
        tool: What it is done with, or "".
        understood: False when the rules did not apply and the words are generic.
    """

    kind: TaskKind = "unknown"
    verb: str = ""
    object: str = "object"
    place: str = ""
    preposition: str = "to"
    tail: str = ""
    tool: str = ""
    understood: bool = False

    @property
    def the_object(self) -> str:
        """The object with its article."""
        return with_article(self.object)

    @property
    def to_place(self) -> str:
        """Where it goes ("to the plate"), or an empty text."""
        return f"{self.preposition} {with_article(self.place)}" if self.place else ""

    @property
    def action(self) -> str:
        """The whole of a contact task as a subtask ("Turn the lever vertical to front")."""
        return " ".join(part for part in (self.verb or "Handle", self.the_object, self.tail) if part)


def with_article(noun: str) -> str:
    """Put "the" before a noun ("the carrot"); words that take no article stay as they are."""
    first = noun.split(" ", 1)[0].lower()
    return noun if first in ARTICLES or first in ("both", "all", "each", "every") else f"the {noun}"


@lru_cache(maxsize=65536)
def parse_task(instruction: str) -> Task:
    """Verb, object and place of an instruction; generic words where the rules do not apply. Never raises."""
    text = instruction.strip()
    if not is_english(text):
        return Task()
    words = words_of(text.lower() if text.isupper() else text)
    start = _first_verb(words)
    if start is None:
        return _without_verb(words)
    return _Reader(words, start).task()


def _first_verb(words: list[str]) -> int | None:
    """Index of the verb that the sentence is about."""
    for index, word in enumerate(words):
        before = words[index - 1].lower() if index else ""
        if verb_of(word) and before not in ARTICLES:
            return index
    for index, word in enumerate(words[:2]):  # crowd-typed: "pu the carrot", "plce"
        if word.lower() in PLEASANTRIES or not word.isalpha() or len(words) < 3:
            continue
        if any(other.lower() in ARTICLES for other in words[index + 1 : index + 2]):
            close = difflib.get_close_matches(word.lower(), KINDS, n=1, cutoff=0.7)
            if close:
                words[index] = close[0]
                return index
    return None


def _without_verb(words: list[str]) -> Task:
    """Read a sentence such as "carrot on plate" as a place task."""
    reader = _Reader(["put", *words], 0)
    task = reader.task()
    return task if task.understood and task.place else Task()


class _Reader:
    """Walks once over the words behind the verb."""

    def __init__(self, words: list[str], start: int):
        self.words = words
        self.low = [word.lower() for word in words]
        self.at = start

    def task(self) -> Task:
        verb = verb_of(self.words[self.at])
        kind = KINDS[verb]
        self.at += 1
        if self.at < len(self.low) and self.low[self.at] in PARTICLES and not self._ends(self.at + 1):
            verb = f"{verb} {self.low[self.at]}"
            self.at += 1
        noun = self._noun()
        if not noun or noun.lower() in PRONOUNS:
            return Task(kind, verb.capitalize(), understood=False)
        task = Task(kind, verb.capitalize(), noun, understood=True)
        return self._contact(task) if kind == "contact" else self._destination(task)

    def _ends(self, index: int) -> bool:
        return index >= len(self.low) or not self.low[index][0].isalnum()

    def _noun(self) -> str:
        """The noun phrase here, without article; the position moves behind it."""
        while not self._ends(self.at) and self.low[self.at] in ARTICLES:
            self.at += 1
        found: list[str] = []
        while not self._ends(self.at) and len(found) < _MAX_NOUN_WORDS:
            word = self.low[self.at]
            if word == "of" and found:
                pass
            elif word == "and" and found and not self._ends(self.at + 1) and not verb_of(self.low[self.at + 1]):
                if self.low[self.at + 1] in STOPS:
                    break
            elif word in STOPS or (found and word in MANNER and self._manner_here()):
                break
            found.append(self.words[self.at])
            self.at += 1
        while found and found[-1].lower() in ARTICLES | {"of", "and"}:
            found.pop()
        return " ".join(found)

    def _manner_here(self) -> bool:
        """A manner word ends a noun phrase unless a noun follows ("left burner")."""
        following = self.at + 1
        return self._ends(following) or self.low[following] in STOPS | MANNER | ARTICLES or self.low[self.at] in ADVERBS

    def _contact(self, task: Task) -> Task:
        """What follows the object of a contact verb says how, with what, or where it was."""
        tail: list[str] = []
        tool = ""
        while not self._ends(self.at) and len(tail) < _MAX_TAIL_WORDS:
            word = self.low[self.at]
            if word in RELATIVE or word in ("and", "then"):
                break
            if word in TOOL:
                self.at += 1
                tool = self._noun()
                continue
            tail.append(word)
            self.at += 1
        while tail and tail[-1] in STOPS | ARTICLES:
            tail.pop()
        return replace(task, tail=" ".join(tail), tool=tool)

    def _destination(self, task: Task) -> Task:
        """Where the object goes: the first place, unless a later one is said with to, into, onto."""
        places: list[tuple[bool, str, str]] = []
        placing = task.kind == "place"
        relative = False
        while self.at < len(self.low):
            word = self.low[self.at]
            self.at += 1
            if word in RELATIVE:
                relative = True
            elif verb_of(word):
                placing, relative = placing or KINDS[verb_of(word)] == "place", False
            elif word in AWAY or (word == "out" and self.at < len(self.low) and self.low[self.at] == "of"):
                self.at += word == "out"
                self._noun()
            elif word in TOWARDS:
                preposition = self._preposition(word)
                noun = self._noun()
                if noun and noun.lower() not in PRONOUNS and not relative and (placing or word in STRONG):
                    places.append((word in STRONG, preposition, noun))
                relative = False
        if not places:
            return task
        strong = next((entry for entry in reversed(places) if entry[0]), places[0])
        return replace(task, kind="place", preposition=strong[1], place=strong[2])

    def _preposition(self, word: str) -> str:
        """Takes the rest of "next to", "in front of", "on top of"; gives the subtask's word for it."""
        rest = self.low[self.at : self.at + 3]
        if word == "next" and rest[:1] == ["to"]:
            self.at += 1
        elif word == "in" and rest[:2] == ["front", "of"]:
            self.at += 2
            return "in front of"
        elif word in ("on", "onto") and rest[:2] == ["top", "of"]:
            self.at += 2
            return "on top of"
        elif word in ("to", "on") and rest[:2] == ["the", "top"] and rest[2:] != ["of"]:
            self.at += 1
        return TOWARDS[word]
