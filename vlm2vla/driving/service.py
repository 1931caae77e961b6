"""The driving service: one robot, one operator, one run at a time, and everybody may stop.

Composes robots, policies, the lease, the gate and the recording. Every method may be called from any thread, and none
waits for a robot but `stop`; what takes long (opening a robot) goes on in a thread of its own and is told by records.
"""

import atexit
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vlm2vla.driving import checks, robots
from vlm2vla.driving.event_log import EventLog
from vlm2vla.driving.gate import APPROVAL_S, MODES, VETO_S
from vlm2vla.driving.history import History
from vlm2vla.driving.in_hand import RobotInHand
from vlm2vla.driving.journal import end_orphans, new_id
from vlm2vla.driving.lease import LEASE_S, Lease
from vlm2vla.driving.policies import Policies, PolicyChoice
from vlm2vla.driving.robots import Connected
from vlm2vla.driving.run import Run, RunPlan
from vlm2vla.driving.steering import Steering
from vlm2vla.driving.stopping import Stops, Tell
from vlm2vla.driving.views import lease_view, robot_view, whole_view
from vlm2vla.driving.watch import Watch
from vlm2vla.errors import ConfigError, RobotError
from vlm2vla.robot import Observation
from vlm2vla.vlm.local import LocalModels
from vlm2vla.workspace import Workspace

JSON = dict[str, Any]
MAX_INSTRUCTION = 300
# A run that was stopped has this long to come to its end before the next one may begin.
END_S = 10.0


@dataclass(frozen=True)
class DriveTimes:
    """How long people are waited for, seconds."""

    approval_s: float = APPROVAL_S
    veto_s: float = VETO_S
    lease_s: float = LEASE_S


class DriveService:
    """One per studio.

    Args:
        workspace: Whose runs, episodes, models and keys.
        policies: Further policies to choose from.
        models: The models of this process, where somebody else uses them too.
        times: How long people are waited for.
        open_robot: Opens a robot; another one for tests.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        policies: tuple[PolicyChoice, ...] = (),
        models: LocalModels | None = None,
        times: DriveTimes | None = None,
        open_robot: Callable[..., Connected] = robots.open_robot,
    ):
        self.workspace, self.times = workspace, times or DriveTimes()
        self.events = EventLog()
        self.lease = Lease(self.events.now, self.times.lease_s)
        self.history = History(workspace)
        self.policies = Policies(workspace, policies, models)
        self.steering = Steering(self)
        self._hand = RobotInHand(workspace.root / "keys", self.events, open_robot, self._robot_came, self.changed)
        self._stops = Stops(self.events)
        self._run: Run | None = None
        self._mode = "step"
        self._changing = threading.RLock()
        self._watch = Watch(self)
        self._closed = False
        end_orphans(workspace.rollouts)
        atexit.register(self.close)

    # Looking ------------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> Connected | None:
        """The robot that is open."""
        return self._hand.connected

    @property
    def run(self) -> Run | None:
        """The run that is under way, or the last one."""
        return self._run

    def state(self, client: str = "") -> JSON:
        """The whole picture."""
        return whole_view(self, client)

    def parts(self, *names: str, client: str = "") -> JSON:
        """Parts of the state by name."""
        make = {
            "robot": lambda: robot_view(self, self._watch),
            "opening": lambda: self._hand.opening,
            "checks": self.checks,
            "lease": lambda: lease_view(self, client),
            "mode": lambda: self._mode,
            "run": lambda: self._run.view() if self._run else None,
        }
        return {name: make[name]() for name in names}

    def changed(self, *names: str) -> None:
        """Tell everybody what these parts of the state are now."""
        # Whole values, so that a reader who comes late needs only the newest of each.
        self.events.add("state", transient=f"state {' '.join(names)}", **self.parts(*names))

    def glance(self) -> Observation:
        """Where the open robot is.

        Raises:
            RobotError: None is open, or it cannot be seen.
        """
        connected = self._hand.need()
        return connected.glance() or connected.robot.observe()

    def checks(self) -> list[JSON]:
        """What must be so before a run starts; none without a robot."""
        connected = self.connected
        if connected is None:
            return []
        status = self._watch.status_now()
        return checks.preflight(
            status, connected.eyes.state(), connected.robot.simulated, self._hand.confirmed, connected.rules.table_m
        )

    # Who drives ---------------------------------------------------------------------------------------------------

    def take(self, client: str, name: str, over: bool = False) -> None:
        """Become the operator.

        Raises:
            NotOperatorError: Somebody else drives, and it is not to be taken `over`.
        """
        before = self.lease.operator
        if self.lease.take(client, name, over=over):
            self.doubt()
            if before is not None:
                self._end_run(f"{name} took over from {before.name}")
            self._watch.start()
            self.changed("lease")

    def beat(self, client: str, name: str = "") -> bool:
        """The page of `client` is alive; True when it is the operator's."""
        return self.lease.beat(client, name)

    def leave(self, client: str) -> None:
        """The page of `client` is gone; what it drove stops."""
        gone = self.lease.leave(client)
        if gone is not None:
            self.lost(f"{gone.name}'s page was closed")

    def lost(self, why: str) -> None:
        """Nobody drives any more: what moves stops."""
        self.doubt()
        self._end_run(why)
        self.events.add("note", level="warning", text=f"{why}; nobody drives now")
        self.changed("lease")

    # The robot ----------------------------------------------------------------------------------------------------

    def open(self, client: str, name: str, wish: JSON) -> None:
        """Open a robot in the background; what was open is closed first.

        Raises:
            NotOperatorError: Somebody else drives.
            RobotError: A run is under way, or another robot is being opened.
        """
        self.take(client, name)
        with self._changing:
            self._nothing_runs("open another robot")
            self._hand.announce(str(wish.get("robot", "")), "opening")
        self._hand.open(wish, name)

    def change_scene(self, client: str, task: str, seed: int) -> None:
        """Another scene, in the background.

        Raises:
            NotOperatorError: Not the operator.
            RobotError: A run is under way, or no simulated robot is open.
        """
        self.lease.check(client)
        with self._changing:
            connected = self._hand.need()
            self._nothing_runs("change the scene")
            self._hand.announce(connected.id, "setting the table")
        self._hand.change_scene(connected, task, seed)

    def close_robot(self, client: str) -> None:
        """Let go of the robot.

        Raises:
            NotOperatorError: Not the operator.
            RobotError: A run is under way.
        """
        self.lease.check(client)
        with self._changing:
            self._nothing_runs("close the robot")
            connected = self._hand.let_go()
        if connected is not None:
            connected.close()
        self.changed("robot", "checks")

    def confirm(self, client: str, name: str) -> None:
        """A person says that a check is so.

        Raises:
            NotOperatorError: Not the operator.
            ConfigError: Nothing that a person can say.
        """
        self.lease.check(client)
        self._hand.confirm(name)

    def doubt(self) -> None:
        """What only a person can see has to be said anew."""
        self._hand.doubt()

    # A run --------------------------------------------------------------------------------------------------------

    def start(self, client: str, name: str, policy: str, instruction: str, mode: str, episode: str = "") -> str:
        """Start a run; its id.

        Raises:
            NotOperatorError: Somebody else drives.
            RobotError: No robot, it is not ready, a run is under way, or you do not drive any more when it is to begin.
            ConfigError: No such mode, or no instruction.
            NotFoundError: No such policy or episode.
        """
        pressed = self._stops.pressed
        self.take(client, name)
        term = self.lease.check(client)
        instruction = " ".join(instruction.split())
        if not instruction or len(instruction) > MAX_INSTRUCTION:
            raise ConfigError(f"an instruction has 1 to {MAX_INSTRUCTION} characters")
        if mode not in MODES:
            raise ConfigError(f"no mode {mode!r}; there is {', '.join(MODES)}")
        with self._changing:
            connected = self._hand.need()
            self._nothing_runs("start another one")
            if not getattr(connected.robot, "in_control", True):
                connected.robot.take_control()  # somebody stopped it, or the link was lost: whoever starts asks anew
            if why := checks.ready(self.checks()):
                raise RobotError(why)
            choice = self.policies.get(policy)
            if choice.robots and connected.id not in choice.robots:
                raise ConfigError(choice.view(connected.id)["why_not"])
            if hasattr(connected.robot, "begin_episode"):
                connected.robot.begin_episode()  # a robot that drives about counts y from here
            plan = RunPlan(new_id(), instruction, mode, choice, name, episode)
            run = Run(
                plan,
                connected,
                self.events,
                self.history.folder,
                lambda: self.changed("run"),
                self.times.approval_s,
                self.times.veto_s,
            )
            # From here on whoever presses STOP, leaves or takes over finds the run; who did so before is seen here.
            self._run, self._mode = run, mode
            if self._stops.pressed != pressed:
                run.call_off("STOP was pressed before it began")
            if not (mine := self.lease.term == term):
                run.call_off(f"{name} did not drive any more when it was to begin")
            run.start()
        self.changed("run", "mode")
        if not mine:
            raise RobotError("you did not drive any more when the run was to begin; nothing moved")
        return plan.id

    def current(self, client: str) -> Run:
        """The run that is under way, for its operator.

        Raises:
            NotOperatorError: Not the operator.
            RobotError: Nothing runs.
        """
        self.lease.check(client)
        if self._run is None or self._run.over:
            raise RobotError("nothing runs")
        return self._run

    def set_mode(self, client: str, mode: str) -> None:
        """Ask more or less from now on.

        Raises:
            NotOperatorError: Not the operator.
            ConfigError: No such mode.
        """
        self.lease.check(client)
        if mode not in MODES:
            raise ConfigError(f"no mode {mode!r}; there is {', '.join(MODES)}")
        self._mode = mode
        if self._run is not None and not self._run.over:
            self._run.gate.set_mode(mode)
        self.changed("mode", "run")

    # Stopping -----------------------------------------------------------------------------------------------------

    def stop(self, by: str, tell: Tell | None = None) -> JSON:
        """STOP. Needs nobody's leave; returns at once.

        Args:
            by: Who pressed it.
            tell: Called once more, from another thread, when the robot confirmed or failed to.

        Returns:
            The record "sent".
        """
        return self._stops.press(by, lambda: (self._run, self.connected), tell)

    def press_runstop(self) -> None:
        """Press the run-stop of a simulated robot.

        Raises:
            RobotError: A real one is pressed at the robot.
        """
        self._hand.simulated("presse").press_runstop()
        self.changed("checks")

    def release_runstop(self, client: str) -> None:
        """Release the run-stop of a simulated robot, as a person at the robot would.

        Raises:
            NotOperatorError: Not the operator.
            RobotError: A real one is released at the robot, and only there.
        """
        self.lease.check(client)
        self._hand.simulated("release").release_runstop()
        self.changed("checks")

    def close(self) -> None:
        """End what runs, let go of the robot; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._watch.close()
        run, connected = self._run, self.connected
        if run is not None and not run.over:
            run.stop("the studio was closed")
            run.join(END_S)
        if connected is not None:
            connected.close()

    # Inside -------------------------------------------------------------------------------------------------------

    def _end_run(self, reason: str) -> None:
        run, connected = self._run, self.connected
        if run is not None and not run.over:
            if not run.stop(reason):
                self.events.add("note", level="warning", text="the robot did not confirm the stop")
            run.join(END_S)
        elif connected is not None and connected.robot.status().moving:
            connected.robot.stop()

    def _nothing_runs(self, what: str) -> None:
        if self._hand.opening is not None:
            raise RobotError("a robot is being opened; wait a moment")
        if self._run is not None and not self._run.over:
            raise RobotError(f"a run is under way; stop it to {what}")

    def _robot_came(self) -> None:
        self._watch.look()
        self._watch.start()
