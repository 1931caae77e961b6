"""From recorded episodes to reviewed labels: import, annotate, check, export, survival."""

from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from vlm2vla.cli.console import Common, Done, Flat, bar, grouped, say
from vlm2vla.config import AnnotateConfig, CheckConfig, ExportConfig, GeminiConfig, ImportConfig, LanguageConfig
from vlm2vla.workspace import Workspace


@dataclass(frozen=True)
class ImportArguments(ImportConfig):
    """Index recorded episodes in the workspace (frames stay where they are)."""

    path: tyro.conf.Positional[Path]
    """File or folder of a data set: Bridge RLDS or raw, LeRobot v2.1 or v3.0."""


def import_(config: Flat[ImportArguments], common: Flat[Common] = Common()) -> Done:
    """Index recorded episodes in the workspace; frames stay where they are."""
    from vlm2vla import pipeline

    with bar("import", common) as progress:
        report = pipeline.import_data(config, Workspace.open(common.workspace), progress)
    for (kind, message), rows in grouped(report.errors, "kind", "message").items():
        place = f"{rows[0]['path']}, record {rows[0]['record']}" + (f", and {len(rows) - 1} more" if rows[1:] else "")
        say(f"{kind}: {message} ({place})")
    say(f"{report.episodes} episodes, {report.steps} steps ({report.added} new); {len(report.errors)} problems")
    return Done(report.to_json(), 0 if report.episodes or not report.errors else 1)


def annotate(
    config: Flat[AnnotateConfig] = AnnotateConfig(),
    language: Flat[LanguageConfig] = LanguageConfig(),
    gemini: Flat[GeminiConfig] = GeminiConfig(),
    common: Flat[Common] = Common(),
) -> Done:
    """Relabel imported episodes as subtask, motion plan and action chunk."""
    from vlm2vla import pipeline

    if config.annotator == "gemini" and gemini.dry_run:
        return _estimate(config, language, gemini, common)
    with bar("annotate", common) as progress:
        report = pipeline.annotate(config, language, gemini, Workspace.open(common.workspace), progress)
    for error in report.errors:
        say(f"{error['kind']}: {error['episode']}: {error['message']}")
    for line in (*report.warnings, *(row["message"] for row in report.possibly_billed), report.stopped):
        if line:
            say(line)
    say(
        f"{report.annotated} annotated, {report.skipped} were annotated before, {report.failed} failed"
        f" ({report.waiting} from before wait for --retry-failed); cost ${report.cost:.4f}"
        + (f", and at most ${report.uncertain_cost:.4f} for requests without a reply" if report.uncertain_cost else "")
        + (f"; ${report.total_cost:.4f} in all runs together" if report.total_cost else "")
    )
    interrupted = 130 if "Ctrl-C" in report.stopped else 1
    nothing = report.failed and not (report.annotated or report.skipped)
    return Done(report.to_json(), interrupted if report.stopped else int(bool(nothing)))


def _estimate(config: AnnotateConfig, language: LanguageConfig, gemini: GeminiConfig, common: Common) -> Done:
    from vlm2vla import pipeline

    with bar("estimate", common) as progress:
        cost = pipeline.estimate(config, language, gemini, Workspace.open(common.workspace), progress)
    counted = "counted by the provider" if cost.counted else "estimated from their size"
    say(
        f"{cost.episodes} episodes, of them {cost.skipped} annotated before and {cost.waiting} waiting for "
        f"--retry-failed; {cost.requests} requests, {cost.input_tokens} tokens in ({counted}), "
        f"{cost.output_tokens} out: ${cost.cost_usd:.2f}, at worst ${cost.worst_usd:.2f}; nothing was billed"
    )
    counts = {"annotated": 0, "skipped": cost.skipped, "waiting": cost.waiting, "failed": len(cost.errors)}
    return Done({**counts, "cost": 0.0, "estimate": cost.to_json()})


def check(config: Flat[CheckConfig] = CheckConfig(), common: Flat[Common] = Common()) -> Done:
    """Check whether annotations are well formed and true to the numbers."""
    from vlm2vla import pipeline

    with bar("check", common) as progress:
        report = pipeline.check_annotations(config, Workspace.open(common.workspace), progress)
    for episode_id, finding in report.worst:
        say(f"{finding.severity:8}{episode_id}  steps {finding.start_step} to {finding.end_step}: {finding.message}")
    error = report.displacement_error_cm
    say(
        f"{report.annotated} annotated; "
        + ", ".join(f"{count} {severity}" for severity, count in report.findings.items())
        + f"; displacement error median {error['median']} cm, 95th percentile {error['p95']} cm"
    )
    return Done(report.to_json())


def export(config: Flat[ExportConfig], common: Flat[Common] = Common()) -> Done:
    """Write reviewed annotations as a data set."""
    from vlm2vla import pipeline

    with bar("export", common) as progress:
        manifest = pipeline.export(config, Workspace.open(common.workspace), progress)
    for reason, number in manifest.left_out.items():
        say(f"left out: {number} ({reason})")
    say(", ".join(f"{number} {name}" for name, number in manifest.counts.items()) + f" written to {config.out}")
    report = {"out": str(config.out), "format": config.format, "left_out": manifest.left_out}
    return Done(report | manifest.counts)


def survival(common: Flat[Common] = Common()) -> Done:
    """How much of each prompt's (or annotator's) text was accepted as written: is it the prompt that needs work?"""
    from vlm2vla import pipeline

    rows = pipeline.open_store(Workspace.open(common.workspace)).survival()
    for row in rows:
        say(
            f"{row.share:4.0%} of the {row.level} text survived  {row.model} {row.prompt_hash}: "
            f"{row.kept} kept, {row.changed} changed, {row.dropped} dropped"
        )
    if not rows:
        say("nothing was reviewed yet: accept or reject labels in the studio first")
    return Done({"prompts": [asdict(row) | {"share": row.share} for row in rows]})


COMMANDS = {
    "import": import_,
    "annotate": annotate,
    "check": check,
    "export": export,
    "survival": survival,
}
