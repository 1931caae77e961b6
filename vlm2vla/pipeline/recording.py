"""The scripted expert, recorded in the simulator."""

from vlm2vla.config import RecordConfig
from vlm2vla.dataset import recorded_rows
from vlm2vla.pipeline.store import Progress
from vlm2vla.simulation.recorder import RecordReport
from vlm2vla.trajectories import write_lerobot
from vlm2vla.workspace import Workspace


def record(config: RecordConfig, workspace: Workspace, progress: Progress = None) -> RecordReport:
    """Record the scripted expert in the simulator.

    Raises:
        ExportError: The folder is not empty.
        RobotError: The simulator does not run here.
    """
    from vlm2vla.simulation import World, recorder

    return recorder.record(
        config.task,
        config.count,
        config.seed,
        open_world=lambda scene: World(scene, robot=config.robot),
        write=lambda episodes: write_lerobot(
            config.out, ((each, recorded_rows(each)) for each in episodes), compact=config.compact
        ),
        cameras=config.cameras,
        mistakes=config.mistakes,
        scatter=config.scatter,
        progress=progress,
    )
