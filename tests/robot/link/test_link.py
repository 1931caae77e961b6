import itertools
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from vlm2vla.errors import ConfigError, RobotError
from vlm2vla.robot import SafeRobot, clock_now
from vlm2vla.robot.link import LinkRobot, RobotLinkConfig, make_keys
from vlm2vla.robot.scripted import ScriptedRobot

FORWARD = np.array([0.02, 0, 0, 0, 0, 0, 1.0])
FAR = np.array([0.05, 0, 0, 0, 0, 0, 1.0])  # 2.5 s at the speed of the served robot


def in_the_background(call):
    results = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    thread.results = results
    return thread


def test_a_linked_robot_behaves_like_the_robot_beside_it(serving, link):
    served = serving(ScriptedRobot())
    robot = link(served)
    assert robot.simulated
    assert robot.name.startswith("scripted Hello Robot Stretch RE1 (nothing real moves) at ")
    assert robot.embodiment is served.robot.embodiment
    before = robot.observe()
    result = robot.act(np.array([0.02, -0.01, 0.03, 0, 0, 0.1, 0.0]))
    assert (result.outcome, result.message) == ("reached", "")
    assert result.measured == pytest.approx([0.02, -0.01, 0.03, 0, 0, 0.1, 0.0])
    after = robot.observe()
    assert after.ee == pytest.approx(before.ee + result.measured - [0, 0, 0, 0, 0, 0, 1.0])
    assert after.images == served.robot.observe().images
    assert after.joints["arm"] == pytest.approx(0.52)
    assert after.time_s > before.time_s
    assert robot.status().ready
    assert robot.stop()


def test_an_episode_begins_where_the_driver_says(serving, link):
    served = serving(ScriptedRobot())
    anna, ben = link(served), link(served, "ben")
    anna.act(np.array([0, 0.03, 0, 0, 0, 0, 1.0]))
    with pytest.raises(RobotError, match="drives; take control first"):
        ben.begin_episode()
    assert anna.observe().ee[1] == pytest.approx(0.03)
    anna.begin_episode()
    assert anna.observe().ee[1] == 0.0


def test_no_episode_begins_in_mid_motion_and_a_robot_that_cannot_says_why(serving, link):
    served = serving()
    anna = link(served)
    driving = in_the_background(lambda: anna.act(FAR))
    while not served.robot.status().moving:
        time.sleep(0.005)
    with pytest.raises(RobotError, match="an action is under way"):
        anna.begin_episode()
    anna.stop()
    driving.join()

    def broken():
        raise OSError("no odometry")

    served.robot.begin_episode = broken
    with pytest.raises(RobotError, match="no odometry"):
        anna.begin_episode()


def test_it_stands_behind_the_safety_rules_like_any_robot(serving, link):
    served = serving(ScriptedRobot())
    robot = SafeRobot(link(served))
    assert robot.act([0.02, 0, 0, 1]).outcome == "reached"
    assert robot.act([0.8, 0, 0, 1]).outcome == "refused"
    assert len(served.robot.acts) == 1


def test_the_robots_own_computer_refuses_what_no_robot_may_do(serving, link):
    served = serving(ScriptedRobot())
    robot = link(served)
    for row in ([0.06, 0, 0, 0, 0, 0, 1], [np.nan, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0.1, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0.5]):
        result = robot.act(np.array(row))
        assert result.outcome == "refused"
        assert result.message.startswith("rule ")
    for row in ("forward", None, [1.0], np.zeros((7, 7)), ["a"] * 7):
        assert robot.act(row).outcome == "refused"
    assert served.robot.acts == []


def test_the_robots_own_computer_keeps_the_hand_out_of_the_table_that_it_knows(serving, link):
    assert link(serving(ScriptedRobot())).table_height_m is None
    served = serving(ScriptedRobot(), table_height_m=0.69)
    robot = link(served)
    assert robot.table_height_m == 0.69
    refused = robot.act(np.array([0, 0, -0.02, 0, 0, 0, 1.0]))
    assert (refused.outcome, "keep-out: the way leads into the table" in refused.message) == ("refused", True)
    assert robot.act(np.array([0.02, 0, 0, 0, 0, 0, 1.0])).outcome == "reached"
    served.robot.close()  # nobody knows any more where the hand is
    assert "cannot be seen" in robot.act(np.array([0.02, 0, 0, 0, 0, 0, 1.0])).message
    assert len(served.robot.acts) == 1


def test_a_view_is_as_old_here_as_it_is_there(serving, link, until):
    class Behind(ScriptedRobot):
        def observe(self):
            seen = super().observe()
            return replace(seen, time_s=seen.time_s - 5.0)

    robot = link(serving(Behind()))
    assert until(lambda: robot.status().time_s > 0)
    seen = robot.observe()
    assert clock_now(robot, seen.time_s) - seen.time_s == pytest.approx(5.0, abs=1.0)


def test_only_one_drives_and_the_other_watches_and_may_stop(serving, link):
    served = serving()
    anna, ben = link(served, operator="Anna"), link(served, "ben")
    assert anna.in_control
    assert not ben.in_control
    refused = ben.act(FORWARD)
    assert refused.outcome == "refused"
    assert "Anna (key anna) drives" in refused.message
    with pytest.raises(RobotError, match=r"Anna \(key anna\) drives"):
        ben.take_control()
    assert ben.observe().images == {"above": b"\xff\xd8 picture"}
    assert "Anna" in ben.status().problems[0]
    driving = in_the_background(lambda: anna.act(FAR))
    while not ben.status().moving:
        time.sleep(0.005)
    assert ben.stop()
    driving.join()
    assert driving.results[0].outcome == "stopped"
    assert "stopped by ben" in driving.results[0].message
    again = anna.act(FORWARD)
    assert again.outcome == "refused"
    assert "stopped the robot" in again.message
    ben.take_control()
    assert ben.act(FORWARD * 0 + [0.001, 0, 0, 0, 0, 0, 1]).outcome == "reached"


def test_control_is_given_from_hand_to_hand(serving, link):
    served = serving(ScriptedRobot())
    anna, ben = link(served), link(served, "ben", control=False)
    assert anna.act(FORWARD).outcome == "reached"
    anna.give_control()
    ben.take_control()
    assert anna.act(FORWARD).outcome == "refused"
    assert ben.act(FORWARD).outcome == "reached"
    ben.close()
    anna.take_control()
    assert anna.act(FORWARD).outcome == "reached"


def test_the_drivers_own_stop_ends_the_motion_and_leaves_control(serving, link):
    served = serving()
    robot = link(served)
    driving = in_the_background(lambda: robot.act(FAR))
    while not served.robot.status().moving:
        time.sleep(0.005)
    assert robot.stop()
    driving.join()
    assert driving.results[0].outcome == "stopped"
    assert robot.act(np.array([0.001, 0, 0, 0, 0, 0, 1])).outcome == "reached"


def test_one_action_at_a_time_there_is_no_queue(serving, link):
    served = serving()
    robot = link(served)
    driving = in_the_background(lambda: robot.act(FAR))
    while not served.robot.status().moving:
        time.sleep(0.005)
    second = robot.act(FORWARD)
    assert second.outcome == "refused"
    assert "no queue" in second.message
    robot.stop()
    driving.join()
    assert len(served.robot.acts) == 1


def test_every_outcome_of_the_robot_comes_through(serving, link):
    served = serving(ScriptedRobot(start=(1.19, 0, 0.7, 0, 0, 0, 1)))
    robot = link(served)
    assert robot.act(FORWARD).outcome == "clipped"
    served.robot.fail(contact_m=0.005)
    assert robot.act(-FORWARD + [0, 0, 0, 0, 0, 0, 2]).outcome == "contact"
    served.robot.fail(unhomed=True)
    fault = robot.act(FORWARD)
    assert fault.outcome == "fault"
    assert "home it" in fault.message
    served.robot.fail(unhomed=False, error=SystemExit(1))
    crash = robot.act(FORWARD)
    assert crash.outcome == "fault"
    assert "SystemExit" in crash.message


def test_a_robot_that_cannot_see_says_so(serving, link):
    served = serving(ScriptedRobot())
    robot = link(served)
    served.robot.fail(camera_lost=True)
    with pytest.raises(RobotError, match="camera gives no frames"):
        robot.observe()
    served.robot.fail(camera_lost=False)
    assert robot.observe().images


def test_views_that_are_too_big_or_no_jpeg_are_refused_and_the_link_lives(serving, link):
    served = serving(ScriptedRobot(images={"above": b"\xff\xd8" + bytes(200_000)}), max_view_bytes=100_000)
    robot = link(served)
    with pytest.raises(RobotError, match="200002 bytes; at most 100000"):
        robot.observe()
    served.robot._images = {"above": b"GIF89a"}
    with pytest.raises(RobotError, match="no JPEG"):
        robot.observe()
    served.robot._images = {}
    assert robot.observe().images == {}
    assert robot.act(FORWARD).outcome == "reached"


def test_a_server_that_sends_more_than_agreed_is_cut_off(serving, link):
    served = serving(ScriptedRobot(images={"above": b"\xff\xd8" + bytes(300_000)}))
    robot = link(served, max_view_bytes=100_000, timeout_s=0.6)
    with pytest.raises(RobotError):
        robot.observe()
    assert robot.stop()


def test_watchers_see_the_robot_while_it_moves(serving, link):
    served = serving()
    anna, ben = link(served), link(served, "ben", control=False)
    driving = in_the_background(lambda: anna.act(FAR))
    while not served.robot.status().moving:
        time.sleep(0.005)
    seen = [ben.observe().ee[0] for _ in range(5) if time.sleep(0.03) is None]
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
    anna.stop()
    driving.join()


def test_a_robot_that_looks_or_moves_shows_its_last_view_while_it_moves(serving, link):
    class OneThread(ScriptedRobot):
        observes_while_moving = False
        threads = set()

        def observe(self):
            self.threads.add(threading.get_ident())
            return super().observe()

        def act(self, action, *, timeout_s=10.0):
            self.threads.add(threading.get_ident())
            return super().act(action, timeout_s=timeout_s)

    served = serving(OneThread(speed_m_s=0.02, images={}))
    robot = link(served)
    first = robot.observe()
    driving = in_the_background(lambda: robot.act(FAR))
    while not served.robot.status().moving:
        time.sleep(0.005)
    assert robot.observe().time_s == first.time_s
    robot.stop()
    driving.join()
    assert robot.observe().time_s > first.time_s
    assert len(OneThread.threads) == 1


@pytest.mark.parametrize("lie", ["an hour ahead", "backwards", "jumping", "fast"])
def test_a_lying_clock_of_the_studio_does_not_matter(serving, link, lie):
    served = serving(ScriptedRobot())
    jumps = itertools.count()
    lies = {
        "an hour ahead": lambda: time.monotonic() + 3600,
        "backwards": lambda: -time.monotonic(),
        "jumping": lambda: time.monotonic() + 0.0001 * (next(jumps) % 7) - 86400,
        "fast": lambda: time.monotonic() * 1.7,
    }
    robot = link(served, clock=lies[lie])
    observation = robot.observe()
    assert [robot.act(FORWARD).outcome for _ in range(3)] == ["reached"] * 3
    assert robot.observe().time_s > observation.time_s
    assert robot.stop()


def test_a_clock_that_leaps_in_mid_motion_ends_it_and_the_robot_is_still(serving, link, until):
    served = serving()
    offset = [0.0]
    robot = link(served, clock=lambda: time.monotonic() + offset[0])
    driving = in_the_background(lambda: robot.act(FAR))
    while not served.robot.status().moving:
        time.sleep(0.005)
    offset[0] = 1e6
    driving.join(3)
    assert driving.results[0].outcome in ("fault", "stopped")
    assert until(lambda: not served.robot.status().moving)


def test_an_unknown_key_gets_no_answer_and_the_message_names_the_causes(serving, link, keys):
    served = serving(ScriptedRobot())
    stranger = make_keys(keys.folder / "mallory", "mallory")
    good = RobotLinkConfig(
        keys.anna.secret,
        keys.robot.public,
        port=served.server.port,
        heartbeat_port=served.server.heartbeat_port,
        timeout_s=0.5,
    )
    with pytest.raises(RobotError, match=r"is mallory\.key in its folder of allowed keys"):
        LinkRobot(replace(good, key=stranger.secret))
    with pytest.raises(RobotError, match="its public key"):
        LinkRobot(replace(good, server_key=stranger.public))
    with pytest.raises(RobotError, match="Is robot-server running"):
        LinkRobot(replace(good, port=1, heartbeat_port=2))
    with pytest.raises(ConfigError, match="no secret key"):
        LinkRobot(replace(good, key=keys.anna.public))
    assert served.robot.acts == []
    assert link(served).act(FORWARD).outcome == "reached"


def test_closing_twice_is_fine_and_gives_control_back(serving, link):
    served = serving(ScriptedRobot())
    robot = link(served)
    robot.close()
    robot.close()
    assert robot.act(FORWARD).outcome == "refused"
    with pytest.raises(RobotError):
        robot.observe()
    assert not robot.stop()
    assert link(served, "ben").in_control
