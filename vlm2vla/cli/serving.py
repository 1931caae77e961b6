"""Serving what was trained: serve, export-merged."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from vlm2vla.cli.console import Common, Done, Flat, say
from vlm2vla.serving import ServeConfig
from vlm2vla.workspace import Workspace


def serve(config: Flat[ServeConfig] = ServeConfig(), common: Flat[Common] = Common()) -> Done:
    """Serve base and adapters over the OpenAI protocol, until Ctrl-C."""
    from vlm2vla.serving import serve as run
    from vlm2vla.vlm.local import LocalModels
    from vlm2vla.vlm.registry import ModelRegistry

    registry = ModelRegistry(Workspace.open(common.workspace))
    for name in config.models:
        registry.get(name)
    models = LocalModels(registry)
    run(config, models.model, on_ready=lambda url: say(f"serving {', '.join(config.models)} at {url}; Ctrl-C ends it"))
    return Done({"served": list(config.models)})


@dataclass(frozen=True)
class MergedModel:
    """An adapter that becomes a checkpoint of its own."""

    model: str
    """Name or folder of the adapter."""
    out: Path
    """Where the checkpoint goes; a folder that is not there yet, or empty."""


def export_merged(config: Flat[MergedModel], common: Flat[Common] = Common()) -> Done:
    """Write an adapter together with its base as one checkpoint, for programs that know no adapters."""
    from vlm2vla.pipeline.merging import export_merged as run

    entry = run(config.model, config.out, Workspace.open(common.workspace))
    say(f"{config.model} on {entry.base} is one checkpoint in {config.out}; `vlm2vla models add NAME {config.out}`")
    return Done({"out": str(config.out), "merged": asdict(entry)})


COMMANDS: dict[str, Callable[..., Done]] = {"serve": serve, "export-merged": export_merged}
