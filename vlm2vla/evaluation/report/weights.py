"""Only results of one set of weights may stand under one name. Pure.

Of a name under which several weights were measured, those count that drove the paper's suite last; where none of them
did, those that were measured last. All other results of that name are left out, and named.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlm2vla.evaluation.lines import read_about
from vlm2vla.evaluation.report.evidence import Evidence, LeftOut, Stored, Suite

_BY_MODEL = ("scores", "retention", "retention_by_skill")


def of_newest(evidence: Evidence) -> Evidence:
    """The evidence without results of older weights, which `left_out` names."""
    current, left_out = newest_weights(evidence), []
    suites = [_suite(suite, current, left_out) for suite in evidence.suites]
    vqa = [_comparison(stored, current, left_out) for stored in evidence.vqa]
    actions = [stored for stored in evidence.actions if not _is_old(stored, current, left_out)]
    harness = [_benchmarks(stored, current, left_out) for stored in evidence.harness]
    return replace(
        evidence,
        suites=tuple(suite for suite in suites if suite.rows),
        vqa=tuple(_whole(stored for stored in vqa if stored)),
        actions=tuple(actions),
        harness=tuple(stored for stored in harness if stored),
        left_out=tuple(left_out),
    )


def newest_weights(evidence: Evidence) -> dict[str, str]:
    """Name of a model -> fingerprint of the weights that count."""
    found: dict[str, str] = {}
    for suite in (each for each in evidence.suites if each.usual):
        for name, weights in _last_driven(suite):
            found.setdefault(name, weights)
    for name, weights in {name: weights for _, name, weights in sorted(_dated(evidence))}.items():
        found.setdefault(name, weights)
    for suite in evidence.suites:
        for name, weights in _last_driven(suite):
            found.setdefault(name, weights)
    return found


def weights_of(stored: Stored, model: str) -> str:
    """Fingerprint of the weights that a VQA comparison names so."""
    return str(read_about(answers_of(stored, model)).get("fingerprint", ""))


def answers_of(stored: Stored, model: str) -> Path:
    """Folder of the answers that a VQA comparison graded."""
    return stored.path.parent / Path(stored.value["scores"][model]["run"]).name


def _last_driven(suite: Suite) -> Iterator[tuple[str, str]]:
    """(name, weights) that drove last in each folder, the usual settings first."""
    last = {(row["place"], row["name"]): row["fingerprint"] for row in suite.rows}
    for (_, name), weights in last.items():
        yield name, weights


def _dated(evidence: Evidence) -> Iterator[tuple[str, str, str]]:
    """(when, name, weights) of what says when it was made."""
    for stored in evidence.vqa:
        for name in stored.value["scores"]:
            yield stored.value["made_at"], name, weights_of(stored, name)
    for stored in evidence.actions:
        yield stored.value.get("made_at", ""), stored.value["model"], str(stored.value.get("fingerprint", ""))
    for stored in evidence.harness:
        for name, weights in stored.value.get("fingerprints", {}).items():
            yield stored.value.get("made_at", ""), name, weights


def _suite(suite: Suite, current: Mapping[str, str], left_out: list[LeftOut]) -> Suite:
    old: dict[tuple[str, str, str], int] = {}
    kept = []
    for row in suite.rows:
        if row["fingerprint"] == current[row["name"]]:
            kept.append(row)
        else:
            key = row["name"], row["fingerprint"], row["place"]
            old[key] = old.get(key, 0) + 1
    left_out += [LeftOut(name, weights, f"{count} rollouts", place) for (name, weights, place), count in old.items()]
    return replace(suite, rows=tuple(kept))


def _comparison(stored: Stored, current: Mapping[str, str], left_out: list[LeftOut]) -> Stored | None:
    """The comparison without models of older weights; None where that was the base, or nothing is left."""
    value = stored.value
    old = [name for name in value["scores"] if weights_of(stored, name) != current[name]]
    left_out += [
        LeftOut(name, weights_of(stored, name), f"{value['scores'][name]['questions']} answers", stored.place)
        for name in old
    ]
    if value["base"] in old or len(old) == len(value["scores"]):
        return None
    kept: dict[str, Any] = {
        key: {name: row for name, row in value[key].items() if name not in old} for key in _BY_MODEL if key in value
    }
    kept["pairs"] = [row for row in value.get("pairs", ()) if not {row["first"], row["second"]} & set(old)]
    return replace(stored, value=dict(value) | kept)


def _whole(compared: Iterator[Stored]) -> list[Stored]:
    """Comparisons whose answers are not all in another one as well: those of fewer models or questions go."""
    every = list(compared)
    runs = {each.place: {Path(row["run"]).name for row in each.value["scores"].values()} for each in every}

    def within(one: Stored, other: Stored) -> bool:
        same = one.path.parent == other.path.parent and _asked(one) == _asked(other)
        if one is other or not same or not runs[one.place] <= runs[other.place]:
            return False
        smaller = (one.value["questions"], len(runs[one.place])) < (other.value["questions"], len(runs[other.place]))
        return smaller or (runs[one.place] == runs[other.place] and len(one.place) > len(other.place))

    return [one for one in every if not any(within(one, other) for other in every)]


def _asked(stored: Stored) -> tuple[bool, str]:
    return stored.value["circular"], stored.value["base"]


def _is_old(stored: Stored, current: Mapping[str, str], left_out: list[LeftOut]) -> bool:
    name, weights = stored.value["model"], str(stored.value.get("fingerprint", ""))
    if weights == current[name]:
        return False
    left_out.append(LeftOut(name, weights, f"{stored.value['actions']['moments']} chunks", stored.place))
    return True


def _benchmarks(stored: Stored, current: Mapping[str, str], left_out: list[LeftOut]) -> Stored | None:
    value, known = stored.value, stored.value.get("fingerprints", {})
    old = [name for name, weights in known.items() if weights != current[name]]
    left_out += [LeftOut(name, known[name], "scores of another harness", stored.place) for name in old]
    if value.get("base") in old:
        return None

    def without(key: str) -> dict[str, Any]:
        tasks = value.get(key, {})
        return {task: {name: row for name, row in models.items() if name not in old} for task, models in tasks.items()}

    return replace(stored, value=dict(value) | {key: without(key) for key in ("tasks", "retention", "failed")})
