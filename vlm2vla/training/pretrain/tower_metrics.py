"""How well a tower sees held-out pictures: by its dense heads, and by the soft tokens that a language model gets."""

import math

import numpy as np
import torch

from vlm2vla.training.pretrain.dense import MEASURED, DenseHeads, Labels
from vlm2vla.training.pretrain.soft import SoftSpace

SEEN_PX = 38
"""Things with fewer visible pixels do not count."""
NEAR_CM = 12.0
"""A thing is near the gripper when it is less than this away from it, level."""
_CLOSE_CM = 2.0


def metrics(
    hidden: torch.Tensor, tokens: torch.Tensor, heads: DenseHeads, labels: Labels, space: SoftSpace
) -> dict[str, float]:
    """Readings of held-out pictures against the truth.

    Everything but `patch_*` is per thing: its readings are the mean over its patches, as they are in the truth.

    Args:
        hidden: float32 [N, T, width] of the tower.
        tokens: float32 [N, T, width] of the projector.
        heads: Dense heads.
        labels: Of the N pictures.
        space: What the tokens should say.

    Returns:
        Shares (0..1) for names; median errors for names that end with _cm; `offset_ok`: share of things of which each
        axis of the offset is within 2 cm. `soft_*`: the same, read from the tokens alone. What no picture shows is
        left out.
    """
    found: dict[str, float] = {}
    kinds = torch.gather(labels.kind, 1, labels.slot)
    thing = labels.slot < labels.slots - 2
    answers = heads.read(hidden)
    found["patch_kind"] = _share(answers["kind"].argmax(-1)[thing] == kinds[thing])
    found["patch_background"] = _share((answers["kind"].argmax(-1) == 0) == (kinds == 0))
    colour = torch.gather(labels.colour, 1, labels.slot)
    found["patch_colour"] = _share(answers["colour"].argmax(-1)[thing] == colour[thing])
    flagged = (answers["centre"][..., 0] > 0) & thing
    right = (flagged & (labels.centre > 0)).sum()
    found["centre_f1"] = _ratio(2 * right, flagged.sum() + (labels.centre > 0).sum())
    means, patches = _means({key: answers[key] for key in _MEANT} | {"tokens": tokens}, labels)
    seen = (patches > 0) & (labels.visible >= SEEN_PX)
    seen[:, -2:] = False
    found |= _things(means, labels, seen)
    found |= _hand(means, labels, patches[:, -2] > 0)
    found |= _soft(means, heads, labels, seen, space)
    return {key: round(float(value), 4) for key, value in found.items() if not math.isnan(value)}


_MEANT = ("kind", "colour", "symbol", "beside", "held", "numbers", "hand")


def _share(right: torch.Tensor) -> float:
    return float(right.float().mean()) if right.numel() else float("nan")


def _ratio(part: torch.Tensor, whole: torch.Tensor) -> float:
    return float(part) / max(1.0, float(whole))


def _median(values: torch.Tensor) -> float:
    return float(values.median()) if values.numel() else float("nan")


def _means(answers: dict[str, torch.Tensor], labels: Labels) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Mean over the patches of each slot, [N, S, ...], and the number of patches [N, S]."""
    count, slots = labels.kind.shape
    patches = torch.zeros(count, slots).scatter_add_(1, labels.slot, torch.ones_like(labels.centre))
    means = {}
    for key, answer in answers.items():
        index = labels.slot[..., None].expand(-1, -1, answer.shape[-1])
        total = torch.zeros(count, slots, answer.shape[-1]).scatter_add_(1, index, answer)
        means[key] = total / patches.clamp(min=1)[..., None]
    return means, patches


def _things(means: dict[str, torch.Tensor], labels: Labels, seen: torch.Tensor) -> dict[str, float]:
    found = {"things": float(seen.sum())}
    for key in ("kind", "colour", "symbol", "beside"):
        truth = getattr(labels, key)
        # Next to no card is the rule: only what lies next to one counts.
        counted = seen & (truth >= (1 if key == "beside" else 0))
        found[key] = _share(means[key].argmax(-1)[counted] == truth[counted])
    counted = seen & (labels.symbol < 0)
    held = (means["held"][..., 0] > 0)[counted]
    found["held_f1"] = _f1(held, labels.held[counted] > 0)
    error = (means["numbers"] - labels.numbers).abs()
    found["xy_cm"] = _median(torch.hypot(error[seen][:, 0], error[seen][:, 1]))
    found |= _offsets("", error[..., 3:], labels, counted)
    return found


def _offsets(name: str, error: torch.Tensor, labels: Labels, counted: torch.Tensor) -> dict[str, float]:
    near = counted & (torch.hypot(labels.numbers[..., 3], labels.numbers[..., 4]) < NEAR_CM)
    found = {f"{name}{MEASURED[3 + axis]}": _median(error[counted][:, axis]) for axis in range(3)}
    found[f"{name}offset_ok"] = _share((error[counted] <= _CLOSE_CM).all(-1))
    found |= {f"{name}near_{MEASURED[3 + axis]}": _median(error[near][:, axis]) for axis in range(3)}
    found[f"{name}near_offset_ok"] = _share((error[near] <= _CLOSE_CM).all(-1))
    return found


def _hand(means: dict[str, torch.Tensor], labels: Labels, seen: torch.Tensor) -> dict[str, float]:
    error = (means["numbers"][:, -2, :3] - labels.numbers[:, -2, :3]).abs()[seen]
    found = {f"gripper_{MEASURED[axis]}": _median(error[:, axis]) for axis in range(3)}
    says = (means["hand"][:, -2] > 0)[seen]
    found["gripper_open"] = _share(says[:, 0] == (labels.hand[seen][:, 0] > 0.5))
    found["gripper_holding"] = _share(says[:, 1] == (labels.hand[seen][:, 1] > 0.5))
    return found


def _soft(
    means: dict[str, torch.Tensor], heads: DenseHeads, labels: Labels, seen: torch.Tensor, space: SoftSpace
) -> dict[str, float]:
    tokens = means["tokens"].numpy().astype(np.float64)
    found = {}
    names = heads.names
    for key, words, first in (("kind", names.kinds, 1), ("colour", names.colours, 0), ("symbol", names.symbols, 0)):
        if not words:
            continue
        vectors = np.stack([space.concept(f"{key}:{word}") for word in words])
        truth = getattr(labels, key)
        counted = (seen & (truth >= first)).numpy()
        says = (tokens[counted] @ vectors.T).argmax(-1) + first
        found[f"soft_{key}"] = _share(torch.from_numpy(says == truth.numpy()[counted]))
    counted = seen & (labels.symbol < 0)
    error = torch.full((*labels.kind.shape, 3), float("nan"))
    for axis, name in enumerate(MEASURED[3:]):
        says = torch.from_numpy(space.read(name, tokens[counted.numpy()])).float()
        error[..., axis][counted] = (says - labels.numbers[..., 3 + axis][counted]).abs()
    found |= _offsets("soft_", error, labels, counted)
    says = torch.from_numpy(space.read("z_cm", tokens[:, -2])).float()
    found["soft_gripper_z_cm"] = _median((says - labels.numbers[:, -2, 2]).abs())
    return found


def _f1(says: torch.Tensor, truth: torch.Tensor) -> float:
    return _ratio(2 * (says & truth).sum(), says.sum() + truth.sum())
