"""What tells the weights behind a name apart, so that results of other weights are never taken for theirs."""

import hashlib
from pathlib import Path

from vlm2vla.vlm.origin import fingerprint
from vlm2vla.vlm.registry import ModelEntry


def identity(entry: ModelEntry) -> str:
    """12 hex digits: of the files, for adapters together with their base; of address and name, for servers."""
    parts = [entry.kind, entry.url, entry.model]
    for place in dict.fromkeys((entry.weights, entry.path)):
        folder = Path(place)
        parts.append((fingerprint(folder) if place and folder.is_dir() else "") or place)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
