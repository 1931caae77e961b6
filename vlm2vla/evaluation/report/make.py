"""Makes the report: collects what is stored, copies it beside the pages, and writes HTML and Markdown.

OUT/index.html, README.md, figures/*.svg    the report
OUT/results/...                             the raw results that its numbers come from
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vlm2vla.errors import EvaluationError
from vlm2vla.evaluation.config import ReportConfig
from vlm2vla.evaluation.report import sections
from vlm2vla.evaluation.report.claims import Claim, claims_of
from vlm2vla.evaluation.report.closed_loop import rollouts_section
from vlm2vla.evaluation.report.document import Document, Section, Text
from vlm2vla.evaluation.report.evidence import Evidence, Suite, collect
from vlm2vla.evaluation.report.gallery import galleries
from vlm2vla.evaluation.report.html import to_html
from vlm2vla.evaluation.report.markdown import figures_of, to_markdown
from vlm2vla.evaluation.report.measured import Graded, Measured, measured, regrade
from vlm2vla.evaluation.report.open_loop import actions_section
from vlm2vla.evaluation.report.papers import paper_section
from vlm2vla.evaluation.report.recipes import recipes_of, recipes_section
from vlm2vla.evaluation.report.sweeps import SWEPT, models_section, sweeps_section, swept
from vlm2vla.evaluation.report.trained import Trained, by_weights, trained
from vlm2vla.evaluation.report.variants import VARIANTS, variant_of, variants_of, variants_section
from vlm2vla.evaluation.report.weights import of_newest
from vlm2vla.workspace import write_atomic

RESULTS = "results"
_KEPT = (".json", ".jsonl", ".md")


@dataclass(frozen=True)
class ReportFiles:
    """What was written."""

    html: Path
    markdown: Path
    claims: tuple[Claim, ...]
    rollouts: int
    questions: int


def make_report(
    results: Path, out: Path, config: ReportConfig | None = None, *, places: tuple[Path, ...] = ()
) -> ReportFiles:
    """Write the report about everything that is stored.

    Args:
        results: Folder of results (WORKSPACE/evaluations).
        out: Folder to write.
        config: Further folders of results, size of the gallery.
        places: Where VQA sets are looked for, for the pictures of the gallery.

    Raises:
        EvaluationError: Nothing was measured yet, or a stored result is damaged.
    """
    config = config or ReportConfig()
    further = [path / RESULTS if (path / RESULTS).is_dir() else path for path in config.evidence]
    evidence = of_newest(collect([results, *further]))
    if evidence.empty:
        raise EvaluationError(f"nothing was measured yet in {results}: vlm2vla evaluate vqa, actions or rollouts first")
    graded = regrade(evidence.retention, evidence, places) if evidence.retention else None
    models = measured(evidence, graded)
    claims = claims_of(evidence, graded, models)
    document = _document(evidence, graded, models, claims, config.examples, places)
    out.mkdir(parents=True, exist_ok=True)
    _copy(evidence, out / RESULTS)
    for name, svg in figures_of(document).items():
        (out / name).parent.mkdir(exist_ok=True)
        write_atomic(out / name, svg)
    html, markdown = out / "index.html", out / "README.md"
    write_atomic(html, to_html(document))
    write_atomic(markdown, to_markdown(document))
    return ReportFiles(html, markdown, claims, _rollouts(evidence), _questions(evidence))


def _document(
    evidence: Evidence,
    graded: Graded | None,
    models: Mapping[str, Measured],
    claims: tuple[Claim, ...],
    examples: int,
    places: tuple[Path, ...],
) -> Document:
    runs, suite = trained(evidence.runs), evidence.paper
    training = by_weights(runs)
    variants = variants_of(models, graded, suite)
    compared = [stored for stored in evidence.vqa if stored.value["retention"]]
    p_over_sets, brief = sections.over_sets(compared), _brief(models, training, runs)
    parts: list[Section | None] = [sections.claims_section(claims, _copied)]
    if graded and variants:
        parts.append(variants_section(variants, graded, suite, training, _copied))
    if graded and suite:
        parts.append(recipes_section(recipes_of(models, graded, suite, training), graded, suite, _copied))
    lengths = {name: training[model.weights].length for name, model in models.items() if model.weights in training}
    parts += [rollouts_section(each, _copied, _on_usual(each, evidence), brief, lengths) for each in evidence.suites]
    if suite and graded:
        parts.append(sections.trade_section(suite, graded.stored, models, _copied, brief))
    parts += [sections.vqa_section(stored, _copied, p_over_sets, brief) for stored in evidence.vqa]
    if evidence.actions:
        parts.append(actions_section(evidence, _copied))
    parts.append(sweeps_section(runs, models, _copied))
    if evidence.harness:
        parts.append(sections.harness_section(evidence, _copied))
    parts += [paper_section(), *galleries(compared, examples, places, brief)]
    parts += [models_section(models, training, _copied), sections.runs_section(evidence, _copied)]
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    intro = (
        f"Made {made} from {_rollouts(evidence)} rollouts and {_questions(evidence)} graded answers; nothing here was "
        "typed by hand. Intervals are 95 %. Each row, or else each table, names the stored run that its numbers come "
        "from."
    )
    return Document("Evidence: what fine-tuning kept, and what it gained", (Text(intro),), tuple(filter(None, parts)))


def _brief(models: Mapping[str, Measured], training: Mapping[str, Trained], runs: tuple[Trained, ...]) -> set[str]:
    """Models that the sections on seeds and sweeps tell of: further seeds of a variant, and runs of a sweep."""
    in_sweeps = {run.weights for what in SWEPT for run in swept(runs, what)}
    return {
        name
        for name, model in models.items()
        if name not in VARIANTS and (variant_of(name) or (model.weights in in_sweeps and model.weights in training))
    }


def _on_usual(suite: Suite, evidence: Evidence) -> Suite | None:
    """The same suite on the usual robot, for a suite on another one."""
    same = (each for each in evidence.suites if each.name == suite.name and not each.robot)
    return next(same, None) if suite.robot else None


def _copied(place: str) -> str:
    """Path of a copied result, from the report."""
    path = f"{RESULTS}/{place}"
    return path.replace("run.json", "rows.jsonl") if path.startswith(f"{RESULTS}/rollouts/") else path


def _copy(evidence: Evidence, to: Path) -> None:
    """The raw results, without the paths of this computer."""
    for stored in (
        *evidence.vqa,
        *evidence.actions,
        *evidence.harness,
        *evidence.runs,
        *(run for suite in evidence.suites for _, run in suite.folders),
    ):
        folder = stored.path.parent
        for path in sorted(folder.rglob("*")):
            target = to / path.relative_to(stored.root)
            if path.suffix not in _KEPT or path.resolve() == target.resolve():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json":
                write_atomic(target, _without_paths(path.read_text(encoding="utf-8"), stored.root))
            else:
                shutil.copyfile(path, target)


def _without_paths(text: str, root: Path) -> str:
    """Stored JSON with paths below the results, or else only the last part of a path."""

    def mended(value: object) -> object:
        if isinstance(value, dict):
            return {key: mended(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [mended(entry) for entry in value]
        if isinstance(value, str) and value.startswith("/"):
            path = Path(value)
            return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        return value

    return json.dumps(mended(json.loads(text)), ensure_ascii=False, indent=1)


def _rollouts(evidence: Evidence) -> int:
    return sum(len(suite.rows) for suite in evidence.suites)


def _questions(evidence: Evidence) -> int:
    return sum(row["questions"] for stored in evidence.vqa for row in stored.value["scores"].values())
