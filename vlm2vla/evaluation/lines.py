"""Results as JSON lines that a kill cannot spoil: appended one by one, by one process at a time."""

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlm2vla.errors import EvaluationError
from vlm2vla.workspace import write_atomic


class Lines:
    """Rows of one file, and beside it what they are about.

    Args:
        folder: Made when missing.
        name: Of the file of rows in it.
        about: What the rows are results of, written to run.json. A folder with other results is refused.

    Raises:
        EvaluationError: The folder belongs to something else, or run.json is damaged.
    """

    def __init__(self, folder: Path, name: str, about: Mapping[str, Any]):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / name
        stored = read_about(folder)
        if stored and {key: stored.get(key) for key in about} != dict(about):
            different = ", ".join(key for key in about if stored.get(key) != about[key])
            raise EvaluationError(
                f"{folder} holds results of something else ({different} differ): move it away, or use another workspace"
            )
        if not stored:
            write_atomic(folder / "run.json", json.dumps(dict(about), ensure_ascii=False, indent=1))

    def read(self) -> list[dict[str, Any]]:
        """The rows, see `read_lines`."""
        return read_lines(self._path)

    @contextmanager
    def writing(self) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Gives a function that appends a row; the row is on its way to the disk when that returns.

        Raises:
            EvaluationError: Another process writes here.
        """
        with self._path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise EvaluationError(f"another process is writing into {self.folder}; wait for it") from error
            _cut_torn_line(file)

            def add(row: Mapping[str, Any]) -> None:
                file.write((json.dumps(dict(row), ensure_ascii=False) + "\n").encode())
                file.flush()

            yield add


def read_about(folder: Path) -> dict[str, Any]:
    """run.json of a folder; empty when there is none.

    Raises:
        EvaluationError: It is damaged.
    """
    try:
        return json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise EvaluationError(f"{folder / 'run.json'} is damaged ({error}); move the folder away") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Rows in the order in which they came; a last line that was cut off by a kill is none.

    Raises:
        EvaluationError: Another line is damaged.
    """
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    rows = []
    for number, line in enumerate(whole.splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise EvaluationError(f"{path}:{number} is damaged ({error}); remove that line") from error
            if not isinstance(row, dict):
                raise EvaluationError(f"{path}:{number} is no JSON object; remove that line")
            rows.append(row)
    return rows


def _cut_torn_line(file: Any) -> None:
    """A kill in the middle of a line left half of it: drop that half."""
    file.seek(0)
    whole, newline, torn = file.read().rpartition(b"\n")
    if torn:
        file.truncate(len(whole) + len(newline))
    file.seek(0, 2)
