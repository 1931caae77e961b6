"""What an answer says in action language, and what to ask next: the three levels inside a conversation. Pure."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from vlm2vla.embodiment import STRETCH_RE1
from vlm2vla.errors import ActionParseError, AnnotationError
from vlm2vla.language import dialogue, form, measure, parse_measured, parse_plan, parse_subtasks
from vlm2vla.types import Level

WORDS, TOKENS = "rows:0.5cm", "tokens:0.5cm"
_TASK = re.compile(r"^Task: (?P<task>.+)$", re.MULTILINE)


def asked_level(question: str) -> Level | None:
    """Which level of the dialogue a question asks for; None where it asks for something else."""
    last = question.strip().splitlines()[-1].strip() if question.strip() else ""
    if not last:
        return None
    if last in (chunk_question(WORDS), chunk_question(TOKENS)):
        return "chunk"
    if last == _last_line(list_question("x")):
        return "subtask"
    return "plan" if last == _last_line(plan_question("x", "y")) else None


@lru_cache(maxsize=1)
def system_text() -> str:
    """The standing order of every action dialogue."""
    return dialogue("x", STRETCH_RE1, form(WORDS))[0].text


def list_question(task: str) -> str:
    """Asks for the subtasks of a task."""
    return dialogue(task, STRETCH_RE1, form(WORDS))[-1].text


def plan_question(task: str, subtask: str, *, first: bool = True) -> str:
    """Asks for the motion plan of a subtask; `first` where the list of subtasks was not asked for before."""
    return dialogue(task, STRETCH_RE1, form(WORDS), subtasks=() if first else (subtask,), subtask=subtask)[-1].text


def chunk_question(form_name: str) -> str:
    """Asks to write the plan that was just said as an action chunk."""
    return dialogue("x", STRETCH_RE1, form(form_name), subtask="y", plan="z")[-1].text


def next_question(question: str, answers: list[str], forms: Sequence[str] = ()) -> str:
    """The question of the next level, "" where there is none.

    Args:
        question: What was asked.
        answers: From left to right; the list of subtasks is taken from the rightmost one that is one.
        forms: Action forms of the models; tokens are asked for where all of them write in tokens.
    """
    level = asked_level(question)
    if level == "plan":
        return chunk_question(TOKENS if forms and all(name.startswith("tokens") for name in forms) else WORDS)
    task = _TASK.search(question)
    if level != "subtask" or not task:
        return ""
    for answer in reversed(answers):
        try:
            return plan_question(task["task"], parse_subtasks(answer)[0], first=False)
        except (ActionParseError, AnnotationError):
            continue
    return ""


def said_in_actions(question: str, answer: str, form_name: str = "") -> dict[str, Any] | None:
    """What an answer says when it is read as the robot would read it; None where no action was asked for.

    Args:
        question: What was asked.
        answer: What was answered.
        form_name: Action form in which the model was trained, "" where nobody knows.

    Returns:
        {"level", "ok", "text"}: what it says in words with numbers, or why it cannot be read.
    """
    level = asked_level(question)
    if level is None or not answer.strip():
        return None
    tokens = form_name if form_name.startswith("tokens") else TOKENS
    names = (tokens, WORDS) if question.strip() == chunk_question(TOKENS) else (WORDS, tokens)
    try:
        return {"level": level, "ok": True, "text": _says(level, answer, names)}
    except (ActionParseError, AnnotationError) as error:
        return {"level": level, "ok": False, "text": f"cannot be read as {_NAMES[level]}: {error}"}


_NAMES = {"subtask": "a list of subtasks", "plan": "a motion plan", "chunk": "an action chunk"}


def _says(level: Level, answer: str, names: tuple[str, str]) -> str:
    if level == "subtask":
        count = len(parse_subtasks(answer))
        return f"{count} subtask{'' if count == 1 else 's'}"
    if level == "plan":
        return _plan_says(answer.strip())
    rows = _rows(answer, names)
    grip = "open" if rows[-1, -1] >= 0.5 else "closed"
    total = rows[:, :-1].sum(axis=0)
    return f"{len(rows)} row{'' if len(rows) == 1 else 's'}: {measure(total)}, gripper {grip} at the end"


def _plan_says(plan: str) -> str:
    """A plan in directions alone, or with centimetres; the problem is told of the former."""
    try:
        count, total = len(parse_plan(plan)), ""
    except ActionParseError as problem:
        try:
            moved = parse_measured(plan)
        except ActionParseError:
            raise problem from None
        count, total = plan.count(", then ") + 1, f": {measure(moved[:6])} in all"
    return f"a motion plan of {count} phrase{'' if count == 1 else 's'}{total}"


def _rows(answer: str, names: tuple[str, str]) -> np.ndarray:
    """[H, 4 or 7] of a chunk in either form; the problem is told of the form that was asked for."""
    asked, other = (form(name) for name in names)
    try:
        rows = asked.parse(answer).rows
    except ActionParseError:
        try:
            rows = other.parse(answer).rows
        except ActionParseError:
            rows = asked.parse(answer).rows
    if not len(rows):
        raise ActionParseError("a chunk has one row at least", text=answer, position=0)
    return rows


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].strip()
