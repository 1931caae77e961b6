"""Bridge-like recordings, drawn and written to disk: a gripper that reaches, closes, lifts, carries and lets go."""

import pickle
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = (256, 192)
HOSTILE = (
    '<img src=x onerror="window.hacked = 1"> put <b>the carrot</b> on the plate <script>window.hacked = 1</script>'
)


def write(root: Path, *, hostile: bool = True) -> Path:
    """Five trajectories of about 40 steps; one has markup in its instruction."""
    odd = HOSTILE if hostile else "put the lid on the pot"
    tasks = ["put carrot on plate", "pick up the blue cup", odd, "move the spoon to the towel", "close the drawer"]
    for index, task in enumerate(tasks):
        folder = (
            root
            / "lab"
            / f"toykitchen{index}"
            / "task"
            / "00"
            / "2022-03-01_10-00-00"
            / "raw"
            / "traj_group0"
            / "traj0"
        )
        _trajectory(folder, task, np.random.default_rng(index))
    return root


def _trajectory(folder: Path, task: str, random: np.random.Generator) -> None:
    legs = [(9, (0.6, 0.4, -0.1), 1), (7, (0.0, 0.0, -1.1), 1), (4, (0, 0, 0), 0), (7, (0, 0, 1.0), 0)]
    legs += [(8, (0.2, -1.2, 0.1), 0), (3, (0, 0, -0.5), 0), (3, (0, 0, 0.3), 1)]
    state = np.array([0.22, 0.05, 0.16, 0.0, -0.1, 0.0, 1.0])
    states, actions = [state.copy()], []
    for steps, way, gripper in legs:
        for _ in range(steps):
            delta = np.zeros(7)
            delta[:3] = np.array(way) / 100 + random.normal(0, 0.0004, 3)
            delta[6] = gripper
            state = state.copy()
            state[:3] += delta[:3]
            state[6] = 1.0 if gripper else 0.15
            states.append(state)
            actions.append(delta)
    for camera, side in (("images0", 0), ("images1", 1)):
        (folder / camera).mkdir(parents=True)
        for step, reached in enumerate(states):
            _picture(reached, states[-1], side).save(folder / camera / f"im_{step}.jpg", quality=88)
    (folder / "obs_dict.pkl").write_bytes(pickle.dumps({"full_state": np.array(states)}))
    (folder / "policy_out.pkl").write_bytes(pickle.dumps([{"actions": action} for action in actions]))
    (folder / "lang.txt").write_text(f"{task}\nconfidence: 1.0\n")


def _picture(state: np.ndarray, goal: np.ndarray, side: int) -> Image.Image:
    picture = Image.new("RGB", SIZE, (203, 190, 172) if side == 0 else (176, 190, 203))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 130, SIZE[0], SIZE[1]), fill=(150, 118, 86))

    def spot(point: np.ndarray) -> tuple[float, float]:
        across = -point[1] if side == 0 else point[0] - 0.25
        return 128 + across * 900, 140 - (point[2] - 0.04) * 700

    plate, hand = spot(np.array([goal[0], goal[1], 0.02])), spot(state)
    pen.ellipse(
        (plate[0] - 30, plate[1] - 8, plate[0] + 30, plate[1] + 8), fill=(235, 238, 240), outline=(120, 130, 140)
    )
    gap = 12 if state[6] > 0.5 else 5
    pen.rectangle((hand[0] - 6, 0, hand[0] + 6, hand[1] - 14), fill=(40, 44, 52))
    for side_x in (-gap, gap):
        pen.rectangle((hand[0] + side_x - 3, hand[1] - 16, hand[0] + side_x + 3, hand[1] + 6), fill=(60, 66, 78))
    carried = hand if state[6] < 0.5 else (128 + 60, 150)
    pen.polygon(
        [(carried[0] - 6, carried[1]), (carried[0] + 6, carried[1]), (carried[0], carried[1] + 26)], fill=(232, 118, 32)
    )
    return picture
