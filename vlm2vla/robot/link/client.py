"""A robot on another computer, as a `Robot`. It knows the messages; not what the robot is, and no safety rule.

Actions, views and stops have a connection each, so that none waits for another, and the heartbeat has a thread and a
connection of its own. This computer's clock is only ever compared with itself. Runs on Python 3.10.
"""

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import zmq

from vlm2vla.embodiment import embodiment
from vlm2vla.errors import RobotError
from vlm2vla.robot.link import messages as wire
from vlm2vla.robot.link.channel import Channel
from vlm2vla.robot.link.config import RobotLinkConfig
from vlm2vla.robot.link.keys import read_pair, read_public
from vlm2vla.robot.protocol import ActionResult, Observation, RobotStatus

logger = logging.getLogger(__name__)

_BEAT_S = 0.1
_VALID_MS = 500
# How long after its own timeout an action's answer may take.
_ANSWER_S = 2.0


class LinkRobot:
    """A robot served by `robot-server` on another computer; see `vlm2vla.robot.protocol.Robot`.

    Besides the protocol: `begin_episode`, `take_control`, `give_control`, `in_control`, `driver`; `table_height_m`,
    None where the robot's side knows of no table. Without control everything but `act` and `begin_episode` works. A
    stop by somebody else, a lost heartbeat and a run-stop end control; it is never taken back by itself.

    Args:
        config: Where the robot is, and your key.
        clock: Steady seconds of this computer.

    Raises:
        ConfigError: A key file is missing or wrong.
        RobotError: The robot's computer does not answer, or does not know your key.
    """

    def __init__(self, config: RobotLinkConfig, *, clock: Callable[[], float] = time.monotonic):
        self._config, self._clock = config, clock
        self._pair, self._server_key = read_pair(config.key), read_public(config.server_key)
        self._operator = config.operator or self._pair.name
        self._ids = itertools.count(1)
        self._sequence = itertools.count(1)
        self._lease = ""
        self._tick = self._granted_at = 0
        self._pulse: tuple[wire.Pulse | None, float] = (None, clock())
        self._acting = threading.Lock()
        self._heard, self._closing = threading.Event(), threading.Event()
        self._context = zmq.Context()
        self._acts, self._views, self._stops = (Channel(lambda: self._connect(config.port), clock) for _ in range(3))
        try:
            welcome = self._hello()
        except RobotError:
            self._let_go()
            raise
        self.name = f"{welcome.robot} at {config.host}"
        self.embodiment = embodiment(welcome.embodiment)
        self.simulated = welcome.simulated
        self.table_height_m = welcome.table_height_m
        self._beating = threading.Thread(target=self._beat, name="robot link heartbeat", daemon=True)
        self._pulse = (None, clock())
        self._beating.start()
        if not self._heard.wait(config.timeout_s):
            self.close()
            raise RobotError(f"no heartbeat from {config.host}:{config.heartbeat_port}; is that port let through?")
        if config.control:
            try:
                self.take_control()
            except RobotError as error:
                logger.warning("watching only: %s", error)

    @property
    def in_control(self) -> bool:
        """Whether this link drives, as far as both sides know."""
        pulse, _ = self._pulse
        # A pulse from before the grant does not know of it yet.
        return bool(self._lease) and (pulse is None or pulse.yours or pulse.tick <= self._granted_at)

    @property
    def driver(self) -> str:
        """Who drives, for people; empty when nobody does."""
        pulse, _ = self._pulse
        return pulse.driver if pulse else ""

    def take_control(self) -> None:
        """Become the one who drives.

        Raises:
            RobotError: Somebody else drives, the run-stop is pressed, or the link is lost.
        """
        reply = self._ask(self._views, lambda: wire.TakeControl(next(self._ids), self._session))
        if not isinstance(reply, wire.Granted):
            raise RobotError(f"no control: {_words(reply)}")
        self._tick = self._granted_at = reply.tick
        self._lease = reply.lease

    def give_control(self) -> None:
        """Let somebody else drive; a motion under way is stopped."""
        lease, self._lease = self._lease, ""
        if lease:
            with contextlib.suppress(RobotError):
                give = wire.GiveControl(next(self._ids), self._session, lease)
                self._views.ask(give, self._config.timeout_s, self._lost)

    def begin_episode(self) -> None:
        """Fix the frame of the robot, where it has one to fix: y is 0 where the base is now.

        Raises:
            RobotError: The link is lost, you do not drive, or the robot moves.
        """
        reply = self._ask(self._views, lambda: wire.BeginEpisode(next(self._ids), self._session, self._lease))
        if not isinstance(reply, wire.Ended):
            raise RobotError(_words(reply))

    def observe(self) -> Observation:
        """Look, now; see `Robot.observe`.

        Raises:
            RobotError: The link is lost, or the robot cannot see.
        """
        reply = self._ask(self._views, lambda: wire.Look(next(self._ids), self._session))
        if not isinstance(reply, wire.View):
            raise RobotError(_words(reply))
        return wire.observation_of(reply)

    def act(self, action: np.ndarray, *, timeout_s: float = 10.0) -> ActionResult:
        """Carry out one row and wait; see `Robot.act`. A lost link is a "fault": the robot stops by itself."""
        try:
            row = np.array(action, dtype=np.float64)
            milliseconds = int(min(max(timeout_s, 0.0), 600.0) * 1000)
        except (TypeError, ValueError, OverflowError) as error:
            return ActionResult("refused", message=f"an action is 7 numbers: {error}")
        if row.shape != (7,):
            return ActionResult("refused", message=f"an action is 7 numbers, not an array of shape {row.shape}")
        if not self._lease:
            who = f"{self.driver} drives" if self.driver else "take control first"
            return ActionResult("refused", message=f"you do not have control: {who}")
        if not self._acting.acquire(blocking=False):
            return ActionResult("refused", message="another action is under way; there is no queue")
        started = self._clock()
        try:
            act = wire.Act(
                next(self._ids), self._session, self._lease, next(self._sequence), self._tick, _VALID_MS, milliseconds,
                row.tolist(),
            )  # fmt: skip
            reply = self._acts.ask(act, milliseconds / 1000 + _ANSWER_S, self._lost)
        except RobotError as error:
            self._lease = ""
            threading.Thread(target=self.stop, daemon=True).start()
            message = f"{error}; the robot stops by itself when it does not hear this computer"
            return ActionResult("fault", message=message, seconds=self._clock() - started)
        finally:
            self._acting.release()
        return self._result(reply)

    def stop(self) -> bool:
        """Stop all motion; True once the robot has confirmed it. Needs no control. See `Robot.stop`."""
        return self._stop(lambda: "")

    def _stop(self, given_up: Callable[[], str]) -> bool:
        try:
            reply = self._stops.ask(wire.Stop(next(self._ids), self._session), self._config.timeout_s, given_up)
        except RobotError as error:
            logger.warning("stop: %s", error)
            return False
        return isinstance(reply, wire.Stopped) and reply.confirmed

    def status(self) -> RobotStatus:
        """The status of the last heartbeat; see `Robot.status`."""
        pulse, _ = self._pulse
        lost = self._lost()
        if pulse is None:
            problem = lost or "The robot's computer has not sent its first heartbeat yet."
            return RobotStatus(False, False, False, False, (problem,))
        status = wire.status_of(pulse.state)
        problems = []
        if lost:
            problems.append(f"{lost[0].upper()}{lost[1:]}: check the network and the robot's computer.")
        elif not self.in_control:
            problems.append(f"You only watch: {pulse.driver} drives." if pulse.driver else "Take control to drive.")
        return replace(status, ready=status.ready and not problems, problems=(*problems, *status.problems))

    def close(self) -> None:
        """Stop if this link drives, give control back, and let go; safe to call twice."""
        if self._closing.is_set():
            return
        if self._lease and self._stop(self._lost):
            self.give_control()
        self._closing.set()
        self._beating.join()
        self._let_go()

    def _result(self, reply: wire.Reply) -> ActionResult:
        if isinstance(reply, wire.Done):
            return ActionResult(reply.outcome, np.array(reply.measured), reply.message, reply.seconds)
        if isinstance(reply, wire.Refused) and reply.code in ("lease", "session"):
            self._lease = ""
        return ActionResult("refused", message=_words(reply))

    def _hello(self) -> wire.Welcome:
        try:
            hello = wire.Hello(next(self._ids), wire.VERSION, self._operator[:80])
            reply = self._views.ask(hello, self._config.timeout_s)
        except RobotError as error:
            raise RobotError(
                f"{error} from {self._config.host}:{self._config.port}. Is robot-server running there, is "
                f"{self._pair.name}.key in its folder of allowed keys, and is {self._config.server_key} its public key?"
            ) from error
        if not isinstance(reply, wire.Welcome):
            raise RobotError(_words(reply))
        self._session, self._tick = reply.session, reply.tick
        return reply

    def _ask(self, channel: Channel, question: Callable[[], Any]) -> wire.Reply:
        """Ask; once more in a new session when the robot server was restarted."""
        reply = channel.ask(question(), self._config.timeout_s, self._lost)
        if isinstance(reply, wire.Refused) and reply.code == "session":
            self._lease = ""
            self._hello()
            reply = channel.ask(question(), self._config.timeout_s, self._lost)
        return reply

    def _lost(self) -> str:
        """Why the link counts as lost, or nothing."""
        _, at = self._pulse
        silent = self._clock() - at
        return f"the link is lost: nothing heard for {silent:.1f} s" if silent > self._config.lost_after_s else ""

    def _connect(self, port: int, most_bytes: int | None = None) -> zmq.Socket:
        socket = self._context.socket(zmq.DEALER)
        socket.curve_serverkey = self._server_key
        socket.curve_publickey, socket.curve_secretkey = self._pair.public, self._pair.secret
        socket.linger = 0
        # Nothing is queued for a robot that is not there: what was asked before a break is not carried out after it.
        socket.immediate = True
        socket.sndhwm, socket.rcvhwm = 10, 100
        socket.maxmsgsize = most_bytes or self._config.max_view_bytes + wire.VIEW_OVERHEAD_BYTES
        socket.reconnect_ivl, socket.reconnect_ivl_max = 50, 1000
        socket.heartbeat_ivl, socket.heartbeat_timeout = 1000, 3000
        socket.connect(f"tcp://{self._config.host}:{port}")
        return socket

    def _beat(self) -> None:
        socket = self._connect(self._config.heartbeat_port, wire.VIEW_OVERHEAD_BYTES)
        due, count = time.monotonic(), 0
        while not self._closing.is_set():
            if time.monotonic() >= due:
                due, count = time.monotonic() + _BEAT_S, count + 1
                with contextlib.suppress(zmq.ZMQError):
                    socket.send(wire.encode(wire.Beat(self._session, count)), zmq.NOBLOCK)
            if not socket.poll(max(1, int((due - time.monotonic()) * 1000))):
                continue
            try:
                pulse = wire.decode("pulse", socket.recv(zmq.NOBLOCK))
            except (RobotError, zmq.ZMQError) as error:
                logger.debug("not a pulse: %s", error)
                continue
            self._tick, self._pulse = pulse.tick, (pulse, self._clock())
            self._heard.set()
        socket.close(linger=0)

    def _let_go(self) -> None:
        for channel in (self._acts, self._views, self._stops):
            channel.close()
        self._context.destroy(linger=0)


def _words(reply: wire.Reply) -> str:
    return reply.message if isinstance(reply, wire.Refused) else f"an answer that does not fit: {type(reply).__name__}"
