"""One connection of a client, on which one question at a time is asked and answered. Runs on Python 3.10."""

import threading
from collections.abc import Callable

import zmq

from vlm2vla.errors import RobotError
from vlm2vla.robot.link import messages as wire

_SLICE_MS = 20


class Channel:
    """One connection on which one question at a time is asked and answered."""

    def __init__(self, connect: Callable[[], zmq.Socket], clock: Callable[[], float]):
        self._connect, self._clock = connect, clock
        self._socket = connect()
        self._lock = threading.Lock()
        self._closed = False

    def ask(self, question: wire.Message, timeout_s: float, given_up: Callable[[], str] = lambda: "") -> wire.Reply:
        """The answer to `question`.

        Args:
            question: Any request.
            timeout_s: Longest wait.
            given_up: Asked every few milliseconds: why to wait no longer, or nothing.

        Raises:
            RobotError: No answer. The connection is made anew, so that nothing unsent is ever sent late.
        """
        until = self._clock() + timeout_s
        with self._lock:
            if self._closed:
                raise RobotError("the link is closed")
            try:
                return self._exchange(question, until, given_up)
            except (RobotError, zmq.ZMQError) as error:
                self._socket.close(linger=0)
                if not self._closed:
                    self._socket = self._connect()
                if isinstance(error, RobotError):
                    raise
                raise RobotError(f"the link failed: {error}") from error

    def _exchange(self, question: wire.Message, until: float, given_up: Callable[[], str]) -> wire.Reply:
        sent, data = False, wire.encode(question)
        while True:
            wanted = zmq.POLLIN if sent else zmq.POLLOUT
            if self._socket.poll(_SLICE_MS, wanted):
                if not sent:
                    self._socket.send(data, zmq.NOBLOCK)
                    sent = True
                    continue
                reply = wire.decode("reply", self._socket.recv(zmq.NOBLOCK))
                if reply.id == question.id:
                    return reply
                continue
            reason = "the link is closed" if self._closed else given_up()
            if reason:
                raise RobotError(reason)
            if self._clock() >= until:
                raise RobotError("no answer in time" if sent else "no connection in time")

    def close(self) -> None:
        """Let go; a question under way ends with an error."""
        self._closed = True
        with self._lock:
            self._socket.close(linger=0)
