"""Open loop -> a section: written chunks, verifier, subtasks, likelihood. Pure."""

from typing import Any

from vlm2vla.evaluation.report.cells import NOTHING, To, number, share
from vlm2vla.evaluation.report.document import Block, Link, Section, Table
from vlm2vla.evaluation.report.evidence import Evidence, Stored

_PLANS = {"given-words": "recorded", "given-measured": "recorded, with cm", "given": "recorded"}


def actions_section(evidence: Evidence, to: To) -> Section:
    """Open loop, verifier, subtasks, likelihood."""
    chunks, judged, listed, likely = [], [], [], []
    own = {_about(stored) for stored in evidence.actions if stored.value.get("plan", "own") == "own"}
    for stored in evidence.actions:
        value, run = stored.value, Link("run", to(stored.place))
        row, name, data = value["actions"], value["model"], value["data"]
        plan = str(value.get("plan", "own"))
        chunks.append(
            (
                name,
                data,
                value.get("form", NOTHING),
                _PLANS.get(plan, plan),
                row["moments"],
                share(row["parse_rate"]),
                number(row["row_cm"], 1),
                number(row["total_cm"], 1),
                f"{value['still']:.1f}",
                share(row["direction"]),
                share(row["gripper"]),
                run,
            )
        )
        if plan != "own" and _about(stored) in own:  # the other levels know no recorded plan: they are told once
            continue
        if verifier := value.get("verifier"):
            parts = (share(verifier[key]) for key in ("accuracy", "done", "not_done"))
            balanced = NOTHING if verifier["balanced"] is None else f"{verifier['balanced']:.0%}"
            judged.append((name, data, verifier["questions"], *parts, balanced, verifier["unclear"], run))
        if subtasks := value.get("subtasks"):
            kept = (share(subtasks["exact"]), share(subtasks["keywords"]))
            listed.append((name, data, subtasks["tasks"], *kept, subtasks["unreadable"], run))
        if scores := value.get("likelihood"):
            each = (
                f"{scores[kind]['per_chunk']:.1f} / {scores[kind]['per_token']:.2f}" for kind in ("words", "tokens")
            )
            likely.append((name, data, scores["words"]["chunks"], *each, number(scores["difference"], 1), run))
    head = ("model", "data", "form", "plan", "chunks", "parse", "per row, cm", "sum, cm", "holding still, cm")
    caption = (
        "Written chunks against recorded ones, greedy, no help. Plan: the model's own, or the recorded one put before "
        "the chunk. Errors over what parses; direction over axes that moved 1 cm or more. On Bridge this tells format "
        "and direction, and nothing about success."
    )
    blocks: list[Block] = [Table((*head, "direction", "gripper", "run"), tuple(chunks), caption)]
    tables: tuple[tuple[list[Any], tuple[str, ...], str], ...] = (
        (
            judged,
            ("model", "data", "pairs", "right", "where done", "where not", "balanced", "unclear", "run"),
            "Is the subtask done? Two images, against the truth.",
        ),
        (
            listed,
            ("model", "data", "tasks", "exact", "by keywords", "unreadable", "run"),
            "Lists of subtasks against the true ones, five task families.",
        ),
        (
            likely,
            ("model", "data", "chunks", "words: chunk / token", "tokens: chunk / token", "difference", "run"),
            "Log-probability of recorded chunks in words and in tokens.",
        ),
    )
    blocks += [Table(head, tuple(rows), caption) for rows, head, caption in tables if rows]
    return Section("Open loop and the other levels", tuple(blocks))


def _about(stored: Stored) -> tuple[str, str]:
    return stored.value["model"], stored.value["data"]
