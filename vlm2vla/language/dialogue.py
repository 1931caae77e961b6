"""The conversation of the three levels, the same for training samples and for the live policy.

    system
    user       [image] task: list the subtasks       -> assistant  1. Grasp the carrot ...
    user       current subtask: which directions?    -> assistant  move down and slightly forward, ...
    user       write it as rows                      -> assistant  [[2.5, 0.0, -5.0, 1], ...]

A dialogue ends with the first answer that is missing, so the live policy passes what it has and sends the open
turn. The words are text files in prompts/; `prompt_hash` says which wording a label or a training run used.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from string import Template
from typing import Literal

from vlm2vla.embodiment import Embodiment
from vlm2vla.errors import ActionParseError, AnnotationError, NotFoundError
from vlm2vla.language.forms import ActionForm
from vlm2vla.language.scan import opening

MAX_SUBTASKS = 20
"""Most subtasks of one task."""
_ITEM = re.compile(r"\s*(?:(\d{1,3})[.)]|[-*\u2022])\s+(.*\S)\s*")


@dataclass(frozen=True)
class Turn:
    """One message.

    Attributes:
        role: Who speaks.
        text: What is said.
        images: How many images are shown before the text.
    """

    role: Literal["system", "user", "assistant"]
    text: str
    images: int = 0


def dialogue(
    instruction: str,
    embodiment: Embodiment,
    action_form: ActionForm,
    *,
    subtasks: Sequence[str] = (),
    subtask: str = "",
    plan: str | None = "",
    chunk: str = "",
) -> tuple[Turn, ...]:
    """The conversation over one image, as far as the answers go.

    Args:
        instruction: The task.
        embodiment: Whose axes are explained.
        action_form: Form that is asked for; `chunk` must be in it.
        subtasks: All subtasks of the task. Without them, but with `subtask`, the conversation starts at the plan.
        subtask: The current one.
        plan: Motion plan of the current subtask; None leaves that level out and asks for the chunk at once (the
            ablation without plans).
        chunk: Action text of the current subtask.

    Raises:
        AnnotationError: No instruction, a later answer without the earlier one, or more than MAX_SUBTASKS.
    """
    if not instruction.strip():
        raise AnnotationError("a dialogue needs an instruction")
    if (plan and not subtask) or (chunk and not plan and plan is not None) or (plan is None and not subtask):
        raise AnnotationError("a plan needs its subtask, and a chunk needs its plan")
    task = _line(instruction)
    ask = "plan" if plan is not None else "chunk"
    chunk_words = _ask_chunk(action_form) if plan is None else ""
    turns = [_system(embodiment)]
    if subtasks or not subtask:
        turns.append(Turn("user", _fill("subtasks", instruction=task), images=1))
        if not subtasks:
            return tuple(turns)
        turns.append(Turn("assistant", verbalize_subtasks(subtasks)))
        if not subtask:
            return tuple(turns)
        turns.append(Turn("user", _fill(ask, subtask=_line(subtask), words=chunk_words)))
    else:
        first = _fill(f"{ask}_first", instruction=task, subtask=_line(subtask), words=chunk_words)
        turns.append(Turn("user", first, images=1))
    if plan:
        turns += [Turn("assistant", plan), Turn("user", _ask_chunk(action_form))]
    if chunk:
        turns.append(Turn("assistant", chunk))
    return tuple(turns)


def completed_dialogue(
    instruction: str, subtask: str, embodiment: Embodiment, completed: bool | None
) -> tuple[Turn, ...]:
    """Two images, before and now: is the subtask completed? Without the answer where `completed` is None."""
    question = Turn("user", _fill("completed", instruction=_line(instruction), subtask=_line(subtask)), images=2)
    answer = () if completed is None else (Turn("assistant", "yes" if completed else "no"),)
    return (_system(embodiment), question, *answer)


def direction_dialogue(embodiment: Embodiment, direction: Literal["left", "right", "none"] | None) -> tuple[Turn, ...]:
    """Two images, before and a moment later: did the gripper move left, right or neither? Open where None.

    Raises:
        AnnotationError: Another direction.
    """
    if direction not in ("left", "right", "none", None):
        raise AnnotationError(f"the direction is left, right or none, not {direction!r}")
    answer = () if direction is None else (Turn("assistant", direction),)
    return (_system(embodiment), Turn("user", _fill("direction"), images=2), *answer)


def verbalize_subtasks(subtasks: Sequence[str]) -> str:
    """A numbered list, one subtask a line; `parse_subtasks` is the inverse.

    Raises:
        AnnotationError: None, an empty one, or more than MAX_SUBTASKS.
    """
    lines = [_line(subtask) for subtask in subtasks]
    if not lines or not all(lines) or len(lines) > MAX_SUBTASKS:
        raise AnnotationError(f"subtasks are 1 to {MAX_SUBTASKS} texts, none of them empty")
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def parse_subtasks(text: str) -> tuple[str, ...]:
    """The subtasks of a numbered (or bulleted) list; lines in front and behind that are no items are ignored.

    Raises:
        ActionParseError: No items, too many, or numbers that do not count 1, 2, 3 ...
    """
    opening(text)
    found: list[str] = []
    position = 0
    for line in text.splitlines(keepends=True):
        if match := _ITEM.fullmatch(line):
            if match.group(1) and int(match.group(1)) != len(found) + 1:
                reason = f"expected item {len(found) + 1} of the numbered list"
                raise ActionParseError(reason, text=text, position=position)
            if len(found) == MAX_SUBTASKS:
                raise ActionParseError(f"more than {MAX_SUBTASKS} subtasks", text=text, position=position)
            found.append(match.group(2))
        position += len(line)
    if not found:
        raise ActionParseError("expected a numbered list of subtasks", text=text, position=0)
    return tuple(found)


def prompt_text(name: str) -> str:
    """The prompt file `name`.txt as it is.

    Raises:
        NotFoundError: No such prompt.
    """
    return _prompt(name)


def prompt_names() -> tuple[str, ...]:
    """Names of all prompt files."""
    folder = resources.files("vlm2vla.language") / "prompts"
    return tuple(sorted(file.name.removesuffix(".txt") for file in folder.iterdir() if file.name.endswith(".txt")))


def prompt_hash(*names: str) -> str:
    """12 hex digits that change when one of the named prompts (all without names) changes.

    Raises:
        NotFoundError: No such prompt.
    """
    digest = hashlib.sha256()
    for name in sorted(names or prompt_names()):
        digest.update(f"{name}\0{_prompt(name)}\0".encode())
    return digest.hexdigest()[:12]


@lru_cache(maxsize=64)
def _prompt(name: str) -> str:
    file = resources.files("vlm2vla.language") / "prompts" / f"{name}.txt"
    if not re.fullmatch(r"\w+", name) or not file.is_file():
        raise NotFoundError(f"no prompt {name!r}; there are {', '.join(prompt_names())}")
    return file.read_text(encoding="utf-8").strip()


def _fill(name: str, **values: str) -> str:
    return Template(_prompt(name)).substitute(values)


def _line(text: str) -> str:
    return " ".join(text.split())


def _system(embodiment: Embodiment) -> Turn:
    return Turn("system", _fill("system", robot=embodiment.title, frame=embodiment.frame_text))


def _ask_chunk(action_form: ActionForm) -> str:
    kind, *steps = action_form.name.split(":")
    units = {f"step_{unit}": step.removesuffix(unit) for unit, step in zip(("cm", "deg"), steps, strict=False)}
    return _fill(f"chunk_{kind}", **units)
