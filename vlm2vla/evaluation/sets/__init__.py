"""VQA sets: a folder or file in one of three kinds, found by name or path.

FOLDER with items.jsonl (or one *.jsonl)   our own: one question a line, images beside it
*.tsv                                      VLMEvalKit: base64 images, MMBench with or without rotated copies
*.parquet, or a folder of them             as lmms-eval's data sets are stored
"""

from pathlib import Path

from vlm2vla.config import did_you_mean
from vlm2vla.errors import EvaluationError, NotFoundError
from vlm2vla.evaluation.items import VqaSet
from vlm2vla.evaluation.sets import folder, parquet, tsv

SHIPPED = Path(__file__).parents[3] / "assets" / "vqa"


def load_set(name: str, *, places: tuple[Path, ...] = ()) -> VqaSet:
    """The set called `name`, or at that path.

    Args:
        name: A path, or the name of a set that ships or lies in one of `places`.
        places: Further folders of sets.

    Raises:
        NotFoundError: No such set; the message offers the closest one.
        EvaluationError: It is not a VQA set, or none of its rows can be asked.
    """
    path = _find(name, (SHIPPED, *places))
    if path.is_file():
        readers = {".tsv": tsv.read, ".parquet": parquet.read, ".jsonl": folder.read}
        if path.suffix not in readers:
            raise EvaluationError(f"{path} is no VQA set: a set is a folder, or a .tsv, .parquet or .jsonl file")
        found = readers[path.suffix](path)
    elif any(path.glob("*.jsonl")):
        found = folder.read(path)
    elif any(path.rglob("*.parquet")):
        found = parquet.read(path)
    elif tables := sorted(path.glob("*.tsv")):
        if len(tables) > 1:
            names = ", ".join(table.name for table in tables)
            raise EvaluationError(f"{path} holds several sets ({names}); name one of the files")
        found = tsv.read(tables[0])
    else:
        raise EvaluationError(f"{path} is no VQA set: there is no .jsonl, .tsv or .parquet file in it")
    if not found.items:
        first = f"; the first problem is {found.problems[0][1]!r} in {found.problems[0][0]}" if found.problems else ""
        raise EvaluationError(f"{path} has no question that can be asked{first}")
    return found


def known_sets(*places: Path) -> dict[str, Path]:
    """Sets by name, those that ship first."""
    found: dict[str, Path] = {}
    for place in (SHIPPED, *places):
        if place.is_dir():
            for path in sorted(place.iterdir()):
                if path.is_dir() or path.suffix in (".tsv", ".parquet", ".jsonl"):
                    found.setdefault(path.stem if path.is_file() else path.name, path)
    return found


def _find(name: str, places: tuple[Path, ...]) -> Path:
    known = known_sets(*places)
    if name in known:
        return known[name]
    path = Path(name).expanduser()
    if path.exists():
        return path
    raise NotFoundError(f"no VQA set {name!r}; {did_you_mean(name, known) if known else 'give the path of one'}")
