"""The robot server: lets studios with an allowed key watch, drive and stop the robot of this computer.

The caller's thread (the main one: drivers want that) moves the robot. Requests and heartbeats have a thread and a
socket each, which never wait for the robot. It knows the messages and the rules of the gate; not what the robot is.
Runs on Python 3.10.
"""

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable

import numpy as np
import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from vlm2vla.errors import ActionRefusedError, RobotError
from vlm2vla.robot.link import messages as wire
from vlm2vla.robot.link.body import Body, Job, RobotSetup
from vlm2vla.robot.link.config import RobotServerConfig
from vlm2vla.robot.link.gate import Gate
from vlm2vla.robot.link.keys import read_allowed, read_pair
from vlm2vla.robot.protocol import ActionResult, Observation

logger = logging.getLogger(__name__)

# A turn of a loop handles at most so many messages, so that a flood cannot keep it from its other duties.
_PER_TURN = 64
_HEARTBEAT_POLL_MS = 10


class RobotServer:
    """Serves one robot until `close`. `run` belongs to the thread that made the robot.

    Attributes:
        port, heartbeat_port: Where it listens (of interest when the configuration says 0).
        malformed: How many messages were thrown away because they were none.

    Raises:
        ConfigError: Keys or allow-list are missing or wrong.
        RobotError: The address cannot be listened on.
    """

    def __init__(self, config: RobotServerConfig, setup: RobotSetup):
        self._config = config
        pair, allowed = read_pair(config.key), read_allowed(config.allow)
        self.body = Body(setup, config)
        self._lock = threading.Lock()
        self._gate = Gate(config, allowed, time.monotonic())
        self._closed = threading.Event()
        self.malformed = 0
        self._out: queue.SimpleQueue = queue.SimpleQueue()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_out, False)
        os.set_blocking(self._wake_in, False)
        self._context = zmq.Context()
        self._auth = ThreadAuthenticator(self._context)
        self._auth.start()
        self._auth.configure_curve(domain="*", location=str(config.allow.expanduser()))
        try:
            self._control, self.port = self._bind(pair, config.port, wire.MAX_REQUEST_BYTES)
            self._heart, self.heartbeat_port = self._bind(pair, config.heartbeat_port, wire.MAX_BEAT_BYTES)
        except zmq.ZMQError as error:
            self._let_go()
            raise RobotError(
                f"cannot listen on {config.host}:{config.port}/{config.heartbeat_port}: {error}"
            ) from error

    def run(self) -> None:
        """Serve until `close` is called; the robot is stopped and closed at the end."""
        loops = (self._serve_requests, self._serve_heartbeats)
        threads = [threading.Thread(target=loop, name=loop.__name__.strip("_"), daemon=True) for loop in loops]
        for thread in threads:
            thread.start()
        logger.info("serving %s on %s:%d", self.body.robot.name, self._config.host, self.port)
        try:
            self.body.run()
        finally:
            self._closed.set()
            self._wake()
            for thread in threads:
                thread.join()
            self._let_go()

    def close(self) -> None:
        """Stop the robot, then end `run`; from any thread."""
        self.body.stop("the robot server is closing", lambda confirmed, words: self.body.close())

    def _bind(self, pair, port: int, most_bytes: int) -> tuple[zmq.Socket, int]:
        socket = self._context.socket(zmq.ROUTER)
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = pair.public, pair.secret
        socket.linger = 0
        socket.maxmsgsize = most_bytes
        socket.rcvhwm = socket.sndhwm = 100
        # Whoever does not finish the handshake, or is gone without a word, is forgotten soon.
        socket.handshake_ivl = 5000
        socket.heartbeat_ivl, socket.heartbeat_timeout = 1000, 3000
        socket.bind(f"tcp://{self._config.host}:{port or '*'}")
        return socket, int(socket.last_endpoint.decode().rsplit(":", 1)[1])

    def _let_go(self) -> None:
        self._auth.stop()
        self._context.destroy(linger=0)
        for end in (self._wake_out, self._wake_in):
            os.close(end)

    def _serve_requests(self) -> None:
        poller = zmq.Poller()
        poller.register(self._control, zmq.POLLIN)
        poller.register(self._wake_out, zmq.POLLIN)
        while not self._closed.is_set():
            try:
                poller.poll(100)
                self._take_in(self._control, self._request)
                self._send_out()
            except Exception:
                logger.exception("a request could not be handled")

    def _serve_heartbeats(self) -> None:
        while not self._closed.is_set():
            try:
                self._heart.poll(_HEARTBEAT_POLL_MS)
                self._take_in(self._heart, self._beat)
                pressed = self.body.status().runstop
                with self._lock:
                    if pressed:
                        self._gate.revoke("the run-stop was pressed")
                    due = self._gate.overdue(time.monotonic())
                if due == "stop":
                    logger.warning("the heartbeat of the driver was lost: stopping")
                    self.body.stop("the heartbeat of the driver was lost")
                elif due == "runstop":
                    self.body.press_runstop("the heartbeat of the driver did not come back")
                self.body.supervise()
            except Exception:
                logger.exception("a heartbeat could not be handled")

    def _take_in(self, socket: zmq.Socket, handle: Callable[[bytes, bytes, bytes], None]) -> None:
        for _ in range(_PER_TURN):
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            try:
                if len(frames) != 2:
                    raise RobotError(f"a message of {len(frames)} parts")
                handle(frames[0].bytes, str(frames[1].get("User-Id")).encode(), frames[1].bytes)
            except RobotError as error:
                self.malformed += 1
                logger.debug("thrown away: %s", error)

    def _reply(self, to: bytes, message: wire.Message) -> None:
        """Answer from any thread."""
        self._out.put((to, wire.encode(message)))
        self._wake()

    def _wake(self) -> None:
        # Full: the loop is awake anyway. Closed: nobody is left to answer.
        with contextlib.suppress(OSError):
            os.write(self._wake_in, b".")

    def _send_out(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_out, 65536)
        while True:
            try:
                to, data = self._out.get_nowait()
            except queue.Empty:
                return
            try:
                self._control.send_multipart([to, data], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                logger.debug("an answer was lost: %s", error)

    def _beat(self, sender: bytes, key: bytes, data: bytes) -> None:
        beat = wire.decode("beat", data)
        now = time.monotonic()
        with self._lock:
            known = self._gate.beat(beat.session, key, now)
            about = (self._gate.tick(now), known, self._gate.driver, self._gate.drives(beat.session))
        pulse = wire.Pulse(beat.count, *about, wire.state_of(self.body.status()))
        try:
            self._heart.send_multipart([sender, wire.encode(pulse)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            logger.debug("a pulse was lost: %s", error)

    def _request(self, sender: bytes, key: bytes, data: bytes) -> None:
        request = wire.decode("request", data)
        handler = {
            wire.Hello: self._hello,
            wire.TakeControl: self._take,
            wire.GiveControl: self._give,
            wire.Act: self._act,
            wire.BeginEpisode: self._begin_episode,
            wire.Look: self._look,
            wire.Stop: self._stop,
        }[type(request)]
        try:
            handler(sender, key, request)
        except ActionRefusedError as error:
            self._reply(sender, wire.Refused(request.id, error.rule, str(error)))

    def _hello(self, sender: bytes, key: bytes, hello: wire.Hello) -> None:
        if hello.version != wire.VERSION:
            raise ActionRefusedError(
                f"the robot speaks version {wire.VERSION} of the link, you {hello.version}: update", rule="version"
            )
        now = time.monotonic()
        with self._lock:
            session, tick = self._gate.hello(key, hello.operator, now), self._gate.tick(now)
        robot, table_m = self.body.robot, self._config.table_height_m
        about = (robot.name, robot.embodiment.name, bool(robot.simulated), table_m)
        self._reply(sender, wire.Welcome(hello.id, session, tick, *about))

    def _take(self, sender: bytes, key: bytes, request: wire.TakeControl) -> None:
        if self.body.status().runstop:
            raise ActionRefusedError("the run-stop is pressed: release it at the robot first", rule="runstop")
        now = time.monotonic()
        with self._lock:
            lease, tick = self._gate.take(request.session, key, now), self._gate.tick(now)
        self._reply(sender, wire.Granted(request.id, lease, tick))

    def _give(self, sender: bytes, key: bytes, request: wire.GiveControl) -> None:
        with self._lock:
            given = self._gate.give(request.session, key, request.lease)
        if given and self.body.acting:
            self.body.stop("the driver gave control back")
        self._reply(sender, wire.Ended(request.id))

    def _act(self, sender: bytes, key: bytes, act: wire.Act) -> None:
        with self._lock:
            self._gate.admit(act, key, time.monotonic())

        def answer(result: ActionResult) -> None:
            self._reply(sender, wire.done_of(act.id, result))

        def begins() -> None:
            with self._lock:
                self._gate.still(act, time.monotonic())

        decision = self.body.rules.judge_alone(np.array(act.action))
        if decision.action is None:
            answer(ActionResult("refused", message=f"rule {decision.rule}: {decision.message}"))
            return
        timeout_s = min(act.timeout_ms / 1000, self._config.max_act_s)
        if not self.body.offer(Job(decision.action, timeout_s, begins, answer)):
            answer(ActionResult("refused", message="another action is under way; there is no queue"))

    def _begin_episode(self, sender: bytes, key: bytes, begin: wire.BeginEpisode) -> None:
        with self._lock:
            self._gate.drive(begin.session, key, begin.lease)
        if self.body.acting:
            raise ActionRefusedError("an action is under way", rule="busy")

        def fix() -> None:
            problem = self.body.begin_episode()
            self._reply(sender, wire.Refused(begin.id, "begin", problem) if problem else wire.Ended(begin.id))

        # Not here: this thread never waits for the robot.
        threading.Thread(target=fix, name="robot begins an episode", daemon=True).start()

    def _look(self, sender: bytes, key: bytes, look: wire.Look) -> None:
        def answer(seen: Observation | RobotError) -> None:
            try:
                if isinstance(seen, RobotError):
                    raise seen
                with self._lock:
                    tick = self._gate.tick(time.monotonic())
                view = wire.view_of(look.id, tick, seen, self._config.max_view_bytes)
            except (RobotError, TypeError, ValueError) as error:
                self._reply(sender, wire.Refused(look.id, "view", str(error)[:1900]))
            else:
                self._reply(sender, view)

        self.body.look(answer)

    def _stop(self, sender: bytes, key: bytes, stop: wire.Stop) -> None:
        with self._lock:
            who = self._gate.stopped(stop.session, key)
        self.body.stop(
            f"stopped by {who}", lambda confirmed, words: self._reply(sender, wire.Stopped(stop.id, confirmed, words))
        )
