"""The numbered parquet files of a LeRobot v3.0 data set under way. Knows places and row groups, not what is in them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vlm2vla.trajectories.lerobot_stats import Stats

CHUNK_FILES = 1000

_META_ROWS, _META_FILE_ROWS = 500, 10_000
_EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"


def place_of(number: int) -> dict[str, int]:
    """Number of a file -> its chunk, and its number in that chunk."""
    return {"chunk_index": number // CHUNK_FILES, "file_index": number % CHUNK_FILES}


class RowGroups:
    """Parquet files that take one table as one row group each, and roll over when they are full."""

    def __init__(self, root: Path, template: str, max_bytes: int):
        self._root, self._template, self._max_bytes = root, template, max_bytes
        self._number, self._writer = -1, None
        self._path = root

    def write(self, table: pa.Table, *, new_file: bool = False) -> dict[str, int]:
        """Write one row group; returns where: chunk_index and file_index."""
        if self._writer is None or new_file or self._path.stat().st_size > self._max_bytes:
            self.close()
            self._number += 1
            self._path = self._root / self._template.format(**place_of(self._number))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, table.schema, write_page_checksum=True)
        self._writer.write_table(table, row_group_size=max(1, len(table)))
        return place_of(self._number)

    def close(self) -> None:
        """Finish the last file; more than once does no harm."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class EpisodeRows:
    """The table of episodes, written a few hundred rows at a time."""

    def __init__(self, root: Path):
        self._files = RowGroups(root, _EPISODES_PATH, 1 << 62)
        self._rows: list[dict[str, Any]] = []
        self._schema: pa.Schema | None = None
        self._written = 0

    def write(
        self,
        index: int,
        task: str,
        steps: int,
        first_frame: int,
        data: Mapping[str, int],
        videos: Mapping[str, Any],
        stats: Mapping[str, Stats],
    ) -> None:
        """Add one episode.

        Args:
            index: Number of the episode.
            task: Its instruction.
            steps: Number of frames.
            first_frame: Number of its first frame in the data set.
            data: Place of its data file.
            videos: Columns about its videos.
            stats: Statistics by feature.
        """
        row: dict[str, Any] = {"episode_index": index, "tasks": [task], "length": steps}
        row |= {f"data/{name}": value for name, value in data.items()}
        row |= {"dataset_from_index": first_frame, "dataset_to_index": first_frame + steps, **videos}
        for feature, values in stats.items():
            row |= {f"stats/{feature}/{name}": value.tolist() for name, value in values.items()}
        row |= {f"meta/episodes/{name}": value for name, value in place_of(index // _META_FILE_ROWS).items()}
        self._rows.append(row)
        if len(self._rows) == _META_ROWS:
            self._flush()

    def close(self) -> None:
        """Finish the last file; more than once does no harm."""
        self._flush()
        self._files.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        table = pa.Table.from_pylist(self._rows, self._schema)
        self._schema = table.schema
        self._files.write(table, new_file=self._written % _META_FILE_ROWS == 0)
        self._written += len(self._rows)
        self._rows = []
