"""An emulated Stretch RE1: its boards, and the fleet folder that makes stretch_body find them.

stretch_body reads HELLO_FLEET_PATH and HELLO_FLEET_ID when it is imported: give `RE1.environment` to the process that
drives. The boards live in the process that made them, so they go on when the driving process dies.
"""

import copy
import os
from pathlib import Path

import yaml

from tests.robot_hardware.boards import Pimu, Stepper, Wacc
from tests.robot_hardware.dynamixels import Chain, Servo

FLEET_ID = "stretch-re1-0000"
# These keys of the shipped template make every move of arm and lift end the process; on a robot,
# RE1_migrate_contacts.py drops them.
LEGACY_KEYS = ("contact_thresh_N", "contact_thresh_max_N", "homing_force_N")
# Made up: a real robot has its own from calibration.
CONTACT_PCT = {"arm": [-45, 45], "lift": [-45, 60]}
RAD_PER_M = {"lift": 104.72, "arm": 145.79, "wheel": 66.93}
"""Motor radians for one metre, as the RE1V0 parameters give them."""
WHEEL_SEPARATION_M = 0.3153


class RE1:
    """All boards of one robot, below `folder`.

    Attributes:
        environment: What the driving process needs in its environment.
    """

    def __init__(self, folder: Path, *, homed: bool = True, lift_m: float = 0.573, arm_m: float = 0.1):
        devices = Path(folder) / "devices"
        devices.mkdir(parents=True)
        self.environment = {"HELLO_FLEET_PATH": str(folder), "HELLO_FLEET_ID": FLEET_ID}
        self.lift = Stepper(devices / "hello-motor-lift", stops=(0.0, 1.10 * RAD_PER_M["lift"]))
        self.arm = Stepper(devices / "hello-motor-arm", stops=(0.0, 0.528 * RAD_PER_M["arm"]))
        self.left = Stepper(devices / "hello-motor-left-wheel")
        self.right = Stepper(devices / "hello-motor-right-wheel")
        self.steppers = [self.left, self.right, self.lift, self.arm]
        self.lift.calibrated = self.arm.calibrated = homed
        self.lift.place(lift_m * RAD_PER_M["lift"])
        self.arm.place(arm_m * RAD_PER_M["arm"])
        self.pimu = Pimu(devices / "hello-pimu", self.steppers)
        self.wacc = Wacc(devices / "hello-wacc")
        self.pan, self.tilt = Servo(11), Servo(12)
        self.yaw, self.gripper = Servo(13, position=7175), Servo(14, position=5212)
        self.head = Chain(devices / "hello-dynamixel-head", [self.pan, self.tilt])
        self.wrist = Chain(devices / "hello-dynamixel-wrist", [self.yaw, self.gripper])
        _write_parameters(Path(folder) / FLEET_ID, devices)

    @property
    def boards(self) -> list:
        return [*self.steppers, self.pimu, self.wacc, self.head, self.wrist]

    @property
    def lift_m(self) -> float:
        return self.lift.position / RAD_PER_M["lift"]

    @property
    def arm_m(self) -> float:
        return self.arm.position / RAD_PER_M["arm"]

    @property
    def base_m(self) -> float:
        return (self.left.position + self.right.position) / 2 / RAD_PER_M["wheel"]

    @property
    def heading(self) -> float:
        return (self.right.position - self.left.position) / RAD_PER_M["wheel"] / WHEEL_SEPARATION_M

    @property
    def moving(self) -> bool:
        return any(stepper.moving for stepper in self.steppers)

    def close(self) -> None:
        for board in self.boards:
            board.close()


def _write_parameters(folder: Path, devices: Path) -> None:
    (folder / "calibration_steppers").mkdir(parents=True)
    (folder.parent / "log" / "stretch_body_logger").mkdir(parents=True)
    os.environ.update(HELLO_FLEET_PATH=str(folder.parent), HELLO_FLEET_ID=FLEET_ID)
    import stretch_body.robot_params_RE1V0 as template

    configuration = copy.deepcopy(template.configuration_params_template)
    configuration["robot"].update(serial_no=FLEET_ID, batch_name="Emulated", model_name="RE1V0")
    for joint, threshold in CONTACT_PCT.items():
        configuration[joint].setdefault("contact_models", {})["effort_pct"] = {
            "contact_thresh_default": list(threshold),
            "contact_thresh_homing": [-60, 60],
        }
        for key in LEGACY_KEYS:
            configuration[joint].pop(key, None)
    user = {"robot": {"use_collision_manager": 0}, **_device_files(devices)}
    for name, values in (("configuration", configuration), ("user", user)):
        (folder / f"stretch_{name}_params.yaml").write_text(yaml.safe_dump(values))


def _device_files(devices: Path) -> dict:
    def file(name: str) -> dict:
        return {"usb_name": str(devices / f"hello-{name}")}

    wheels = {f"usb_name_{side}_wheel": str(devices / f"hello-motor-{side}-wheel") for side in ("left", "right")}
    return {
        "arm": file("motor-arm"),
        "lift": file("motor-lift"),
        "pimu": file("pimu"),
        "wacc": file("wacc"),
        "base": wheels,
        **{name: file("dynamixel-head") for name in ("head", "head_pan", "head_tilt")},
        **{name: file("dynamixel-wrist") for name in ("end_of_arm", "wrist_yaw", "stretch_gripper")},
    }
