"""Where weights come from: a small file that training writes beside an adapter or checkpoint (vlm2vla.json).

It says on which base it was trained, byte for byte, and how it writes actions, so that an adapter is not put on another
base by mistake. Imports nothing heavy.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from vlm2vla.workspace import write_atomic

ORIGIN_FILE = "vlm2vla.json"
_PIECE = 1 << 20


@dataclass(frozen=True)
class Origin:
    """What fine-tuned weights were made from.

    Attributes:
        base: Name, folder or hub id of the base.
        base_fingerprint: `fingerprint` of the base's folder, "" where it was not known.
        actions: How actions were written in training.
        form: Name of the action form, as `vlm2vla.language.form` takes it.
        temperature_plan: At which their motion plans are best sampled; None where nobody said.
    """

    base: str
    base_fingerprint: str = ""
    actions: Literal["language", "tokens", ""] = ""
    form: str = ""
    temperature_plan: float | None = None


def write_origin(folder: Path, origin: Origin) -> None:
    """Put vlm2vla.json into the folder of an adapter or checkpoint."""
    write_atomic(folder / ORIGIN_FILE, json.dumps(asdict(origin), indent=1, ensure_ascii=False) + "\n")


def read_origin(folder: Path) -> Origin | None:
    """What vlm2vla.json says; None where it is missing or damaged."""
    try:
        row = json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8"))
        actions, temperature = row.get("actions", ""), row.get("temperature_plan")
        return Origin(
            str(row["base"]),
            str(row.get("base_fingerprint", "")),
            actions if actions in ("language", "tokens") else "",
            str(row.get("form", "")),
            float(temperature) if temperature is not None else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def fingerprint(folder: Path) -> str:
    """16 hex digits that tell weights apart; "" when there are no safetensors files.

    Of each file the size and, evenly spread, at most 64 pieces of 1 MiB are read, so that 24 GB take hardly longer than
    small files: enough to tell trainings apart, no protection against forgery.
    """
    files = sorted(folder.glob("*.safetensors"))
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as opened:
            for place in range(0, size, max(_PIECE, size // 64)):
                opened.seek(place)
                digest.update(opened.read(_PIECE))
    return digest.hexdigest()[:16] if files else ""
