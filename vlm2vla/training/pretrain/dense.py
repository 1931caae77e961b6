"""What the tower is asked about every patch while it learns: dense labels, heads that read them, their loss.

The heads are scaffolding: they make the tower see kinds, places and offsets early, and are thrown away afterwards. What
stays are the soft tokens of the projector, which must tell the same (`SoftSpace`). Centimetres throughout; offsets are
gripper to thing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from vlm2vla.errors import ConfigError
from vlm2vla.training.pretrain.config import THINGS
from vlm2vla.training.pretrain.soft import NUMBERS, centre_of

MEASURED = tuple(NUMBERS)  # x, y, z of a thing, then the offsets
_SPREAD = 10.0  # centimetres per unit of a regression
_WEIGHTS = torch.tensor([1.0, 1.0, 1.0, 1.5, 1.5, 1.5])
_BINNED = ("x_cm", "y_cm", "dx_cm", "dy_cm", "dz_cm")
_UNSEEN = -1
_RARE = 0.3  # weight of patches with nothing on them


@dataclass(frozen=True)
class Names:
    """What things are called in a set of pictures, in the order of the heads' answers."""

    kinds: tuple[str, ...]
    colours: tuple[str, ...]
    symbols: tuple[str, ...]

    @classmethod
    def of(cls, scenes: Sequence[Mapping[str, Any]]) -> "Names":
        """All names that occur in the scenes, sorted."""
        found = [{str(thing[key]) for scene in scenes for thing in scene["things"]} for key in ("kind", "colour")]
        symbols = {str(thing["symbol"]) for scene in scenes for thing in scene["things"] if thing["symbol"]}
        return cls(*(tuple(sorted(names)) for names in (*found, symbols)))

    def to_json(self) -> dict[str, list[str]]:
        """Plain lists."""
        return {key: list(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, row: Mapping[str, Sequence[str]]) -> "Names":
        """Inverse of `to_json`."""
        return cls(*(tuple(row[key]) for key in ("kinds", "colours", "symbols")))


@dataclass(frozen=True)
class Labels:
    """Labels of N pictures as tables: one line for each of S slots, and which slot each of T patches shows.

    Slots are the things, then the gripper (S - 2), then nothing (S - 1).

    Attributes:
        slot: int64 [N, T].
        centre: float32 [N, T], 1 on the middle patch of each thing.
        kind: int64 [N, S], 0 nothing, 1.. kinds, last the gripper.
        colour, symbol: int64 [N, S], -1 where there is none.
        beside: int64 [N, S], 0 next to no card, 1.. next to the card of that symbol; -1 for cards and the gripper.
        held: float32 [N, S].
        numbers: float32 [N, S, 6], `MEASURED`; NaN where there is none.
        middle: float32 [N, S, 2], where the thing's middle appears, 0..1 right and down; NaN where unknown.
        hand: float32 [N, 2], opening of the gripper and whether it holds something.
        visible: int64 [N, S], pixels.
    """

    slot: torch.Tensor
    centre: torch.Tensor
    kind: torch.Tensor
    colour: torch.Tensor
    symbol: torch.Tensor
    beside: torch.Tensor
    held: torch.Tensor
    numbers: torch.Tensor
    middle: torch.Tensor
    hand: torch.Tensor
    visible: torch.Tensor

    @property
    def slots(self) -> int:
        """S."""
        return self.kind.shape[1]

    def rows(self, index: torch.Tensor) -> "Labels":
        """The labels of some pictures."""
        return Labels(**{key: getattr(self, key)[index] for key in self.__dataclass_fields__})


def labels_of(scenes: Sequence[Mapping[str, Any]], patches: np.ndarray, names: Names, px: int) -> Labels:
    """Tables from the files of a picture set.

    Args:
        scenes: Per picture things and gripper.
        patches: int8 [N, T].
        names: Order of the classes.
        px: Side of a picture, pixels.

    Raises:
        ConfigError: A name that `names` does not have.
    """
    count, tokens = patches.shape
    most = max((len(scene["things"]) for scene in scenes), default=0)
    shape = (count, most + 2)
    kind, visible = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    colour, symbol, beside = (np.full(shape, _UNSEEN, np.int64) for _ in range(3))
    held = np.zeros(shape, np.float32)
    numbers = np.full((*shape, len(MEASURED)), np.nan, np.float32)
    middle, hand = np.full((*shape, 2), np.nan, np.float32), np.zeros((count, 2), np.float32)
    kind[:, most] = len(names.kinds) + 1
    for row, scene in enumerate(scenes):
        cards = {thing["name"]: thing["symbol"] for thing in scene["things"] if thing["symbol"]}
        for slot, thing in enumerate(scene["things"]):
            kind[row, slot] = 1 + _index(names.kinds, thing["kind"])
            colour[row, slot] = _index(names.colours, thing["colour"])
            if thing["symbol"]:
                symbol[row, slot] = _index(names.symbols, thing["symbol"])
            else:
                card = cards.get(thing.get("beside", ""), "")
                beside[row, slot] = 1 + _index(names.symbols, card) if card else 0
            numbers[row, slot] = [thing[name] for name in MEASURED]
            held[row, slot], visible[row, slot] = thing["held"], thing["visible_px"]
            if "u_px" in thing:
                middle[row, slot] = thing["u_px"] / px, thing["v_px"] / px
        gripper = scene["gripper"]
        numbers[row, most, :3] = [gripper[name] for name in MEASURED[:3]]
        hand[row] = gripper["open"], bool(gripper["holding"])
    wide = patches.astype(np.int64)
    slot = np.where(wide < 0, most + 1, np.where(wide >= THINGS, most, wide))
    tables = (slot, _centres(wide), kind, colour, symbol, beside, held, numbers, middle, hand, visible)
    return Labels(*(torch.from_numpy(table) for table in tables))


def _index(names: tuple[str, ...], name: str) -> int:
    try:
        return names.index(name)
    except ValueError as error:
        raise ConfigError(f"{name!r} in the pictures is new to this tower; it knows {', '.join(names)}") from error


def _centres(patches: np.ndarray) -> np.ndarray:
    centre = np.zeros(patches.shape, np.float32)
    grid = round(patches.shape[1] ** 0.5)
    for row, line in enumerate(patches):
        for thing in np.unique(line[(line >= 0) & (line < THINGS)]):
            centre[row, centre_of(np.flatnonzero(line == thing), grid)] = 1
    return centre


def _bins(name: str) -> torch.Tensor:
    number = NUMBERS[name]
    reach = number.reach * 1.2
    return torch.arange(number.middle - reach, number.middle + reach + 1)


class DenseHeads(nn.Module):
    """Linear readings of the tower's last hidden state.

    Args:
        width: Of the hidden state.
        names: Classes.
    """

    def __init__(self, width: int, names: Names):
        super().__init__()
        self.names = names
        self._parts = {
            "kind": len(names.kinds) + 2,
            "centre": 1,
            "colour": len(names.colours),
            "symbol": len(names.symbols),
            "beside": len(names.symbols) + 1,
            "held": 1,
            "numbers": len(MEASURED),
            "middle": 2,
            "hand": 2,
            **{f"bins {name}": len(_bins(name)) for name in _BINNED},
        }
        self.every = nn.Linear(width, self._parts["kind"] + 1)
        self.covered = nn.Linear(width, sum(self._parts.values()) - self._parts["kind"] - 1)
        zero = torch.tensor([number.middle for number in NUMBERS.values()])
        self.register_buffer("zero", zero, persistent=False)

    def read(self, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
        """All readings of hidden states [..., width]; numbers in centimetres, everything else as logits."""
        parts = list(self._parts)
        answers = dict(
            zip(parts[:2], self.every(hidden).split([self._parts[part] for part in parts[:2]], -1), strict=True)
        )
        sizes = [self._parts[part] for part in parts[2:]]
        answers |= dict(zip(parts[2:], self.covered(hidden).split(sizes, -1), strict=True))
        answers["numbers"] = answers["numbers"] * _SPREAD + self.zero
        return answers

    def loss(self, hidden: torch.Tensor, labels: Labels) -> dict[str, torch.Tensor]:
        """Losses by name, to be added up.

        Args:
            hidden: float32 [B, T, width].
            labels: Of the B pictures.
        """
        kinds = torch.gather(labels.kind, 1, labels.slot)
        kind, centre = self.every(hidden).split([self._parts["kind"], 1], -1)
        weight = torch.ones(self._parts["kind"])
        weight[0] = _RARE
        losses = {"kind": functional.cross_entropy(kind.flatten(0, 1), kinds.flatten(), weight=weight)}
        thing = labels.slot < labels.slots - 2
        if thing.any():
            losses["centre"] = functional.binary_cross_entropy_with_logits(centre[..., 0][thing], labels.centre[thing])
            losses |= self._of_things(hidden[thing], labels, thing)
        hand = labels.slot == labels.slots - 2
        if hand.any():
            losses |= self._of_hand(hidden[hand], labels, hand)
        return losses

    def _of_things(self, hidden: torch.Tensor, labels: Labels, where: torch.Tensor) -> dict[str, torch.Tensor]:
        picture, patch = where.nonzero(as_tuple=True)
        slot = labels.slot[picture, patch]
        answers = self.read(hidden)
        losses = {}
        for name in ("colour", "symbol", "beside"):
            truth = getattr(labels, name)[picture, slot]
            if (truth >= 0).any():
                losses[name] = functional.cross_entropy(answers[name], truth, ignore_index=_UNSEEN)
        losses["held"] = functional.binary_cross_entropy_with_logits(answers["held"][:, 0], labels.held[picture, slot])
        truth = labels.numbers[picture, slot]
        far = functional.smooth_l1_loss(answers["numbers"] / _SPREAD, truth / _SPREAD, beta=0.1, reduction="none")
        losses["numbers"] = 1.2 * (far * _WEIGHTS).mean(0).sum()
        losses["bins"] = 0.15 * sum(
            _soft_bins(answers[f"bins {name}"], truth[:, MEASURED.index(name)], _bins(name)) for name in _BINNED
        )
        middle = labels.middle[picture, slot]
        grid = round(where.shape[1] ** 0.5)
        own = torch.stack([(patch % grid + 0.5) / grid, (patch // grid + 0.5) / grid], -1)
        off = (middle - own) * grid
        near = (off.abs() < 4).all(-1)
        if near.any():
            losses["middle"] = functional.smooth_l1_loss(answers["middle"][near], off[near], beta=0.1)
        return losses

    def _of_hand(self, hidden: torch.Tensor, labels: Labels, where: torch.Tensor) -> dict[str, torch.Tensor]:
        picture = where.nonzero(as_tuple=True)[0]
        answers = self.read(hidden)
        truth = labels.numbers[:, -2, :3][picture]
        far = functional.smooth_l1_loss(answers["numbers"][:, :3] / _SPREAD, truth / _SPREAD, beta=0.1)
        grasp = functional.binary_cross_entropy_with_logits(answers["hand"], labels.hand[picture])
        return {"hand": 4 * far + grasp}


def _soft_bins(logits: torch.Tensor, truth: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
    """Cross entropy against a narrow bell around the truth; bins of 1 cm."""
    bell = torch.softmax(-0.5 * ((truth[:, None] - bins) / 0.8) ** 2, -1)
    return -(bell * functional.log_softmax(logits, -1)).sum(-1).mean()
