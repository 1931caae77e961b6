"""A Stretch RE1 at a table in MuJoCo: scenes from a seed, a robot that is driven like the real one, pictures.

`World` loads MuJoCo when it is first asked for; scenes are plain values.
"""

import os
import sys
from typing import TYPE_CHECKING, Any

from vlm2vla.simulation.scenes import Kind, Look, Scene, SceneNeeds, SceneObject, make_scene

if TYPE_CHECKING:
    from vlm2vla.simulation.world import ObjectState, World, WorldState

# Software rendering without a screen, unless somebody chose otherwise. MuJoCo looks at this when it is loaded.
if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "egl")
    # Small pictures are drawn quickest by one thread, all the more with several simulations side by side.
    os.environ.setdefault("LP_NUM_THREADS", "1")

__all__ = [
    "Kind",
    "Look",
    "ObjectState",
    "Scene",
    "SceneNeeds",
    "SceneObject",
    "World",
    "WorldState",
    "make_scene",
]


def __getattr__(name: str) -> Any:
    if name in ("ObjectState", "World", "WorldState"):
        from vlm2vla.simulation import world

        return getattr(world, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
