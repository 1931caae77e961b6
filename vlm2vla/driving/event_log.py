"""Everything that happens while driving, as numbered JSON records that any number of readers follow.

Knows no robot. Transient records (text as it is written, gauges) are kept only in their newest version: who comes late
sees the present, not every step to it.
"""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

Record = dict[str, Any]
KEPT = 20_000


class EventLog:
    """Records with sequence numbers, from 1 on. Safe from any thread.

    Attributes:
        boot: Another one for every log: a number of one log says nothing about another.
    """

    def __init__(self, clock: Callable[[], float] | None = None, kept: int = KEPT):
        began = time.monotonic()
        self.now = clock or (lambda: time.monotonic() - began)
        self.boot = secrets.token_hex(4)
        self._records: deque[Record] = deque(maxlen=kept)
        self._transient: dict[str, Record] = {}
        self._seq = 0
        self._dropped = 0  # number of the newest record that is gone
        self._changed = threading.Condition()
        self._listeners: list[Callable[[], None]] = []

    @property
    def seq(self) -> int:
        """Number of the newest record."""
        return self._seq

    def add(self, kind: str, *, run: str = "", transient: str = "", **fields: Any) -> Record:
        """Append one record.

        Args:
            kind: What happened.
            run: Id of the run it belongs to.
            transient: Name under which only the newest record is kept; "" keeps it for good.
            **fields: JSON values.
        """
        with self._changed:
            self._seq += 1
            record: Record = {"seq": self._seq, "at": round(self.now(), 4), "run": run, "kind": kind, **fields}
            if transient:
                self._transient[transient] = record
            else:
                if len(self._records) == self._records.maxlen:
                    self._dropped = self._records[0]["seq"]
                self._records.append(record)
            self._changed.notify_all()
            listeners = list(self._listeners)
        for tell in listeners:
            tell()
        return record

    def forget(self, transient: str) -> None:
        """Drop a transient record that says nothing any more."""
        with self._changed:
            self._transient.pop(transient, None)

    def since(self, seq: int) -> list[Record] | None:
        """Records after number `seq`, in order; None when some of them are gone or never were."""
        with self._changed:
            if seq < self._dropped or seq > self._seq:
                return None
            fresh: list[Record] = []
            for record in reversed(self._records):
                if record["seq"] <= seq:
                    break
                fresh.append(record)
            fresh += [record for record in self._transient.values() if record["seq"] > seq]
        return sorted(fresh, key=lambda record: record["seq"])

    def wait(self, seq: int, timeout_s: float) -> bool:
        """Wait for a record after number `seq`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._seq > seq, timeout_s)

    def listen(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Have `tell` called after every record, in the thread that made it; returns how to end that."""
        with self._changed:
            self._listeners.append(tell)

        def end() -> None:
            with self._changed:
                if tell in self._listeners:
                    self._listeners.remove(tell)

        return end
