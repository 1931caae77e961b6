"""The line that a person types action language into: texts come in from any thread, the policy waits for the next."""

import threading
from collections import deque
from collections.abc import Callable

from vlm2vla.errors import ActionRefusedError, ConfigError

MAX_TEXT = 2000
MAX_WAITING = 3


class TypingLine:
    """A short queue of typed texts.

    Args:
        stopped: Set when the run is over; then nobody waits any more.
        changed: Called when the policy begins or ends to wait for a text.
    """

    def __init__(self, stopped: threading.Event, changed: Callable[[], None] = lambda: None):
        self.stopped, self._tell = stopped, changed
        self._texts: deque[str] = deque()
        self._done = False
        self._changed = threading.Condition()
        self.waiting = False

    def put(self, text: str) -> None:
        """One more text.

        Raises:
            ConfigError: Empty, or too long to be action language.
            ActionRefusedError: Others are still waiting to be carried out.
        """
        if not text.strip():
            raise ConfigError("type an action, such as: move forward 4 cm, then close the gripper")
        if len(text) > MAX_TEXT:
            raise ConfigError(f"{len(text)} characters are too long for an action; at most {MAX_TEXT}")
        with self._changed:
            if len(self._texts) >= MAX_WAITING:
                raise ActionRefusedError("wait: what was typed before is still being carried out", rule="queue")
            self._texts.append(text)
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing more will be typed."""
        with self._changed:
            self._done = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Look at `stopped` again."""
        with self._changed:
            self._changed.notify_all()

    def read(self) -> str | None:
        """The next text; None when there will be none."""
        with self._changed:
            self.waiting = not self._texts
        if self.waiting:
            self._tell()
        with self._changed:
            self._changed.wait_for(lambda: self._texts or self._done or self.stopped.is_set())
            text = self._texts.popleft() if self._texts and not self.stopped.is_set() else None
        if self.waiting:
            self.waiting = False
            self._tell()
        return text
