"""Numbers <-> words. Pure: no files but its own prompts, no model, no robot.

Action text (`form`, `make_form`, `ActionForm`), the merging rule (`merge_steps`), motion plans (`plan_of`,
`verbalize_plan`, `parse_plan`; with amounts `measured_plan`), words in free text (`find_directions`,
`find_gripper_words`), and the conversation that asks for all of it (`dialogue`).
Centimetres and degrees exist only here; arrays are metres and radians.
"""

from vlm2vla.language.dialogue import (
    MAX_SUBTASKS,
    Turn,
    completed_dialogue,
    dialogue,
    direction_dialogue,
    parse_subtasks,
    prompt_hash,
    prompt_names,
    prompt_text,
    verbalize_subtasks,
)
from vlm2vla.language.even import even_rows
from vlm2vla.language.find import find_directions, find_gripper_words
from vlm2vla.language.forms import ActionForm, form, make_form
from vlm2vla.language.measured import measured_plan, measured_turned_round, parse_measured
from vlm2vla.language.merge import merge_steps
from vlm2vla.language.plan import plan_of
from vlm2vla.language.plan_text import parse_plan, verbalize_plan
from vlm2vla.language.scale import MAX_CHARS, MAX_CM, MAX_DEG, MAX_ROWS
from vlm2vla.language.tokens import GEMMA_UNUSED, TokensForm
from vlm2vla.language.words import Direction, MotionPhrase, directions_of, measure

__all__ = [
    "GEMMA_UNUSED",
    "MAX_CHARS",
    "MAX_CM",
    "MAX_DEG",
    "MAX_ROWS",
    "MAX_SUBTASKS",
    "ActionForm",
    "Direction",
    "MotionPhrase",
    "TokensForm",
    "Turn",
    "completed_dialogue",
    "dialogue",
    "direction_dialogue",
    "directions_of",
    "even_rows",
    "find_directions",
    "find_gripper_words",
    "form",
    "make_form",
    "measure",
    "measured_plan",
    "measured_turned_round",
    "merge_steps",
    "parse_measured",
    "parse_plan",
    "parse_subtasks",
    "plan_of",
    "prompt_hash",
    "prompt_names",
    "prompt_text",
    "verbalize_plan",
    "verbalize_subtasks",
]
