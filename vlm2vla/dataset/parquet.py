"""Parquet export: one flat table, one row per subtask, with words, numbers and where they come from.

    OUT/subtasks.parquet

For analysis and for training pipelines of one's own; frames stay where they are. Arrays are nested lists: read them
with pyarrow, pandas, DuckDB or `datasets`.
"""

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from vlm2vla.config import ExportConfig
from vlm2vla.dataset.conversations import refuse_nothing
from vlm2vla.dataset.folder import export_folder, hashes, write_manifest
from vlm2vla.dataset.manifest import Manifest, manifest_of
from vlm2vla.dataset.select import LabelledEpisode, Selection, form_called
from vlm2vla.motion import actions, displacement

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "subtasks.parquet"
ROWS_PER_GROUP = 2000
UNITS = {
    "start_s, end_s": "seconds",
    "displacement": "dx dy dz in metres, droll dpitch dyaw in radians; reached, manipulation frame",
    "chunk_rows": "action text as numbers: metres, radians, gripper 1 open 0 closed",
    "motion": "one row per step: reached dx dy dz (m) droll dpitch dyaw (rad) and gripper command",
    "states": "one row per step: reached x y z (m) roll pitch yaw (rad) and measured gripper opening 0..1",
    "seconds, cost": "in provenance: of the whole episode's labels; US dollars",
}


def write_parquet(config: ExportConfig, items: Iterable[LabelledEpisode]) -> Manifest:
    """Write `subtasks.parquet` to `config.out`.

    Args:
        config: Where to, and which labels.
        items: Labels and recordings; read once, one at a time.

    Raises:
        ExportError: `config.out` is not empty or cannot be written, or nothing can be exported.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    selection = Selection(config.include_unreviewed)
    schema = _schema()
    written = 0
    with export_folder(config.out) as folder:
        with pq.ParquetWriter(folder / TABLE, schema, compression="zstd") as writer:
            rows: list[dict[str, Any]] = []
            for item in selection.of(items):
                rows.extend(rows_of_episode(item))
                if len(rows) >= ROWS_PER_GROUP:
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                    written, rows = written + len(rows), []
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                written += len(rows)
        refuse_nothing(written, selection)
        manifest = manifest_of(
            "parquet",
            selection,
            config=config,
            counts={"rows": written},
            read_with=f'pyarrow.parquet.read_table("OUT/{TABLE}"); '
            f'datasets.load_dataset("parquet", data_files="OUT/{TABLE}")',
            units=UNITS,
            files=hashes(folder),
        )
        write_manifest(folder, manifest)
    return manifest


def rows_of_episode(item: LabelledEpisode) -> Iterator[dict[str, Any]]:
    """One row per subtask; columns as in `UNITS` and the table's schema."""
    annotated, episode = item.annotated, item.episode
    words = form_called(annotated.action_form)
    motion = actions(episode)
    provenance = annotated.provenance
    shared = {
        "episode_id": episode.id,
        "dataset": episode.dataset,
        "source_format": episode.source.format,
        "source_ids": json.dumps(dict(episode.source.ids), sort_keys=True),
        "instruction": episode.instruction,
        "paraphrases": list(episode.paraphrases),
        "embodiment": episode.embodiment.name,
        "rate_hz": episode.rate_hz,
        "episode_steps": len(episode),
        "action_form": annotated.action_form,
        "revision": item.revision,
        "authors": sorted({entry.author for entry in provenance}),
        "models": sorted({entry.model_version or entry.model for entry in provenance} - {""}),
        "prompt_hashes": sorted({entry.prompt_hash for entry in provenance} - {""}),
        "provenance": json.dumps(annotated.to_json()["provenance"], ensure_ascii=False, sort_keys=True),
    }
    for index, subtask in enumerate(annotated.subtasks):
        span = slice(subtask.start_step, subtask.end_step)
        yield {
            **shared,
            "index": index,
            "uid": subtask.uid,
            "start_step": subtask.start_step,
            "end_step": subtask.end_step,
            "start_s": subtask.start_step / episode.rate_hz,
            "end_s": subtask.end_step / episode.rate_hz,
            "subtask": subtask.text,
            "plan": subtask.plan,
            "chunk": subtask.chunk,
            "chunk_rows": words.parse(subtask.chunk).rows.tolist(),
            "displacement": displacement(episode, subtask.start_step, subtask.end_step).tolist(),
            "motion": motion[span].astype(np.float32).tolist(),
            "states": np.asarray(episode.states[span], dtype=np.float32).tolist(),
            "status": subtask.status,
            "reason": subtask.reason,
            "subtask_source": subtask.sources.get("subtask", ""),
            "plan_source": subtask.sources.get("plan", ""),
            "chunk_source": subtask.sources.get("chunk", ""),
        }


def _schema() -> "pa.Schema":
    """Columns in the order of the file: what is looked for first stands first."""
    import pyarrow as pa

    text, whole, number = pa.string(), pa.int64(), pa.float64()
    texts, rows32 = pa.list_(text), pa.list_(pa.list_(pa.float32()))
    columns = {
        text: ("episode_id", "dataset", "instruction", "uid", "subtask", "plan", "chunk", "action_form"),
        whole: ("index", "start_step", "end_step"),
        number: ("start_s", "end_s"),
        pa.list_(pa.list_(number)): ("chunk_rows",),
        pa.list_(number): ("displacement",),
        rows32: ("motion", "states"),
    }
    labels = ("status", "reason", "subtask_source", "plan_source", "chunk_source", "provenance")
    origin = ("embodiment", "source_format", "source_ids")
    return pa.schema(
        [(name, kind) for kind, names in columns.items() for name in names]
        + [(name, text) for name in labels]
        + [("revision", whole), ("authors", texts), ("models", texts), ("prompt_hashes", texts)]
        + [(name, text) for name in origin]
        + [("paraphrases", texts), ("rate_hz", number), ("episode_steps", whole)]
    )
