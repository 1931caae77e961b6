"""Pretraining of the embedded model."""

from vlm2vla.cli.console import Common, Done, Flat, say
from vlm2vla.training.pretrain.config import PretrainConfig
from vlm2vla.workspace import Workspace


def pretrain(config: Flat[PretrainConfig] = PretrainConfig(), common: Flat[Common] = Common()) -> Done:
    """Make the embedded vision-language model from pictures of the simulator; stops and resumes."""
    from vlm2vla.pipeline.pretraining import pretrain as run

    report = run(config, Workspace.open(common.workspace), say)
    say(f"{report.steps} steps; the run is in {report.run}")
    return Done(report.to_json())


COMMANDS = {"pretrain": pretrain}
