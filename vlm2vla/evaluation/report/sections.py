"""Evidence -> what the report says of claims, VQA sets, public benchmarks and stored runs. Pure.

Closed loop, open loop, variants and what trained them have files of their own; so has the gallery, which needs images.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm2vla.evaluation.report.cells import NOTHING, To, links, p_value, share
from vlm2vla.evaluation.report.claims import Claim
from vlm2vla.evaluation.report.document import Block, Figure, Link, Section, Table, Text
from vlm2vla.evaluation.report.evidence import Evidence, Stored, Suite
from vlm2vla.evaluation.report.measured import Measured
from vlm2vla.evaluation.report.svg import Dot, dots, plane
from vlm2vla.evaluation.retention import LINE
from vlm2vla.evaluation.statistics import holm
from vlm2vla.evaluation.suite import cell


def claims_section(claims: tuple[Claim, ...], to: To) -> Section:
    """What came out, what did not, what was not shown."""
    rows = tuple(
        (claim.verdict, claim.text, claim.paper, claim.here, links(*(("run", to(place)) for place in claim.places)))
        for claim in claims
    )
    verdicts = ("came out", "did not", "not shown")
    said = ", ".join(f"{sum(claim.verdict == verdict for claim in claims)} {verdict}" for verdict in verdicts)
    text = (
        f"Of {len(claims)} claims: {said}. A claim came out only where its whole 95 % interval is on its side, and did "
        "not where the whole interval is on the other; what the data leave open, or what was not measured, is not "
        "shown. The paper's numbers are of a 12B model and a real WidowX; ours are of another model in a simulator."
    )
    return Section("Claims of the paper", (Text(text), Table(("verdict", "claim", "paper", "here", "runs"), rows)))


def over_sets(compared: Sequence[Stored]) -> dict[tuple[str, str], float]:
    """(place of a comparison, model) -> p with Holm's correction over all sets on which that model was compared.

    A set that was compared twice counts once, and one of which the base knows nothing (nothing can be lost) not at all.
    """
    found: dict[tuple[str, str], float] = {}
    for name in dict.fromkeys(name for stored in compared for name in stored.value["retention"]):
        mine = [each for each in compared if (each.value["retention"].get(name) or {}).get("raw") is not None]
        p_values = {_asked(stored): stored.value["retention"][name]["p"] for stored in mine}
        adjusted = holm(p_values)
        found |= {(stored.place, name): adjusted[_asked(stored)] for stored in mine}
    return found


def _asked(stored: Stored) -> tuple[str, str, bool]:
    """Which questions, asked in which way."""
    return stored.value["set"], stored.value["digest"], stored.value["circular"]


def vqa_section(
    stored: Stored, to: To, p_over_sets: Mapping[tuple[str, str], float], brief: Collection[str] = ()
) -> Section:
    """One set: scores, retention, skills, languages.

    Args:
        stored: The comparison.
        to: Where copies lie.
        p_over_sets: See `over_sets`.
        brief: Models that are not told of in parts (further seeds, runs of a sweep).
    """
    value, base = stored.value, stored.value["base"]
    answers = {name: Link("answers", to(_answers(stored, row))) for name, row in value["scores"].items()}
    scores = tuple(
        (
            name,
            share(row | {"value": row["score"]}),
            NOTHING if "plain" not in row else f"{row['plain']:.1%}",
            NOTHING if "blank" not in row else f"{row['blank']:.1%}",
            f"{row.get('chance', 0):.1%}",
            row["questions"],
            row["errors"],
            answers[name],
        )
        for name, row in value["scores"].items()
    )
    kept = tuple(
        (
            name,
            share(row | {"value": row["raw"]}),
            share(row["centred"]),
            share(row["above_floor"]),
            f"{row['base_right_tuned_wrong']} / {row['base_wrong_tuned_right']}",
            f"{p_value(row['p'])} ({row['test']})",
            p_value(row["p_holm"]),
            p_value(p_over_sets.get((stored.place, name))),
            row["kept_85"],
            links((answers[name].text, answers[name].path), ("base", answers[base].path)),
        )
        for name, row in value["retention"].items()
    )
    way = "circularly: right only in every rotation of the options" if value["circular"] else "plainly"
    head = ("model", "score", "plain", "grey pictures", "chance", "questions", "errors", "run")
    run = Link("the whole comparison", to(stored.place))
    blocks: list[Block] = [
        Text(
            f"{value['questions']} questions of the set {value['set']} ({value['digest']}), scored {way}. All "
            f"models were asked with the same words; {base} is the base."
        ),
        Table(head, scores, "Scores.", run),
    ]
    if kept:
        head = ("model", "kept", "above chance", "above grey pictures", "lost / won", "p")
        more = ("Holm over models", "Holm over sets", "85 % kept", "runs")
        blocks.append(Table((*head, *more), kept, f"Retention against {base}; images resampled."))
    title = f"VQA: {value['set']}" + (" (circular)" if value["circular"] else "")
    title += f", {len(value['scores'])} models, {value['made_at'][:16].replace('T', ' ')}"
    return Section(title, (*blocks, *_parts(stored, run, brief)))


def _answers(stored: Stored, row: Mapping[str, Any]) -> str:
    """Place of the answers of a row of scores."""
    return f"{Path(stored.place).parent}/{Path(row['run']).name}/answers.jsonl"


def _parts(stored: Stored, run: Link, brief: Collection[str]) -> list[Block]:
    """By skill: scores, and where the base knew enough, retention with p values; by language: scores."""
    value = stored.value
    names = [name for name in value["scores"] if name not in brief]
    blocks: list[Block] = [
        *_by_part(value, names, "skill", run),
        *_skill_plot(stored, names),
        *_skill_tests(value, names, run),
        *_by_part(value, names, "language", run),
    ]
    return blocks


def _by_part(value: Mapping[str, Any], names: Sequence[str], part: str, run: Link) -> list[Block]:
    found = {name: value["scores"][name].get(f"by_{part}", {}) for name in names}
    parts = sorted({each for row in found.values() for each in row})
    if len(parts) < 2:
        return []
    rows = tuple((each, *(share(found[name].get(each)) for name in names)) for each in parts)
    return [Table((part, *names), rows, f"Score by {part}.", run)]


def _skill_plot(stored: Stored, names: Sequence[str]) -> list[Block]:
    value = stored.value
    kept = {name: skills for name, skills in value["retention_by_skill"].items() if name in names}
    marks = [
        Dot(skill, name, row["raw"], row["low"], row["high"])
        for skill in sorted({skill for skills in kept.values() for skill in skills})
        for name, skills in kept.items()
        if (row := skills.get(skill)) and row["raw"] is not None
    ]
    if not marks:
        return []
    plot = dots(marks, title="Retention by skill", high=1.25, line=LINE, order=list(kept))
    caption = "Retention by skill; the dashed line is 85 %. Intervals over images; some reach beyond the scale."
    return [Figure(f"retention-{Path(stored.place).parent.name}-{Path(stored.place).stem}", plot, caption)]


def _skill_tests(value: Mapping[str, Any], names: Sequence[str], run: Link) -> list[Block]:
    rows = tuple(
        (
            skill,
            name,
            share(row | {"value": row["raw"]}),
            share(row["above_floor"]),
            f"{row['base_right_tuned_wrong']} / {row['base_wrong_tuned_right']}",
            p_value(row["p"]),
            p_value(row["p_holm"]),
        )
        for name, skills in value["retention_by_skill"].items()
        for skill, row in skills.items()
        if name in names
    )
    head = ("skill", "model", "kept", "above grey pictures", "lost / won", "p", "Holm over skills")
    return [Table(head, rows, "Retention and p values by skill.", run, folded=True)] if rows else []


def trade_section(
    suite: Suite, stored: Stored, models: Mapping[str, Measured], to: To, brief: Collection[str] = ()
) -> Section | None:
    """What was kept against what was gained, one point per model; those of `brief` are only listed."""
    found = []
    for name, model in models.items():
        won = cell(suite.rows, name, ("pick-up",)).success
        if model.kept and won:
            runs = ("answers", to(model.answers)), ("trials", to(suite.run_of(name).place))
            found.append((name, won, model.kept, links(*runs)))
    if not found:
        return None
    marks = [
        (name, *(Dot(name, name, x.value, x.low, x.high) for x in (won, kept)))
        for name, won, kept, _ in found
        if name not in brief
    ]
    plot = plane(marks, title="Kept against gained", across="success in pick-up", up="VQA retention", line=LINE)
    text = (
        f"Retention (on {stored.value['set']}) means little without success: a model that was hardly trained keeps "
        "everything. Compare points that stand above each other."
    )
    rows = tuple((name, share(kept), share(won), runs) for name, won, kept, runs in found)
    table = Table(("model", "kept", "success in pick-up", "runs"), rows)
    return Section("Kept against gained", (Text(text), Figure("kept-gained", plot, "Each model once."), table))


def harness_section(evidence: Evidence, to: To) -> Section:
    """What another harness measured over the served models."""
    rows = tuple(
        (
            stored.value["harness"],
            task,
            name,
            metric,
            share(score),
            score["questions"],
            stored.value.get("failed", {}).get(task, {}).get(name, 0),
            Link("run", to(stored.place)),
        )
        for stored in evidence.harness
        for task, models in stored.value["tasks"].items()
        for name, metrics in models.items()
        for metric, score in metrics.items()
    )
    text = (
        "The field's own harness, over our served models. Its numbers are compared among each other only. Requests "
        "that failed are left out of the scores."
    )
    head = ("harness", "task", "model", "metric", "score", "questions", "failed", "run")
    blocks: list[Block] = [Text(text), Table(head, rows)]
    kept = tuple(
        (
            task,
            name,
            metric,
            share(row["raw"]),
            f"{row['lost']} / {row['won']}",
            p_value(row["p"]),
            Link("run", to(stored.place)),
        )
        for stored in evidence.harness
        for task, models in stored.value["retention"].items()
        for name, metrics in models.items()
        for metric, row in metrics.items()
    )
    if kept:
        caption = "Retention against the base that the same harness asked."
        blocks.append(Table(("task", "model", "metric", "kept", "lost / won", "p", "run"), kept, caption))
    return Section("Public benchmarks", tuple(blocks))


def runs_section(evidence: Evidence, to: To) -> Section:
    """Every stored result with its settings, and what was left out."""
    rows: list[tuple[Any, ...]] = []
    for stored in evidence.vqa:
        rows.append(("vqa", stored.value["set"], f"{stored.value['made_at']}", Link(stored.place, to(stored.place))))
    for suite in evidence.suites:
        for words, stored in suite.folders:
            name = f"{suite.name} on {suite.robot}" if suite.robot else suite.name
            rows.append(("rollouts", f"{name}: {words}", "", Link(stored.place, to(stored.place))))
    for stored in (*evidence.actions, *evidence.harness):
        what = f"{stored.value.get('data', '')} {stored.value.get('model', '')}".strip()
        kind, made = stored.place.split("/")[0], stored.value.get("made_at", "")
        rows.append((kind, what, made, Link(stored.place, to(stored.place))))
    blocks: list[Block] = [Table(("kind", "what", "made", "files"), tuple(rows))]
    if evidence.left_out:
        old = tuple((each.model, each.weights, each.what, each.place) for each in evidence.left_out)
        text = (
            "Left out everywhere above: results of other weights under the same name. Those weights count that drove "
            "the paper's suite last, or were measured last."
        )
        blocks += [Text(text), Table(("model", "weights", "what", "where it was"), old)]
    return Section("Runs", tuple(blocks))
