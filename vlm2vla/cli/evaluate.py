"""What was kept and what was gained: VQA, actions, rollouts, the report."""

from collections.abc import Callable
from typing import Any

from vlm2vla.cli.console import Common, Done, Flat, bar, say
from vlm2vla.evaluation.config import ActionsConfig, HarnessConfig, ReportConfig, SuiteConfig, VqaConfig
from vlm2vla.workspace import Workspace


def vqa(
    config: Flat[VqaConfig] = VqaConfig(),
    harness: Flat[HarnessConfig] = HarnessConfig(),
    common: Flat[Common] = Common(),
) -> Done:
    """Ask models the questions of a VQA set; retention of the fine-tuned ones with intervals."""
    from vlm2vla import pipeline

    if harness.harness:
        return _with_harness(config, harness, common)
    with bar("vqa", common, "question") as progress:
        report = pipeline.evaluate_vqa(config, Workspace.open(common.workspace), progress).to_json()
    for where, message in report["problems"]:
        say(f"left out: {where}: {message}")
    for name, row in report["scores"].items():
        say(f"{name:16} {_share(row)}  {row['questions']} questions, {row['errors']} errors{_agreement(row)}")
    for name, row in report["retention"].items():
        say(
            f"{name:16} retention {_share(row, 'raw')}; {row['base_right_tuned_wrong']} lost, "
            f"{row['base_wrong_tuned_right']} won; {row['test']} p {row['p']:.3g}"
        )
    answered = any(row["questions"] for row in report["scores"].values())
    return Done(report, 0 if answered else 1)


def _with_harness(config: VqaConfig, harness: HarnessConfig, common: Common) -> Done:
    from vlm2vla import pipeline

    scores = pipeline.evaluate_with_harness(config, harness, Workspace.open(common.workspace))
    for task, models in scores["tasks"].items():
        for name, metrics in models.items():
            for metric, row in metrics.items():
                say(f"{name:16} {task} {metric}: {_share(row, 'value')} of {row['questions']}")
    for task, models in scores["failed"].items():
        for name, number in models.items():
            say(f"{name:16} {task}: {number} requests failed and are left out")
    return Done(scores)


def actions(config: Flat[ActionsConfig] = ActionsConfig(), common: Flat[Common] = Common()) -> Done:
    """Open loop: written chunks against recorded ones; verifier and list of subtasks against the truth."""
    from vlm2vla import pipeline

    with bar("actions", common) as progress:
        report = pipeline.evaluate_actions(config, Workspace.open(common.workspace), progress)
    for name, scores in report["models"].items():
        row = scores["actions"]
        values = {key: row[key]["value"] if row[key] else None for key in ("parse_rate", "total_cm", "direction")}
        say(
            f"{name:16} plan {scores['plan']}: {_number(values['parse_rate'], '.1%')} of {row['moments']} chunks "
            f"parse; sum off by {_number(values['total_cm'], '.1f')} cm (holding still {scores['still']:.1f}); "
            f"direction {_number(values['direction'], '.1%')}"
        )
    return Done(report, 0 if any(scores["actions"]["moments"] for scores in report["models"].values()) else 1)


def _number(value: float | None, digits: str) -> str:
    return "none" if value is None else format(value, digits)


def rollouts(config: Flat[SuiteConfig] = SuiteConfig(), common: Flat[Common] = Common()) -> Done:
    """Drive every task family with every variant and the expert, the same seeds for all; what is done stays done."""
    from vlm2vla.rollout.suite import run_suite

    with bar("rollouts", common, "trial") as progress:
        report = run_suite(config, Workspace.open(common.workspace), progress).to_json()
    for model, families in report["success"].items():
        for family, row in families.items():
            if row["success"]:
                low, high = row["success"]["low"], row["success"]["high"]
                say(
                    f"{model:14} {family:20} {row['success']['value']:6.1%} (95 % interval {low:.1%} to {high:.1%}) of "
                    f"{row['trials']}, partial {row['partial']['value']:.2f}, {row['errors']} errors"
                )
    say(f"{report['rollouts']} rollouts in {report['run']}; {report['missing']} are missing")
    return Done(report, 0 if report["rollouts"] > report["errors"] else 1)


def report(config: Flat[ReportConfig] = ReportConfig(), common: Flat[Common] = Common()) -> Done:
    """Write what was measured as one HTML page and as Markdown, with the raw results beside them."""
    from vlm2vla.evaluation.report import make_report, note_runs

    workspace = Workspace.open(common.workspace)
    out = config.out or workspace.evaluations / "report"
    note_runs(workspace)
    files = make_report(workspace.evaluations, out, config, places=(workspace.vqa_sets,))
    for claim in files.claims:
        say(f"{claim.verdict:10} {claim.text}: {claim.here}")
    say(f"{files.html}, {files.markdown}")
    verdicts = [{"claim": claim.text, "verdict": claim.verdict, "here": claim.here} for claim in files.claims]
    return Done(
        {
            "html": str(files.html),
            "markdown": str(files.markdown),
            "rollouts": files.rollouts,
            "answers": files.questions,
            "claims": verdicts,
        }
    )


def _agreement(row: dict[str, Any]) -> str:
    """How often a model says the same again, where questions were repeated."""
    return f"; agrees with itself in {row['agreement']:.1%} of repeats" if "agreement" in row else ""


def _share(row: dict[str, Any], name: str = "score") -> str:
    if row[name] is None:
        return "cannot be told"
    low, high = row["low"], row["high"]
    return f"{row[name]:6.1%}" + ("" if low is None else f" (95 % interval {low:.1%} to {high:.1%})")


COMMANDS: dict[str, Callable[..., Done]] = {"vqa": vqa, "actions": actions, "rollouts": rollouts, "report": report}
