"""Soft image tokens: what a perfect tower would tell the language model about each patch of a picture.

A token is a sum of fixed vectors, one for each thing that is true of the patch: the kind, colour and symbol of what
covers it, where that stands, how far the gripper is from it. The vectors come from a seed and from names alone, so the
tower can learn to produce them while the language model learns to read them. Knows no torch, no pixels and no words.

Numbers are written as smooth features in directions that are orthogonal to each other and to everything else: a ramp,
and sines and cosines down to a wavelength of a few centimetres. So near numbers look alike and each can be read alone.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm2vla.training.pretrain.config import THINGS, SoftConfig

# Squared length of each attribute; a token with all of them has about one per dimension.
_KIND, _COLOUR, _SYMBOL, _BESIDE, _FLAG, _PLACE = 20.0, 20.0, 22.0, 8.0, 9.0, 9.0


@dataclass(frozen=True)
class Number:
    """How one measured number is written.

    Attributes:
        middle, reach: The ramp runs from -1 to 1 over middle - reach .. middle + reach.
        waves: Wavelengths of the sines and cosines, in the number's own unit, coarse to fine.
        power: Squared length of the whole.
    """

    middle: float
    reach: float
    waves: tuple[float, ...]
    power: float


_WAVES = (80.0, 40.0, 20.0, 10.0, 5.0, 2.5)
NUMBERS = {
    "x_cm": Number(64.0, 20.0, (40.0, 20.0, 10.0, 5.0, 2.5), 26.0),
    "y_cm": Number(0.0, 30.0, (80.0, 40.0, 20.0, 10.0, 5.0, 2.5), 26.0),
    "z_cm": Number(8.0, 16.0, (40.0, 20.0, 10.0, 5.0), 12.0),
    "dx_cm": Number(0.0, 30.0, _WAVES, 26.0),
    "dy_cm": Number(0.0, 30.0, _WAVES, 26.0),
    "dz_cm": Number(-8.0, 20.0, (40.0, 20.0, 10.0, 5.0, 2.5), 22.0),
}
FLAGS = ("held", "centre", "open", "holding")


@dataclass(frozen=True)
class Roughness:
    """What a real tower gets wrong, so that the language model learns to live with it.

    Attributes:
        noise: Standard deviation added to each dimension.
        jitter_cm: Standard deviation added to each number of each patch by itself, and of each thing as a whole.
        lost: Share of covered patches that show nothing.
    """

    noise: float = 0.2
    jitter_cm: float = 0.5
    lost: float = 0.04


_ROUGH = Roughness()


class SoftSpace:
    """Turns labels of a picture into soft tokens.

    Args:
        config: Width, grid, seed.
    """

    def __init__(self, config: SoftConfig | None = None):
        self.config = config = config or SoftConfig()
        width = config.width
        self._concepts: dict[str, np.ndarray] = {}
        rng = np.random.default_rng([config.seed, 1])
        basis, _ = np.linalg.qr(rng.standard_normal((width, width)))
        used = 0
        self._numbers: dict[str, np.ndarray] = {}
        for name, number in NUMBERS.items():
            size = 1 + 2 * len(number.waves)
            self._numbers[name] = basis[:, used : used + size].T
            used += size
        self._flags = dict(zip(FLAGS, basis[:, used : used + len(FLAGS)].T * _FLAG**0.5, strict=True))
        used += len(FLAGS)
        place = basis[:, used : used + 8].T
        used += 8
        self._room = basis[:, used:]  # [width, rest]: where concepts live
        self.places = self._place_features() @ place

    def concept(self, name: str) -> np.ndarray:
        """The unit vector of a name such as "kind:cube", "colour:red", "symbol:star" or "beside:star", [width].

        Names that were never seen before get one too; all are nearly orthogonal.
        """
        if name not in self._concepts:
            rng = np.random.default_rng([self.config.seed, 2, zlib.crc32(name.encode())])
            vector = self._room @ rng.standard_normal(self._room.shape[1])
            self._concepts[name] = vector / np.linalg.norm(vector)
        return self._concepts[name]

    def written(self, name: str, value: np.ndarray, fine: float = 1.0) -> np.ndarray:
        """A number (any shape) as vectors [..., width]; `fine` < 1 weakens the short waves, the shortest most."""
        return self._features(name, value, fine) @ self._numbers[name]

    def read(self, name: str, vectors: np.ndarray) -> np.ndarray:
        """The number that vectors [..., width] tell best, on a grid of 0.25; the inverse of `written`."""
        number = NUMBERS[name]
        grid = np.arange(number.middle - 2 * number.reach, number.middle + 2 * number.reach, 0.25)
        seen = vectors @ self._numbers[name].T
        distance = ((seen[..., None, :] - self._features(name, grid)) ** 2).sum(-1)
        return grid[distance.argmin(-1)]

    def target(self, scene: Mapping[str, Any], patches: np.ndarray) -> np.ndarray:
        """Soft tokens without any error.

        Args:
            scene: One line of scenes.jsonl.
            patches: int8 [grid * grid], one row of patches.npy.

        Returns:
            float32 [grid * grid, width].
        """
        return self._tokens(scene, patches, None, Roughness(0.0, 0.0, 0.0))

    def rough(
        self, scene: Mapping[str, Any], patches: np.ndarray, rng: np.random.Generator, rough: Roughness = _ROUGH
    ) -> np.ndarray:
        """Soft tokens with the errors of a real tower; shapes as for `target`."""
        return self._tokens(scene, patches, rng, rough)

    def blank(self) -> np.ndarray:
        """Tokens of a picture with nothing on it, float32 [grid * grid, width]."""
        return self.places.astype(np.float32)

    def _tokens(
        self, scene: Mapping[str, Any], patches: np.ndarray, rng: np.random.Generator | None, rough: Roughness
    ) -> np.ndarray:
        patches = np.asarray(patches, dtype=np.int64)
        if rng is not None and rough.lost:
            patches = np.where(rng.random(len(patches)) < rough.lost, -1, patches)
        tokens = self.places.copy()
        symbols = {thing["name"]: thing["symbol"] for thing in scene["things"] if thing.get("symbol")}
        for index, thing in enumerate(scene["things"]):
            at = np.flatnonzero(patches == index)
            if len(at):
                beside = symbols.get(thing.get("beside", ""), "")
                tokens[at] += self._thing(thing, beside)
                tokens[at] += self._measured(thing, ("x_cm", "y_cm", "z_cm"), len(at), rng, rough)
                tokens[at] += self._measured(thing, ("dx_cm", "dy_cm", "dz_cm"), len(at), rng, rough)
                tokens[centre_of(at, self.config.grid)] += self._flags["centre"]
        at = np.flatnonzero(patches >= THINGS)
        if len(at):
            gripper = scene["gripper"]
            tokens[at] += self.concept("kind:gripper") * _KIND**0.5 + self._flags["open"] * (2 * gripper["open"] - 1)
            tokens[at] += self._measured(gripper, ("x_cm", "y_cm", "z_cm"), len(at), rng, rough)
            if gripper["holding"]:
                tokens[at] += self._flags["holding"]
        if rng is not None and rough.noise:
            tokens += rng.standard_normal(tokens.shape, dtype=np.float32) * rough.noise
        return tokens.astype(np.float32)

    def _thing(self, thing: Mapping[str, Any], beside: str) -> np.ndarray:
        vector = self.concept(f"kind:{thing['kind']}") * _KIND**0.5
        vector = vector + self.concept(f"colour:{thing['colour']}") * _COLOUR**0.5
        if thing.get("symbol"):
            vector = vector + self.concept(f"symbol:{thing['symbol']}") * _SYMBOL**0.5
        if beside:
            vector = vector + self.concept(f"beside:{beside}") * _BESIDE**0.5
        if thing.get("held"):
            vector = vector + self._flags["held"]
        return vector

    def _measured(
        self,
        source: Mapping[str, Any],
        names: Sequence[str],
        count: int,
        rng: np.random.Generator | None,
        rough: Roughness,
    ) -> np.ndarray:
        """Sum of the numbers of one thing, [count, width], each patch with an error of its own."""
        total = np.zeros((count, self.config.width))
        for name in names:
            value = np.full(count, float(source[name]))
            fine = 1.0
            if rng is not None and rough.jitter_cm:
                value += rough.jitter_cm * (rng.standard_normal(count) + 0.5 * rng.standard_normal())
                fine = float(rng.uniform(0.3, 1.0))
            total += self.written(name, value, fine)
        return total

    def _features(self, name: str, value: np.ndarray, fine: float = 1.0) -> np.ndarray:
        number = NUMBERS[name]
        value = np.asarray(value, dtype=np.float64)
        parts = [np.clip((value - number.middle) / number.reach, -1.5, 1.5) * 1.4]
        for index, wave in enumerate(number.waves):
            weight = fine ** max(0, index - len(number.waves) + 3)
            angle = 2 * np.pi * value / wave
            parts += [np.sin(angle) * weight, np.cos(angle) * weight]
        return np.stack(parts, axis=-1) * (number.power / (1 + len(number.waves))) ** 0.5

    def _place_features(self) -> np.ndarray:
        """[grid * grid, 8]: row and column, smooth."""
        grid = self.config.grid
        along = (np.arange(grid) + 0.5) / grid
        waves = np.stack([f(np.pi * along * k) for k in (1, 2) for f in (np.sin, np.cos)], axis=-1)  # [grid, 4]
        both = [np.concatenate([waves[row], waves[column]]) for row in range(grid) for column in range(grid)]
        return np.stack(both) * (_PLACE / 4) ** 0.5


def centre_of(at: np.ndarray, grid: int) -> int:
    """Of the patches `at` (indices, row-major) that one thing covers, the one nearest to their middle."""
    rows, columns = at // grid, at % grid
    distance = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    return int(at[distance.argmin()])
