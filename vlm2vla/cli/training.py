"""Fine-tuning: train, and what became of the runs."""

from dataclasses import asdict

import tyro
from tqdm import tqdm

from vlm2vla.cli.console import Common, Done, Flat, bar, say
from vlm2vla.training.config import TrainConfig, TuneConfig
from vlm2vla.training.run import Progress
from vlm2vla.training.runs import compare, find_run
from vlm2vla.training.runs import runs as all_runs
from vlm2vla.workspace import Workspace


def train(
    config: Flat[TrainConfig] = TrainConfig(),
    tune: Flat[TuneConfig] = TuneConfig(),
    common: Flat[Common] = Common(),
) -> Done:
    """Fine-tune a VLM on action language: LoRA or full, words or action tokens."""
    from vlm2vla import pipeline

    with bar("samples", common, "sample") as progress, _Steps(common) as told:
        report = pipeline.train(config, tune, Workspace.open(common.workspace), progress=progress, told=told)
    loss = "no step" if report.loss is None else f"loss {report.loss:.4f}"
    held_out = "" if report.held_out_loss is None else f", held out {report.held_out_loss:.4f}"
    pace = "" if report.samples_per_s is None else f", {report.samples_per_s:.1f} answers per second"
    say(f"{report.state}: step {report.steps} of {report.planned}, {loss}{held_out}{pace}; {report.result}")
    return Done(asdict(report))


def runs_list(common: Flat[Common] = Common()) -> Done:
    """All training runs, the newest last."""
    found = all_runs(Workspace.open(common.workspace))
    for run in found:
        say(_line(run))
    return Done({"runs": [run.summary() for run in found]})


def runs_show(run: tyro.conf.Positional[str], common: Flat[Common] = Common()) -> Done:
    """Everything about one run: settings, samples, checks, losses, model card."""
    folder = find_run(Workspace.open(common.workspace), run)
    card = folder.path / "README.md"
    say(card.read_text(encoding="utf-8") if card.is_file() else _line(folder))
    files = {name: folder.read(f"{name}.json") for name in ("config", "data", "checks", "environment")}
    return Done(folder.summary() | files | {"metrics": folder.metrics()})


def runs_compare(names: tyro.conf.Positional[tuple[str, ...]] = (), common: Flat[Common] = Common()) -> Done:
    """Runs side by side: what differs in their settings, and their losses; all of them without names."""
    workspace = Workspace.open(common.workspace)
    found = [find_run(workspace, name) for name in names] or all_runs(workspace)
    for run in found:
        say(_line(run))
    compared = compare(found)
    for setting, values in compared["differ"].items():
        say(f"  {setting}: " + ", ".join(f"{run} {value}" for run, value in values.items()))
    return Done(compared)


def runs_stop(run: tyro.conf.Positional[str], common: Flat[Common] = Common()) -> Done:
    """Ask a run to stop after its current step, with a checkpoint to go on from."""
    find_run(Workspace.open(common.workspace), run).ask_to_stop()
    say(f"{run} will stop after its current step")
    return Done({"run": run, "stopping": True})


def _line(run) -> str:
    row = run.summary()
    numbers = ", ".join(
        f"{what} {row[key]:.4f}"
        for key, what in (("loss", "loss"), ("held_out_loss", "held out"))
        if row[key] is not None
    )
    return (
        f"{row['run']:32} {row['state']:9} step {row['step']} of {row['steps']}  {numbers}  {row['message']}".rstrip()
    )


class _Steps:
    """A bar of optimizer steps on standard error."""

    def __init__(self, common: Common):
        self._bar = tqdm(desc="train", unit="step", disable=None if common.json else False)

    def __enter__(self):
        return self._told

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _told(self, progress: Progress) -> None:
        if progress.steps and self._bar.total != progress.steps:
            self._bar.total = progress.steps
        loss = "" if progress.loss is None else f"loss {progress.loss:.4f}"
        self._bar.set_postfix_str(progress.message or loss, refresh=False)
        self._bar.update(progress.step - self._bar.n)


COMMANDS = {
    "train": train,
    "runs": {"list": runs_list, "show": runs_show, "compare": runs_compare, "stop": runs_stop},
}
