"""Runs that are over: looked at again, compared, judged by a person, opened in the review as an annotated episode."""

from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vla.driving.journal import KeptRun, kept_runs
from vlm2vla.driving.robots import gauges
from vlm2vla.embodiment import embodiment
from vlm2vla.errors import ConfigError, InvalidEpisodeError, WorkspaceError
from vlm2vla.policy import ChunkReady, Driving
from vlm2vla.robot import ActionResult, Observation, RobotStatus
from vlm2vla.robot.safety import Decision
from vlm2vla.rollout import ActionAsked, ActionDone, ChunkDecided, CycleBegan, Ended, Event, PolicySaid, Trace
from vlm2vla.rollout.keep import keep, write_trace
from vlm2vla.rollout.trace import note
from vlm2vla.types import ActionChunk
from vlm2vla.workspace import Workspace

JSON = dict[str, Any]
OUTCOMES = ("", "success", "failure")
MAX_NOTES = 2000
# What one run must share with another one to be compared row by row, and how it is called.
_COMPARED = (
    ("policy", "policy"),
    ("instruction", "instruction"),
    ("mode", "mode"),
    ("robot", "robot"),
    ("scene", "scene"),
    ("end", "end"),
    ("reason", "reason"),
    ("outcome", "outcome said by a person"),
    ("partial", "partial credit of the simulator"),
    ("seconds", "seconds"),
    ("cycles", "cycles"),
    ("actions", "actions"),
    ("refused", "refused or shortened by the rules"),
    ("parse_failures", "texts that did not parse"),
)
_READY = RobotStatus(ready=True, moving=False, homed=True, runstop=False)


class History:
    """Runs of one workspace."""

    def __init__(self, workspace: Workspace):
        self._workspace = workspace

    @property
    def folder(self) -> Path:
        """Where runs are."""
        return self._workspace.rollouts

    def run(self, run_id: str) -> KeptRun:
        """One run.

        Raises:
            NotFoundError: There is none.
        """
        return KeptRun(self.folder, run_id)

    def runs(self) -> list[JSON]:
        """All of them, the newest first; damaged ones are left out."""
        rows = []
        for run in kept_runs(self.folder):
            try:
                rows.append(run.info())
            except WorkspaceError:
                continue
        return rows

    def replay(self, run_id: str) -> JSON:
        """Everything that a page needs to show the run again."""
        run = self.run(run_id)
        info, records = run.info(), run.records()
        steps = {record["step"]: record for record in records if record["kind"] == "observed"}
        titles = info.get("titles", {})
        return {
            "run": info,
            "records": records,
            "cameras": [{"name": name, "title": titles.get(name, name)} for name in run.images(0)],
            "joints": gauges(),
            "steps": [
                {"step": step, "at": record["at"], "time_s": record["time_s"], "ee": record["ee"]}
                for step, record in sorted(steps.items())
            ],
        }

    def judge(self, run_id: str, outcome: str, notes: str) -> JSON:
        """A person's word on how it went.

        Raises:
            ConfigError: No such outcome, or notes that are too long.
        """
        if outcome not in OUTCOMES:
            raise ConfigError(f"an outcome is success, failure or nothing, not {outcome!r}")
        if len(notes) > MAX_NOTES:
            raise ConfigError(f"notes have at most {MAX_NOTES} characters")
        return self.run(run_id).change(outcome=outcome, notes=notes)

    def compare(self, one: str, other: str) -> JSON:
        """Two runs side by side: settings and results, cycle by cycle, the two paths."""
        sides = [_summary(self.run(run_id)) for run_id in (one, other)]
        rows = [
            {"name": title, "a": sides[0]["row"][key], "b": sides[1]["row"][key]}
            | {"same": sides[0]["row"][key] == sides[1]["row"][key]}
            for key, title in _COMPARED
        ]
        cycles = [{"a": a, "b": b} for a, b in zip_longest(sides[0]["cycles"], sides[1]["cycles"])]
        return {
            "a": sides[0]["info"],
            "b": sides[1]["info"],
            "rows": rows,
            "cycles": cycles,
            "paths": {"a": sides[0]["path"], "b": sides[1]["path"]},
        }

    def annotate(self, run_id: str) -> str:
        """Make an episode of the run and put it into the review queue, with what was said; its id.

        Raises:
            InvalidEpisodeError: Nothing moved.
        """
        run = self.run(run_id)
        info = run.info()
        if info.get("episode"):
            return info["episode"]
        trace = rebuild(run)
        episode = trace.episode()
        path = run.folder / episode.id
        if not (path / "said.json").is_file():
            path = write_trace(run.folder, trace, action_form_of(trace))
        (episode_id,) = keep(self._workspace, [path])
        run.change(episode=episode_id)
        return episode_id


def rebuild(run: KeptRun) -> Trace:
    """The trace of a run from its records and pictures, whether it came to an end or not.

    Raises:
        InvalidEpisodeError: Nothing was seen in this run.
    """
    info, records = run.info(), run.records()
    trace = Trace(info["instruction"], embodiment(info["embodiment"]), info["policy_title"], info["rate_hz"])
    driving, seen, cameras = Driving(info["instruction"]), set(), set(run.images(0))
    for record in records:
        if record["kind"] == "observed":
            observation = _observation(run, record)
            if set(observation.images) != cameras:
                break  # the studio was killed before these pictures were on disk: the episode ends here
            if trace.rate_hz and record["step"] not in seen and seen:
                trace.sample(observation)
            else:
                trace.look(observation)
            seen.add(record["step"])
            continue
        if record["kind"] == "cycle":
            driving = _driving(record["driving"])
        elif record["kind"] == "plan":
            driving = driving.planned(record["text"])
        event = _event(record, driving)
        if event is not None:
            note(event, trace)
    if not trace.observations:
        raise InvalidEpisodeError("nothing was seen in this run: there is nothing to open")
    trace.log = records
    return trace


def _event(record: JSON, driving: Driving) -> Event | None:
    """The event of the loop that a record was made of; None where a trace does not need it."""
    kind = record["kind"]
    if kind == "cycle":
        return CycleBegan(driving)
    if kind == "chunk":
        return PolicySaid(driving, _chunk(record))
    if kind == "decided" and record.get("chunk"):
        return ChunkDecided(driving, record["approved"], record["reason"], _chunk(record["chunk"]))
    if kind == "action_asked":
        return ActionAsked(record["row"], np.array(record["asked"]), _decision(record["judged"]))
    if kind == "action_done":
        result = ActionResult(record["outcome"], np.array(record["measured"]), record["message"], record["seconds"])
        return ActionDone(record["row"], result)
    if kind == "run_ended":
        return Ended(record["end"], record["reason"], driving)
    return None


def action_form_of(trace: Trace) -> str:
    """The paper's form; the one with rotations where anything turned."""
    chunks = [span.chunk.rows for span in trace.spans if span.chunk is not None and len(span.chunk)]
    turned = any(rows.shape[1] == 7 and np.any(rows[:, 3:6]) for rows in chunks)
    return "rows7:0.5cm:1deg" if turned else "rows:0.5cm"


def _observation(run: KeptRun, record: JSON) -> Observation:
    images = run.images(record["step"])
    return Observation(record["time_s"], images, np.array(record["ee"]), record["joints"], _READY)


def _driving(view: JSON) -> Driving:
    return Driving(view["instruction"], tuple(view["subtasks"]), view["index"], view["plan"], view["cycle"])


def _chunk(record: JSON) -> ChunkReady:
    rows = np.array(record["rows"], dtype=np.float64).reshape(-1, 7)
    return ChunkReady(ActionChunk(rows), record["text"], record.get("raw", ""))


def _decision(view: JSON) -> Decision:
    action = None if view["action"] is None else np.array(view["action"])
    return Decision(view["verdict"], action, view["rule"], view["message"])


def _summary(run: KeptRun) -> JSON:
    info, records = run.info(), run.records()
    cycles: list[JSON] = []
    for record in records:
        kind, last = record["kind"], cycles[-1] if cycles else None
        if kind == "cycle":
            cycles.append({"subtask": record["driving"]["subtask"], "plan": "", "chunk": "", "outcome": ""})
        elif last is None:
            continue
        elif kind in ("plan", "chunk"):
            last[kind] = record["text"]
        elif kind == "decided":
            last["chunk"] = record["chunk"]["text"] if record.get("chunk") else last["chunk"]
            last["outcome"] = last["outcome"] if record["approved"] else f"not carried out: {record['reason']}"
        elif kind == "action_done":
            last["outcome"] = record["outcome"]
        elif kind == "action_asked" and record["judged"]["verdict"] == "refused":
            last["outcome"] = f"refused: {record['judged']['message']}"
        elif kind == "verdict":
            last["outcome"] += "; subtask done" if record["done"] else "; subtask not done"
    steps = {record["step"]: record["ee"][:3] for record in records if record["kind"] == "observed"}
    scene, truth = info.get("scene") or {}, info.get("truth") or {}
    row = {key: info.get(key, "") for key, _ in _COMPARED}
    row |= {"policy": info["policy_title"], "cycles": len(cycles), "partial": truth.get("partial", "")}
    row["scene"] = f"{scene['task']}, seed {scene['seed']}" if scene else ""
    return {"info": info, "row": row, "cycles": cycles, "path": [steps[step] for step in sorted(steps)]}
