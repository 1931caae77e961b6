"""Who drives: one operator at a time, known by the heartbeat of a page; everybody else watches.

Pure bookkeeping on a clock; what is done about a lost operator is the service's business.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from vlm2vla.errors import RobotError

LEASE_S = 3.0
WATCHER_S = 5.0


class NotOperatorError(RobotError):
    """Somebody else drives, or nobody; the message says who."""


@dataclass(frozen=True)
class Operator:
    """Who drives.

    Attributes:
        client: Id of the page.
        name: For people.
        since: When it began, seconds on the log's clock.
    """

    client: str
    name: str
    since: float


class Lease:
    """One operator, many watchers.

    Args:
        clock: Seconds.
        lease_s: An operator who is not heard for so long is gone.

    Attributes:
        term: Another number whenever somebody else drives, or nobody: what begins under one term compares it.
    """

    def __init__(self, clock: Callable[[], float], lease_s: float = LEASE_S):
        self._clock, self.lease_s = clock, lease_s
        self._operator: Operator | None = None
        self._heard = 0.0
        self.term = 0
        self._watchers: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def operator(self) -> Operator | None:
        """Who drives now."""
        return self._operator

    def take(self, client: str, name: str, *, over: bool = False) -> bool:
        """Become the operator; False when that client was it already.

        Raises:
            NotOperatorError: Somebody else drives, and it is not to be taken `over`.
        """
        with self._lock:
            current = self._operator
            if current and current.client == client:
                self._heard = self._clock()
                return False
            if current and not over:
                raise NotOperatorError(f"{current.name} drives; watch, or take over")
            self._change(Operator(client, name, round(self._clock(), 3)))
            return True

    def check(self, client: str) -> int:
        """The term of that client; counts as a heartbeat.

        Raises:
            NotOperatorError: It does not drive.
        """
        with self._lock:
            current = self._operator
            if current is None:
                raise NotOperatorError("nobody drives: take control first")
            if current.client != client:
                raise NotOperatorError(f"{current.name} drives; you are watching")
            self._heard = self._clock()
            return self.term

    def beat(self, client: str, name: str = "") -> bool:
        """The page of `client` is alive, and its person is called `name`; True when it is the operator's."""
        with self._lock:
            mine = self._operator is not None and self._operator.client == client
            if mine:
                self._heard = self._clock()
                if name and name != self._operator.name:
                    self._operator = replace(self._operator, name=name)
            return mine

    def leave(self, client: str) -> Operator | None:
        """That page is gone; the operator who is gone with it, if it was theirs."""
        with self._lock:
            self._watchers.pop(client, None)
            current = self._operator
            if current is None or current.client != client:
                return None
            self._change(None)
            return current

    def lost(self) -> Operator | None:
        """The operator who was not heard for too long; nobody drives any more then."""
        with self._lock:
            current = self._operator
            if current is None or self._clock() - self._heard <= self.lease_s:
                return None
            self._change(None)
            return current

    def watch(self, client: str) -> None:
        """A page follows the events."""
        if client:
            with self._lock:
                self._watchers[client] = self._clock()

    def watchers(self) -> int:
        """How many pages follow, the operator's left out."""
        with self._lock:
            now = self._clock()
            self._watchers = {client: at for client, at in self._watchers.items() if now - at < WATCHER_S}
            mine = self._operator.client if self._operator else ""
            return sum(client != mine for client in self._watchers)

    def _change(self, operator: Operator | None) -> None:
        self._operator, self._heard, self.term = operator, self._clock(), self.term + 1
