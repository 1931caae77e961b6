"""One million malformed action strings through the parser, the safety rules and a robot: no crash, no motion.

Usage: `python -m bench fuzz`, or `python bench/fuzz.py COUNT SEED`.
"""

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from vlm2vla.errors import ActionParseError
from vlm2vla.language import ActionForm, form
from vlm2vla.robot.safe_robot import SafeRobot
from vlm2vla.robot.safety import Rules, SafetyConfig
from vlm2vla.robot.scripted import HandClock, ScriptedRobot

FORMS = ("rows:0.5cm", "rows7:0.5cm:1deg", "sentence:0.5cm", "sentence7:0.5cm:1deg", "tokens:0.5cm")
_NOT_NUMBERS = (
    "NaN",
    "nan",
    "inf",
    "-Infinity",
    "1e9",
    "0x1",
    "1_0",
    "２",
    "٣",
    "--1",
    "1.2.3",
    "None",
    "true",
    "1e400",
)
_HUGE = ("99.5", "100.0", "-60.0", "-16.0", "101", "1" * 40, "-" + "9" * 400)
_TRASH = (
    "__import__('os')",
    "{}",
    "[[[",
    "]]",
    "\x00",
    "move",
    "\ud7ff",
    "(1, 2, 3, 4)",
    "cm",
    "-",
    "[" * 5000,
    "[]" * 900,
)


def malformed(rng: random.Random, name: str) -> str:
    """One string that is never a permitted action of the form `name`, made from a well-formed one where possible."""
    if rng.random() < 0.1:
        return _noise(rng)
    if name.startswith("rows"):
        return _bad_rows(rng, 7 if "7" in name else 4)
    if name.startswith("sentence"):
        return _bad_sentence(rng)
    return _bad_tokens(rng)


def _noise(rng: random.Random) -> str:
    # No letters, digits or "<": nothing in it can be action text.
    text = "".join(
        chr(rng.choice((rng.randrange(1, 34), rng.randrange(91, 95), rng.randrange(0x4E00, 0x9FFF))))
        for _ in range(rng.randrange(60))
    )
    return text + rng.choice(_TRASH)


def _bad_rows(rng: random.Random, columns: int) -> str:
    rows = [
        [f"{rng.randrange(-10, 11) / 2}" for _ in range(columns - 1)] + [str(rng.randrange(2))]
        for _ in range(rng.randrange(1, 6))
    ]
    row, way = rng.choice(rows), rng.randrange(6)
    # The first row carries what safety must refuse, so that nothing well-formed runs before it.
    if way == 0:
        row[rng.randrange(columns)] = rng.choice(_NOT_NUMBERS)
    elif way == 1:
        rows[0][rng.randrange(3)] = rng.choice(_HUGE)
    elif way == 2:
        row.insert(rng.randrange(columns), "0.0")
    elif way == 3:
        row.pop(rng.randrange(columns))
    elif way == 4:
        rows[0][-1] = rng.choice(("2", "0.5", "-1", "7.0", "10"))
    text = "[" + ", ".join("[" + ", ".join(row) + "]" for row in rows) + "]"
    return text[: rng.randrange(1, len(text))] if way == 5 else text


def _bad_sentence(rng: random.Random) -> str:
    verb = rng.choice(("move forward", "move left", "raise", "lower", "move back"))
    amount = rng.choice(_NOT_NUMBERS + _HUGE + ("-2", "two", "", "2-3"))
    good = rng.choice(("", ", then close the gripper", ", raise 2 cm"))
    ways = (
        f"{verb} {amount} cm{good}",
        f"{verb} 2 {rng.choice(('m', 'inches', 'mm', 'kilometres', '', 'c m', 'degrees'))}{good}",
        f"{rng.choice(('fly', 'do not move', 'mov', 'Xmove', 'throw'))} forward 2 cm{good}",
        f"{verb} 2 cm and and raise 1 cm",
        f"{verb} 2 cm{rng.choice((' ~', ' maybe', '; rm -rf /', ' not', ' × 1000', ', then'))}",
    )
    return rng.choice(ways)


def _bad_tokens(rng: random.Random) -> str:
    count = rng.choice([n for n in range(1, 50) if n % 10])
    tokens = [f"<unused{rng.randrange(10)}>" for _ in range(count)]
    if rng.random() < 0.5:
        tokens[rng.randrange(count)] = rng.choice(
            ("<unused>", "<unused-1>", "<unusedx>", "<", "unused3", "<unused99999>")
        )
        return "".join(tokens) if count > 1 else "<unused-1>"
    return "".join(tokens)


def strings(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """`count` pairs of the name of a form and a malformed string for it."""
    rng = random.Random(seed)
    for _ in range(count):
        name = rng.choice(FORMS)
        yield name, malformed(rng, name)


def drive(text: str, action_form: ActionForm, robot: SafeRobot) -> str:
    """What a policy's text leads to, the whole way to the robot: "unreadable", "refused" or "moved"."""
    try:
        chunk = action_form.parse(text)
    except ActionParseError:
        return "unreadable"
    outcomes = []
    for row in chunk.rows:
        outcomes.append(robot.act(row).outcome)
        if outcomes[-1] == "refused":
            break
    return "moved" if set(outcomes) - {"refused"} else "refused"


def run(count: int, seed: int = 0) -> tuple[Counter, list[str]]:
    """Drive with `count` malformed strings. Returns how often each end came, and the strings that moved something."""
    body = ScriptedRobot(clock=HandClock(), images={})
    robot = SafeRobot(body, Rules(body.embodiment, SafetyConfig(clamp=())))
    start = body.observe().ee
    forms = {name: form(name) for name in FORMS}
    ends, moved = Counter(), []
    for name, text in strings(count, seed):
        end = drive(text, forms[name], robot)
        ends[end] += 1
        if end == "moved":
            moved.append(f"{name}: {text[:200]!r}")
    if body.acts or not np.array_equal(body.observe().ee, start):
        moved.append(f"the robot moved {len(body.acts)} times")
    return ends, moved


def main(count: int = 1_000_000, seed: int = 0) -> None:
    """Run and print."""
    start = time.perf_counter()
    ends, moved = run(count, seed)
    took = time.perf_counter() - start
    print(f"{count} malformed action strings in {took:.0f} s ({took / count * 1e6:.0f} µs each): {dict(ends)}")
    print("no crash, no motion" if not moved else "MOVED:\n" + "\n".join(moved[:20]))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
