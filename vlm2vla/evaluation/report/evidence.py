"""Stored results -> one value that the report is made from. Reads folders, grades nothing again.

vqa/<set>/report*.json               comparisons, beside the stored answers
rollouts/<suite>/rows.jsonl          trials, run.json has the settings
actions/<data>/<run>/scores.json     open loop, verifier, subtasks, likelihood; run.json has the weights
harness/<run>/scores.json            what another harness measured over our served models
runs/<run>/config.json               what made the weights, see `report.trained`
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlm2vla.errors import EvaluationError
from vlm2vla.evaluation.config import SuiteConfig
from vlm2vla.evaluation.lines import read_about, read_lines
from vlm2vla.evaluation.suite import EXPERT, newest

ROWS = "rows.jsonl"
MAIN_SET = "tabletop"
"""Our own held-out set: what retention is told of where several sets were asked."""
_SETTINGS = ("verifier", "max_cycles", "max_rows", "back_after", "parse", "subtasks", "plans", "temperature_subtasks")
_USUAL_SUITE, _USUAL_ROBOT = "paper", "simulated"
_USUAL = asdict(SuiteConfig())
_PATTERNS = {
    "vqa": "*/report*.json",
    "rollouts": "*/run.json",
    "actions": "*/*/scores.json",
    "harness": "*/scores.json",
    "runs": "*/config.json",
}


@dataclass(frozen=True)
class Stored:
    """One stored result.

    Attributes:
        path: Its file.
        root: Folder of results in which it lies.
        value: Its content.
    """

    path: Path
    root: Path
    value: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Where it lies below its root."""
        return self.path.relative_to(self.root).as_posix()


@dataclass(frozen=True)
class Suite:
    """Rollouts of one suite on one robot, all settings together.

    Attributes:
        rows: Newest row of each trial; a model that drove with other settings than usual has them behind its name.
            "name" is the name alone, "place" the stored run.
        folders: (settings in words, stored run) of every folder.
        settings: What was driven usually: the command's own settings, else those of most rows.
        robot: Another one than the usual, or "".
    """

    name: str
    rows: tuple[Mapping[str, Any], ...]
    folders: tuple[tuple[str, Stored], ...]
    settings: Mapping[str, Any]
    robot: str = ""

    @property
    def usual(self) -> bool:
        """The paper's tasks on the usual robot: what its claims are about."""
        return self.name == _USUAL_SUITE and not self.robot

    @property
    def models(self) -> tuple[str, ...]:
        """Who drove: the expert first, then plain names, then ablations."""
        names = dict.fromkeys(row["model"] for row in self.rows)
        return tuple(sorted(names, key=lambda name: (name != EXPERT, "(" in name)))

    def run_of(self, model: str) -> Stored:
        """The stored run in which a model drove."""
        place = next(row["place"] for row in self.rows if row["model"] == model)
        return next(run for _, run in self.folders if run.place == place)


@dataclass(frozen=True)
class LeftOut:
    """Results that do not count, because there are some of newer weights of that name.

    Attributes:
        model: Name.
        weights: Fingerprint of the older weights.
        what: How much it is, in words.
        place: Where it lies.
    """

    model: str
    weights: str
    what: str
    place: str


@dataclass(frozen=True)
class Evidence:
    """Everything that was measured and stored; `left_out` is what `weights.of_newest` took away."""

    vqa: tuple[Stored, ...]
    suites: tuple[Suite, ...]
    actions: tuple[Stored, ...]
    harness: tuple[Stored, ...]
    runs: tuple[Stored, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def paper(self) -> Suite | None:
        """The suite that the paper's claims are about, where it was driven."""
        return next((suite for suite in self.suites if suite.usual), None)

    @property
    def retention(self) -> Stored | None:
        """The comparison that retention is told of: on our own held-out set, else the largest one."""
        compared = [stored for stored in self.vqa if stored.value.get("retention")]
        ours = [stored for stored in compared if stored.value["set"] == MAIN_SET]
        return max(ours or compared, key=lambda stored: _size(stored.value), default=None)

    def actions_of(self, model: str) -> Stored | None:
        """Open loop of a model: held-out simulated recordings and its own plans where there are such, else any."""
        mine = [stored for stored in self.actions if stored.value["model"] == model]
        return max(mine, key=_worth, default=None)

    @property
    def empty(self) -> bool:
        """Nothing was measured yet."""
        return not (self.vqa or self.suites or self.actions or self.harness)


def collect(roots: Iterable[Path]) -> Evidence:
    """Everything below some folders of results; of the same result in two of them the first one counts.

    Raises:
        EvaluationError: A stored result is damaged.
    """
    found: dict[str, dict[str, Stored]] = {kind: {} for kind in _PATTERNS}
    for root in roots:
        for kind, pattern in _PATTERNS.items():
            for path in sorted((root / kind).glob(pattern)):
                stored = Stored(path, root, _json(path))
                found[kind].setdefault(stored.place, stored)
    vqa, rollouts, *others = (tuple(stored.values()) for stored in found.values())
    return Evidence(vqa, tuple(_suites(rollouts)), *others)


def _size(comparison: Mapping[str, Any]) -> tuple[bool, int, int]:
    return not comparison["circular"], comparison["questions"], len(comparison["retention"])


def _worth(actions: Stored) -> tuple[bool, bool, str]:
    value = actions.value
    return value.get("plan", "own") == "own", value["data"].startswith("simulated"), value.get("made_at", "")


def _suites(runs: Iterable[Stored]) -> Iterator[Suite]:
    by_name: dict[tuple[str, str], list[tuple[Stored, list]]] = {}
    for run in runs:
        rows = newest(read_lines(run.path.with_name(ROWS)))
        if rows:
            robot = str(run.value.get("robot", _USUAL_ROBOT))
            key = str(run.value.get("suite", "")), "" if robot == _USUAL_ROBOT else robot
            by_name.setdefault(key, []).append((run, rows))
    for name, robot in sorted(by_name, key=lambda key: (bool(key[1]), key[0] != _USUAL_SUITE, key)):
        folders = by_name[name, robot]
        folders.sort(key=lambda pair: (_unusual(pair[0].value), -len(pair[1])))
        usual = folders[0][0].value
        rows: list[Mapping[str, Any]] = []
        listed = []
        for run, mine in folders:
            told = differing(run.value, usual)
            listed.append((told or "the usual settings", run))
            suffix = f" ({told})" if told else ""
            rows += [
                {**row, "name": row["model"], "model": _shown(row["model"], suffix), "place": run.place}
                for row in mine
                if not (suffix and row["model"] == EXPERT)
            ]
        yield Suite(name, tuple(rows), tuple(listed), {key: usual.get(key) for key in _SETTINGS}, robot)


def _shown(model: str, suffix: str) -> str:
    return model if model == EXPERT else model + suffix


def _unusual(settings: Mapping[str, Any]) -> int:
    """How many settings are not the command's own."""
    return sum(settings.get(key) != _USUAL[key] for key in _SETTINGS)


def differing(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """What is different, in words: "no plans, parse grammar"; "" when nothing is."""
    words = []
    for key in _SETTINGS:
        value = settings.get(key)
        if value == usual.get(key):
            continue
        if key == "subtasks":
            words.append("with subtasks" if value else "no subtasks")
        elif key == "plans":
            words.append({"none": "no plans", "false": "false plans"}.get(str(value), "with plans"))
        else:
            words.append(f"{key.replace('_', ' ')} {'as usual' if value is None else value}")
    return ", ".join(words)


def _json(path: Path) -> dict[str, Any]:
    if path.name == "run.json":
        return read_about(path.parent)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EvaluationError(f"{path} is damaged ({error}); move it away and evaluate again") from error
    return read_about(path.parent) | value
