"""Pictures of the simulation: a thread that owns the graphics context and draws what it is handed.

A graphics context belongs to one thread. So every `Darkroom` has its own: whoever wants a picture hands over the
positions of that moment and waits; the physics goes on meanwhile, and live views do not disturb a policy.
"""

import io
import os
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import mujoco
import numpy as np

from vlm2vla.errors import ConfigError, NotFoundError, RobotError
from vlm2vla.native import load_in_order
from vlm2vla.simulation.model import Slot
from vlm2vla.simulation.robot_body import DRAWN, FINGERS
from vlm2vla.simulation.room import LARGEST_PX

JPEG_QUALITY = 90
SMALLEST_PX = 32

# Drawn so many times larger and averaged: smooth edges at a fraction of what multisampling costs in software.
_OVERSAMPLING = 2
_OVERSAMPLED_PX = 320  # larger pictures are for people, and quick

# Dark discs of these relative sizes, one over the other, make the soft edge of a spot.
_RINGS = (1.30, 1.15, 1.0, 0.85, 0.65)

# Creating contexts in two threads at once is not safe in every driver.
_CREATING = threading.Lock()


@dataclass(frozen=True)
class Camera:
    """One view.

    Attributes:
        name: Of the camera in the model and in observations.
        title: For people.
        shape: Height and width relative to the picture's longer side, as drawn.
        turned: Quarter turns counter-clockwise (numpy's `rot90`) from drawn to upright.
    """

    name: str
    title: str
    shape: tuple[float, float] = (1.0, 1.0)
    turned: int = 0


CAMERAS = {
    "external": Camera("external", "External camera, over the left shoulder, looking down"),
    # The D435i sees 69 x 42.5 degrees and is mounted on its side.
    "head": Camera("head", "Head camera (D435i)", shape=(0.75, 1.0), turned=-1),
}
"""The first one is the policy's default view."""


class Darkroom:
    """Draws positions `qpos` of one model; safe from any thread.

    Attributes:
        frames: Pictures drawn so far.
    """

    def __init__(self, model: mujoco.MjModel):
        self._model = model
        self._jobs: queue.SimpleQueue[tuple[Callable[[], object], Future] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False
        self._trouble: RobotError | None = None
        self._shades: tuple[tuple[int, float, float], ...] = ()
        self._ground = 0.0
        self.frames = 0

    def render(self, qpos: np.ndarray, camera: str, px: int) -> np.ndarray:
        """[h, w, 3] uint8 upright picture, `px` on its longer side.

        Raises:
            NotFoundError: No such camera.
            ConfigError: A size that cannot be drawn.
            RobotError: No graphics on this computer, or already closed.
        """
        view, size = _checked(camera, px)
        return self._run(lambda: self._draw(qpos, view, size))

    def labels(self, qpos: np.ndarray, camera: str, px: int) -> np.ndarray:
        """[h, w] int32: which geom of the model is seen at each pixel of that picture, -1 for the sky; upright.

        Raises:
            NotFoundError, ConfigError, RobotError: As `render`.
        """
        view, size = _checked(camera, px)
        return self._run(lambda: self._label(qpos, view, size))

    def change(self, write: Callable[[], object], textures: tuple[str, ...]) -> object:
        """Run `write`, which changes the model, while nothing is being drawn; then send the named textures on."""
        if self._thread is None or self._trouble is not None:
            return write()  # a context that is made later takes all textures from the model

        def job() -> object:
            result = write()
            # With sleeping switched on, positions of what is fixed (table, cards) are computed only once per data.
            self._data = mujoco.MjData(self._model)
            for name in textures:
                mujoco.mjr_uploadTexture(self._model, self._context, self._model.texture(name).id)
            return result

        return self._run(job)

    def shade(self, slots: tuple[tuple[Slot, float, float], ...], ground: float) -> None:
        """Soft dark spots on the table (height `ground`) below these bodies: (slot, height of its foot, radius)."""
        tips = [(self._model.body(f"link_gripper_fingertip_{side}").id, 0.015, 0.020) for side in FINGERS]
        self._shades = (*((slot.body, foot, radius) for slot, foot, radius in slots), *tips)
        self._ground = ground

    def close(self) -> None:
        """Let go of the graphics context; safe to call twice."""
        with self._starting:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self, job: Callable[[], object]):
        with self._starting:
            if self._closed:
                raise RobotError("the simulator is closed; there are no pictures any more")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="darkroom", daemon=True)
                self._thread.start()
            done: Future = Future()
            self._jobs.put((job, done))
        return done.result()

    def _work(self) -> None:
        try:
            with _CREATING:
                self._open()
        except Exception as error:  # whatever the driver throws: every picture that is asked for says so
            self._trouble = RobotError(
                f"no graphics for the simulator: {error}. Install libegl1 and libgl1-mesa-dri (make system)"
            )
        while (item := self._jobs.get()) is not None:
            job, done = item
            if self._trouble is not None:
                done.set_exception(self._trouble)
                continue
            try:
                done.set_result(job())
            except Exception as error:
                done.set_exception(error)
        if self._trouble is None:
            self._context.free()
            self._gl.free()

    def _open(self) -> None:
        model = self._model
        size = int(model.vis.global_.offwidth)
        self._gl = _gl_context(size)
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._data = mujoco.MjData(model)
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 100)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[DRAWN] = 1
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._perturb = mujoco.MjvPerturb()

    def _draw(self, qpos: np.ndarray, camera: Camera, px: int) -> np.ndarray:
        self._look(qpos, camera)
        self._add_shades(self._data)
        factor = _OVERSAMPLING if px <= _OVERSAMPLED_PX else 1
        pixels = self._develop(camera, px * factor)
        self.frames += 1
        return _finish(pixels, factor, camera.turned)

    def _label(self, qpos: np.ndarray, camera: Camera, px: int) -> np.ndarray:
        self._look(qpos, camera)
        flags = self._scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 1
        try:
            pixels = self._develop(camera, px).astype(np.int32)
        finally:
            flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 0
        # Colours count the things drawn from 1; black is the sky.
        drawn = np.full(self._scene.ngeom + 1, -1, dtype=np.int32)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                drawn[geom.segid + 1] = geom.objid
        number = pixels[..., 0] + (pixels[..., 1] << 8) + (pixels[..., 2] << 16)
        return np.ascontiguousarray(np.rot90(drawn[number[::-1]], camera.turned))

    def _look(self, qpos: np.ndarray, camera: Camera) -> None:
        """Everything where `qpos` says, seen through `camera`."""
        model, data = self._model, self._data
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        self._view.fixedcamid = model.camera(camera.name).id
        mujoco.mjv_updateScene(
            model, data, self._option, self._perturb, self._view, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )

    def _develop(self, camera: Camera, px: int) -> np.ndarray:
        """[h, w, 3] uint8 of what `_look` saw, the lowest row first; `px` on the longer side."""
        height, width = (int(round(px * share)) for share in camera.shape)
        viewport = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(viewport, self._scene, self._context)
        pixels = np.empty((height, width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(pixels, None, viewport, self._context)
        return pixels

    def _add_shades(self, data: mujoco.MjData) -> None:
        for body, foot, radius in self._shades:
            x, y, z = data.xpos[body]
            above = max(0.0, z - foot - self._ground)
            strength = 0.36 * (1 - above / 0.30)
            if strength <= 0 or z < self._ground - 0.02:
                continue
            for ring, share in enumerate(_RINGS):
                if self._scene.ngeom >= self._scene.maxgeom:
                    return
                spot = self._scene.geoms[self._scene.ngeom]
                size = np.array([radius * share * (1 + 2 * above), 0.0002, 0.0])
                mujoco.mjv_initGeom(
                    spot,
                    mujoco.mjtGeom.mjGEOM_CYLINDER,
                    np.array([size[0], size[0], size[1]]),
                    np.array([x, y, self._ground + 0.0012 + 0.0003 * ring]),
                    np.eye(3).ravel(),
                    np.array([0.0, 0.0, 0.0, strength / len(_RINGS)], dtype=np.float32),
                )
                self._scene.ngeom += 1


def _checked(camera: str, px: int) -> tuple[Camera, int]:
    if not SMALLEST_PX <= px <= LARGEST_PX:
        raise ConfigError(f"a picture is {SMALLEST_PX} to {LARGEST_PX} pixels large, not {px}")
    if camera not in CAMERAS:
        raise NotFoundError(f"no camera {camera!r}; there is {', '.join(CAMERAS)}")
    return CAMERAS[camera], px


def _gl_context(size: int):
    """A graphics context without a screen, unless MUJOCO_GL chose otherwise before MuJoCo was loaded."""
    load_in_order()
    if sys.platform == "linux" and os.environ.get("MUJOCO_GL", "egl") == "egl":
        # By name: `mujoco.GLContext` would open a window where somebody imported MuJoCo before this package.
        from mujoco.egl import GLContext

        return GLContext(size, size)
    return mujoco.GLContext(size, size)


def _finish(pixels: np.ndarray, factor: int, turned: int) -> np.ndarray:
    """Upright picture: MuJoCo's first row is the lowest one."""
    picture = pixels[::-1]
    if factor == 2:
        # Sums of four in 16 bits: exact, and several times quicker than a general resize.
        wide = picture.astype(np.uint16)
        picture = ((wide[0::2, 0::2] + wide[1::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 1::2] + 2) >> 2).astype(
            np.uint8
        )
    return np.ascontiguousarray(np.rot90(picture, turned))


def encode_jpeg(picture: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """JPEG bytes of [h, w, 3] uint8."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
