"""A merged checkpoint of an adapter, for programs that know no adapters."""

from pathlib import Path

from vlm2vla.dataset.folder import export_folder
from vlm2vla.errors import ConfigError
from vlm2vla.vlm.registry import ModelEntry, ModelRegistry
from vlm2vla.workspace import Workspace


def export_merged(name: str, out: Path, workspace: Workspace) -> ModelEntry:
    """Write an adapter together with its base as one checkpoint; returns what was merged.

    Raises:
        NotFoundError: No such model.
        ConfigError: It is no adapter.
        ExportError: The folder is not empty, or cannot be written; nothing is left behind.
        ModelLoadError: Base or adapter cannot be read, or they cannot become one.
    """
    entry = ModelRegistry(workspace).get(name)
    if entry.kind != "adapter":
        raise ConfigError(f"{name!r} is no adapter ({entry.kind}): there is nothing to merge into a base")
    with export_folder(out) as folder:
        from vlm2vla.vlm.local.merge import write_merged

        write_merged(entry, folder)
    return entry
