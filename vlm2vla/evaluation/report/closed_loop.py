"""The suites of rollouts -> sections: success by family and model, pairs, verdicts, another robot. Pure."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from vlm2vla.evaluation.report.cells import NOTHING, To, links, number, p_value, points, share
from vlm2vla.evaluation.report.document import Block, Figure, Link, Section, Table, Text
from vlm2vla.evaluation.report.evidence import Suite
from vlm2vla.evaluation.report.papers import paper
from vlm2vla.evaluation.report.svg import Dot, dots
from vlm2vla.evaluation.suite import EXPERT, Pair, cell, compared, families_of, pair, verdicts_of

_BEYOND = {
    "turned": "Beyond the paper: a box lies across and is too wide for the fingers unless the wrist turns. That takes "
    "seven numbers a row; expert-4dof is the expert that writes four."
}


def rollouts_section(
    suite: Suite,
    to: To,
    on_usual: Suite | None = None,
    brief: Collection[str] = (),
    lengths: Mapping[str, str] = MappingProxyType({}),
) -> Section:
    """Closed loop: success by task family and model, pairs, ways of ending.

    Args:
        suite: What was driven.
        to: Where copies lie.
        on_usual: The same suite on the usual robot, to be compared with.
        brief: Models that are neither drawn nor compared one by one (further seeds, runs of a sweep).
        lengths: How long each was trained, in words, as far as it is known.
    """
    families, models = families_of(suite.name), suite.models
    cells = {(model, family): cell(suite.rows, model, (family,)) for model in models for family in families}
    success, partial, others = [], [], []
    for model in models:
        every = cell(suite.rows, model, families, "all")
        mine, run = [cells[model, family] for family in families], _run(suite, model, to)
        found = (*(share(each.success) for each in mine), share(every.success))
        success.append((model, *found, every.trials, every.errors, lengths.get(name_of(model)) or NOTHING, run))
        partial.append((model, *(number(each.partial) for each in mine), number(every.partial), run))
        parse = NOTHING if every.parse_rate is None else f"{every.parse_rate:.1%}"
        cycle = NOTHING if every.cycle_s is None else f"{every.cycle_s:.2f} s"
        ends = ", ".join(f"{name} {count}" for name, count in every.ends)
        others.append((model, share(every.of_expert), parse, cycle, ends, run))
    drawn = [model for model in models if model not in brief and "(" not in model]
    marks = [
        Dot(family, each.model, each.success.value, each.success.low, each.success.high)
        for family in families
        for each in (cells[model, family] for model in drawn)
        if each.success
    ]
    errors = sum(each.errors for each in cells.values())
    told = ((key.replace("_", " "), value) for key, value in suite.settings.items() if value is not None)
    settings = ", ".join(f"{key} {_said(value)}" for key, value in told)
    figure = "success" if suite.usual else "-".join(filter(None, ("success", suite.name, suite.robot)))
    head = ("of the expert's success", "first tries that parse", "cycle", "ends")
    blocks: list[Block] = [
        *([Text(_BEYOND[suite.name])] if suite.name in _BEYOND else []),
        *_both_robots(suite, on_usual, to),
        Text(
            f"{len(suite.rows)} rollouts in the simulator, judged by its truth; every model drives the same seeds in "
            "the same order, some more of them than others (column trials). "
            f"{errors} ended with an error of the machinery and count for nobody. Settings: {settings}; what a model "
            "drove with other settings stands behind its name."
        ),
        Table(
            ("model", *families, "all", "trials", "errors", "trained", "run"),
            tuple(success),
            "Success with Wilson's 95 % interval.",
        ),
        Figure(figure, dots(marks, title="Success by task family", order=drawn), "Success by task family."),
        Table(("model", *families, "all", "run"), tuple(partial), "Partial credit: mean share of a task's milestones."),
        Table(("model", *head, "run"), tuple(others), "Over all families."),
        *_verdicts(suite, to),
        *_pairs(suite, families, [model for model in models if model not in (EXPERT, *brief)], to),
        *([_paper_robot()] if suite.usual else []),
    ]
    title = "Closed loop" if suite.name == "paper" else f"Closed loop: {suite.name}"
    return Section(f"{title}, on another robot ({suite.robot})" if suite.robot else title, tuple(blocks))


def name_of(shown: str) -> str:
    """The model's name without the settings that stand behind it."""
    return shown.split(" (")[0]


def _run(suite: Suite, model: str, to: To) -> Link:
    return Link("trials", to(suite.run_of(model).place))


def _both_robots(suite: Suite, on_usual: Suite | None, to: To) -> list[Block]:
    """Success on another robot beside that on the usual one."""
    if not suite.robot:
        return []
    text = (
        f"{suite.robot} has another hand, reach and place of the camera than the Stretch RE1, and takes the same "
        "actions. The expert works from the simulator's truth and is the ceiling."
    )
    families = families_of(suite.name)
    driven = {(row["model"], row["family"], row["seed"]) for row in suite.rows}
    there = on_usual.rows if on_usual else ()
    same = [row for row in there if (row["model"], row["family"], row["seed"]) in driven]
    rows = []
    for model in suite.models:
        here, usual = (cell(each, model, families).success for each in (suite.rows, same))
        run = Link("trials there", to(on_usual.run_of(model).place)) if on_usual and usual else NOTHING
        rows.append((model, share(here), _run(suite, model, to), share(usual), run))
    head = ("model", f"success on {suite.robot}", "run", "on the Stretch RE1", "its run")
    return [Text(text), Table(head, tuple(rows), "Over all families, the same seeds on both.")]


def _said(value: Any) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _verdicts(suite: Suite, to: To) -> list[Block]:
    """The verifier that drove, against the truth."""
    rows = []
    for model in suite.models:
        if found := verdicts_of(suite.rows, model):
            shares = (share(each) for each in (found.right, found.done, found.not_done))
            verifier = suite.run_of(model).value.get("verifier", "")
            rows.append((verifier, model, found.judged, *shares, found.unknown, _run(suite, model, to)))
    head = ("verifier", "while this drove", "verdicts", "right", "where done", "where not done", "not known", "run")
    caption = (
        "The verifier at run time against the simulator's truth, where the model listed the expert's subtasks. Where "
        "done, and where not: share of right verdicts; a verdict that is wrong where not done goes on too early."
    )
    return [Table(head, tuple(rows), caption)] if rows else []


def _pairs(suite: Suite, families: tuple[str, ...], models: Sequence[str], to: To) -> list[Block]:
    """The first model against each of the others: over all families, and in each of them."""
    together, apart = [], []
    for other in models[1:]:
        runs = links(*(("trials", to(suite.run_of(name).place)) for name in (models[0], other)))
        if every := pair(suite.rows, models[0], other, families, "all"):
            together.append((*_pair(every)[:-1], runs))
        apart += [(*_pair(each), runs) for each in compared(suite.rows, models[0], other, families)]
    head = ("models", "family", "pairs", "points", "only first/second", "p")
    caption = (
        "Difference of success over the same seeds (Newcombe's paired interval, exact McNemar), however long each was "
        "trained (see above)"
    )
    tables = (
        Table((*head, "runs"), tuple(together), f"{caption}."),
        Table((*head, "Holm over families", "runs"), tuple(apart), f"{caption}, family by family.", folded=True),
    )
    return [table for table in tables if table.rows]


def _pair(each: Pair) -> tuple[Any, ...]:
    return (
        f"{each.first} \u2212 {each.second}",
        each.family,
        each.pairs,
        points(each.difference),
        f"{each.only_first}/{each.only_second}",
        p_value(each.p),
        p_value(each.p_holm),
    )


def _paper_robot() -> Table:
    table = paper("robot")
    head = ("paper, real WidowX", *(task["title"] for task in table["tasks"].values()))
    rows = tuple((model, *(f"{value} %" for value in values)) for model, values in table["models"].items())
    return Table(head, rows, f"For comparison of order only: {table['source']}, with partial credit.")
