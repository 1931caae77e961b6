"""Who may do what at a robot, decided without sockets: sessions, the one lease, order and age of actions, heartbeats.

Every method takes `now`, seconds of the server's own steady clock. No time of a client is ever looked at: a client
hands back a tick that the server issued, and how long that may be ago is a duration. Not thread-safe; the server holds
a lock. Runs on Python 3.10.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vlm2vla.errors import ActionRefusedError
from vlm2vla.robot.link.config import RobotServerConfig
from vlm2vla.robot.link.messages import Act

_MOST_SESSIONS = 64


@dataclass
class _Session:
    key: bytes
    operator: str
    seen_at: float
    last_seq: int = -1
    # Why the lease of this session ended, for its next action.
    ended: str = ""


class Gate:
    """One controller lease over many sessions.

    Args:
        config: How long a heartbeat may be away, and how old an action may be.
        names: Names by public key, from the allow-list.
        now: The clock's reading now; ticks count from here.
    """

    def __init__(self, config: RobotServerConfig, names: Mapping[bytes, str], now: float):
        self._config, self._names = config, names
        # Ticks begin anywhere, so that nobody is tempted to take them for a time of day.
        self._zero = now - secrets.randbelow(1_000_000)
        self._sessions: dict[str, _Session] = {}
        self._lease = ""
        self._driver = ""
        # Whose heartbeat is awaited: the driver, and for a while one that was lost.
        self._watched = ""
        self._beat_at = now

    def tick(self, now: float) -> int:
        """Milliseconds since an arbitrary start."""
        return round((now - self._zero) * 1000)

    def hello(self, key: bytes, operator: str, now: float) -> str:
        """A new session for the holder of `key`; the one that was silent longest makes room."""
        idle = [name for name in self._sessions if name not in (self._driver, self._watched)]
        if len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[min(idle, key=lambda name: self._sessions[name].seen_at)]
        name = secrets.token_hex(16)
        key_name = self._names.get(key, "unknown key")
        shown = operator.strip()[:80]
        self._sessions[name] = _Session(key, f"{shown} (key {key_name})" if shown else key_name, now)
        return name

    def take(self, session: str, key: bytes, now: float) -> str:
        """The lease, for `session` alone, until it is given back or ends.

        Raises:
            ActionRefusedError: Somebody else drives, or was just lost.
        """
        found = self._known(session, key)
        if self._driver and self._driver != session:
            raise ActionRefusedError(f"{self.driver} drives; ask them to give control back", rule="held")
        if self._watched and self._watched != session:
            lost = self._sessions[self._watched].operator
            raise ActionRefusedError(f"the link to {lost} was just lost; wait two seconds", rule="held")
        self._lease, self._driver, self._watched = secrets.token_hex(16), session, session
        self._beat_at, found.ended = now, ""
        return self._lease

    def give(self, session: str, key: bytes, lease: str) -> bool:
        """Give the lease back; whether it was there to give."""
        self._known(session, key)
        if not lease or lease != self._lease:
            return False
        self._end("")
        return True

    def drive(self, session: str, key: bytes, lease: str) -> None:
        """Whether the holder of `lease` asks.

        Raises:
            ActionRefusedError: Unknown session, or no lease.
        """
        self._leased(session, lease, self._known(session, key))

    def admit(self, act: Act, key: bytes, now: float) -> None:
        """Whether this action may go to the robot; its sequence number is used up either way.

        Raises:
            ActionRefusedError: Unknown session, no lease, duplicate, out of order, or stale.
        """
        session = self._known(act.session, key)
        self._leased(act.session, act.lease, session)
        if act.seq <= session.last_seq:
            what = "came twice" if act.seq == session.last_seq else f"came after number {session.last_seq}"
            raise ActionRefusedError(f"action number {act.seq} {what}; it was not carried out", rule="order")
        session.last_seq = act.seq
        self.still(act, now)

    def still(self, act: Act, now: float) -> None:
        """Whether an admitted action may begin now.

        Raises:
            ActionRefusedError: The lease ended meanwhile, or it is too late.
        """
        session = self._sessions.get(act.session)
        if session is None:
            raise ActionRefusedError("the session has ended", rule="session")
        self._leased(act.session, act.lease, session)
        age_ms = self.tick(now) - act.tick
        if age_ms < 0:
            raise ActionRefusedError("the action names a tick that was never issued", rule="tick")
        most = min(act.valid_ms, int(self._config.max_age_s * 1000))
        if age_ms > most:
            raise ActionRefusedError(f"the action is stale: {age_ms} ms after the tick, at most {most}", rule="stale")

    def beat(self, session: str, key: bytes, now: float) -> bool:
        """Note a heartbeat; whether the session is known."""
        found = self._sessions.get(session)
        if found is None or found.key != key:
            return False
        found.seen_at = now
        if session == self._watched:
            self._beat_at = now
            if not self._driver:
                self._watched = ""
        return True

    def overdue(self, now: float) -> Literal["", "stop", "runstop"]:
        """What the silence of the driver asks for now; each is said once."""
        silent = now - self._beat_at
        if self._driver and silent >= self._config.stop_after_s:
            watched = self._watched
            self._end(f"your heartbeat was lost for {silent:.1f} s")
            self._watched = watched
            return "stop"
        if self._watched and not self._driver and silent >= self._config.runstop_after_s:
            self._watched = ""
            return "runstop"
        return ""

    def stopped(self, session: str, key: bytes) -> str:
        """Somebody stops the robot: returns who. A stop by anybody but the driver takes the lease away."""
        found = self._sessions.get(session)
        who = found.operator if found is not None and found.key == key else self._names.get(key, "somebody")
        if self._driver and (session != self._driver or found is None or found.key != key):
            self._end(f"{who} stopped the robot")
        return who

    def revoke(self, reason: str) -> None:
        """End the lease, whoever has it."""
        if self._driver:
            self._end(reason)

    @property
    def driver(self) -> str:
        """Who drives, for people; empty when nobody does."""
        return self._sessions[self._driver].operator if self._driver else ""

    def drives(self, session: str) -> bool:
        """Whether `session` holds the lease."""
        return bool(session) and session == self._driver

    def _known(self, session: str, key: bytes) -> _Session:
        found = self._sessions.get(session)
        if found is None or found.key != key:
            raise ActionRefusedError("unknown session (was the robot server restarted?); connect again", rule="session")
        return found

    def _leased(self, name: str, lease: str, session: _Session) -> None:
        if lease and lease == self._lease and name == self._driver:
            return
        why = session.ended or (f"{self.driver} drives" if self._driver else "nobody drives")
        raise ActionRefusedError(f"you do not have control: {why}; take control first", rule="lease")

    def _end(self, why: str) -> None:
        self._sessions[self._driver].ended = why
        self._lease = self._driver = self._watched = ""
