"""Retention of the variants, each trained with one or several seeds, beside their success. Pure.

Models named `lora`, `lora-s1`, `lora-s2` are one variant trained with other seeds (see `trainings`). Retention alone
says little: a model that was hardly trained keeps everything. So it stands beside action success, and wherever success
is not equal the comparison says so.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlm2vla.evaluation.config import PAPER_VARIANTS, names_of
from vlm2vla.evaluation.report.cells import NOTHING, To, links, number, points, share
from vlm2vla.evaluation.report.document import Block, Figure, Section, Table, Text
from vlm2vla.evaluation.report.evidence import Suite
from vlm2vla.evaluation.report.measured import Graded, Measured
from vlm2vla.evaluation.report.svg import Dot, plane
from vlm2vla.evaluation.report.trained import Trained
from vlm2vla.evaluation.retention import LINE, kept_more, over_seeds
from vlm2vla.evaluation.statistics import Interval
from vlm2vla.evaluation.suite import families_of, success_between, success_of

VARIANTS = names_of(PAPER_VARIANTS)
ENOUGH_SEEDS = 3
OF_THE_VARIANT = ("variant", "form", "learning_rate", "lora_rank", "lora_alpha")
"""Settings in which two variants differ, or that are swept for each."""
MARGIN = 0.10
"""Success counts as equal when the whole interval of its difference is within this, and as no worse when it is not
lower by more."""
_SEED = re.compile(r"(?P<variant>.+)-s(?P<seed>\d+)")


@dataclass(frozen=True)
class Variant:
    """One variant over its training seeds.

    Attributes:
        models: Its models that were measured; `asked` those with answers, `driven` those with rollouts.
        score, kept, above_floor: Means over `asked`, intervals over seeds and images.
        success: Mean over `driven`, and over how many trials each.
        off_cm: Open loop, mean over those that were measured.
    """

    name: str
    models: tuple[Measured, ...]
    score: Interval | None
    kept: Interval | None
    above_floor: Interval | None
    success: tuple[Interval, int] | None
    off_cm: Interval | None

    @property
    def asked(self) -> tuple[Measured, ...]:
        """Models whose answers are graded."""
        return tuple(each for each in self.models if each.kept)

    @property
    def driven(self) -> tuple[str, ...]:
        """Names of the models that drove."""
        return tuple(each.name for each in self.models if each.driven)


def variant_of(name: str) -> str:
    """The variant that a model is one seed of, by its name; "" for others."""
    found = _SEED.fullmatch(name)
    stem = found["variant"] if found else name
    return stem if stem in VARIANTS else ""


def trainings(names: Iterable[str], variant: str) -> tuple[str, ...]:
    """The models of a variant that stand for it: its further seeds where there are enough of them, else all there are.

    With enough seeds of one recipe the plain name is free for a model that was trained otherwise, such as the one that
    ships; it is told of by itself.
    """
    mine = [name for name in names if variant_of(name) == variant]
    seeds = [name for name in mine if name != variant]
    return tuple(seeds if len(seeds) >= ENOUGH_SEEDS else mine)


def variants_of(models: Mapping[str, Measured], graded: Graded | None, suite: Suite | None) -> tuple[Variant, ...]:
    """The variants of which something was measured."""
    found = []
    for name in VARIANTS:
        measured = [each.name for each in models.values() if each.kept or each.driven]
        chosen = trainings(measured, name) or trainings(models, name)
        mine = tuple(each for each in models.values() if each.name in chosen)
        if any(each.kept or each.driven for each in mine):
            found.append(together(name, mine, graded, suite))
    return tuple(found)


def together(name: str, models: tuple[Measured, ...], graded: Graded | None, suite: Suite | None) -> Variant:
    """What was measured of several trainings, their seeds taken together."""
    asked = [each for each in models if each.kept]
    grades = [graded.tuned[each.name] for each in asked if graded and each.name in graded.tuned]
    driven = [each.name for each in models if each.driven]
    together = over_seeds(graded.base, grades, graded.floor) if graded and len(grades) > 1 else None
    off = [each.off_cm for each in models if each.off_cm]
    return Variant(
        name,
        models,
        together.score if together else _mean([each.score for each in asked]),
        together.raw if together else _mean([each.kept for each in asked]),
        together.above_floor if together else _mean([each.above_floor for each in asked]),
        success_of(suite.rows, driven, families_of(suite.name)) if suite and driven else None,
        _mean(off),
    )


def _mean(values: Sequence[Interval | None]) -> Interval | None:
    """The mean without an interval; of one value that value."""
    known = [value for value in values if value]
    if len(known) < 2:
        return known[0] if known else None
    return Interval(sum(value.value for value in known) / len(known), None, None)


def variants_section(
    variants: Sequence[Variant], graded: Graded, suite: Suite | None, training: Mapping[str, Trained], to: To
) -> Section:
    """The table that the method is judged by.

    Args:
        variants: In the order of the paper.
        graded: The comparison with the base.
        suite: The paper's suite.
        training: Fingerprint of weights -> what made them.
        to: Where copies lie.
    """
    value = graded.stored.value
    text = (
        f"Each variant against {value['base']} on the set {value['set']}: the share of its score that is kept, raw and "
        "above what the base gets right on grey pictures. Of several training seeds the mean, its interval over seeds "
        "and images together; of a single one over images only, so that nothing is known of other seeds. Success is "
        "that in closed loop, all task families; where nobody drove, the open loop tells how far the sum of a written "
        "chunk is off."
    )
    blocks: list[Block] = [
        Text(text),
        *([] if graded.vqa else [Text("The set's files are not here: intervals over seeds cannot be told.")]),
        _means(variants, to),
        *_plot(variants),
        *_compared(variants[0], variants[1:], graded, suite),
        _each(variants, training, to),
        *(Text(each) for each in _warnings(variants, training)),
    ]
    return Section("Retention of the variants", tuple(blocks))


def _means(variants: Sequence[Variant], to: To) -> Table:
    rows = tuple(
        (
            each.name,
            f"{len(each.asked)} asked, {len(each.driven)} driven",
            share(each.score),
            share(each.kept),
            share(each.above_floor),
            *((share(each.success[0]), each.success[1]) if each.success else (NOTHING, NOTHING)),
            number(each.off_cm, 1),
            links(*(link for model in each.models for link in results_of(model, to, f" {model.name}"))),
        )
        for each in variants
    )
    head = ("variant", "seeds", "score", "kept", "above grey pictures", "success", "trials each")
    return Table((*head, "open loop, cm", "runs"), rows, "Means over training seeds.")


def results_of(model: Measured, to: To, of: str = "") -> list[tuple[str, str]]:
    """(text, path) of everything that was measured of a model."""
    actions = model.actions.place if model.actions else ""
    found = ((f"answers{of}", model.answers), ("trials", model.rollouts), (f"open loop{of}", actions))
    return [(what, to(place)) for what, place in found if place]


def _plot(variants: Sequence[Variant]) -> list[Block]:
    marks = [
        (each.name, *(Dot(each.name, each.name, x.value, x.low, x.high) for x in (each.success[0], each.kept)))
        for each in variants
        if each.success and each.kept
    ]
    if not marks:
        return []
    plot = plane(marks, title="Retention against success", across="success in closed loop", up="kept", line=LINE)
    caption = "What was kept against success in closed loop. Variants that stand above each other can be compared."
    return [Figure("variants", plot, caption)]


@dataclass(frozen=True)
class Difference:
    """One variant, or recipe, minus another.

    Attributes:
        kept: Share of the base's score.
        success: Closed loop, all families.
        said: Whether the two may be compared, in words.
    """

    names: str
    kept: Interval | None
    success: Interval | None
    said: str

    @property
    def row(self) -> tuple[str, str, str, str]:
        """As a row of `DIFFERENCES`."""
        return self.names, points(self.kept), points(self.success), self.said


DIFFERENCES = ("variants", "kept, points", "success, points", "what can be said")


def difference(first: Variant, other: Variant, graded: Graded, suite: Suite | None) -> Difference:
    """Two variants over the same images and the same trials."""
    one, two = ([graded.tuned[m.name] for m in each.asked if m.name in graded.tuned] for each in (first, other))
    kept = kept_more(graded.base, one, two) if one and two else None
    gap = None
    if suite and first.driven and other.driven:
        gap = success_between(suite.rows, first.driven, other.driven, families_of(suite.name))
    return Difference(f"{first.name} \u2212 {other.name}", kept, gap, equality(first, other, gap, kept))


def _compared(first: Variant, others: Sequence[Variant], graded: Graded, suite: Suite | None) -> list[Block]:
    rows = tuple(difference(first, other, graded, suite).row for other in others)
    return [Table(DIFFERENCES, rows, "Differences over the same images and the same trials.")] if rows else []


def equality(first: Variant, other: Variant, gap: Interval | None, kept: Interval | None = None) -> str:
    """Whether two variants may be compared: in words, from the differences of their success and of what they kept."""
    if gap is not None:
        if gap.low is None or gap.high is None:
            return "too little was driven to say whether success is equal"
        if gap.low >= -MARGIN and gap.high <= MARGIN:
            return f"at equal success (within {MARGIN:.0%}): retention can be compared"
        if gap.low > 0 or gap.high < 0:
            better, worse = (first, other) if gap.low > 0 else (other, first)
            said = f"success is NOT equal, {better.name} succeeds more often than {worse.name}"
            return f"{said}; {_meaning(better, kept, 1 if better is first else -1)}"
        return f"success is not shown to be equal: the difference may be more than {MARGIN:.0%}"
    if first.off_cm is None or other.off_cm is None:
        return "success was not measured for both: retention alone decides nothing"
    told = "cannot be told apart" if _overlap(first.off_cm, other.off_cm) else "are NOT equal"
    return f"not both drove; open loop {number(first.off_cm, 1)} and {number(other.off_cm, 1)} cm off {told}"


def _meaning(better: Variant, kept: Interval | None, sign: int) -> str:
    """What an unequal success does to the comparison; `kept` times `sign` is what the better one kept more."""
    if kept is None or kept.low is None or kept.high is None:
        return "what was kept cannot be compared"
    low, high = sorted((sign * kept.low, sign * kept.high))
    if low > 0:
        return f"{better.name} keeps more as well"
    if high < 0:
        return f"{better.name} keeps less, and that may be the price of success"
    return "what was kept cannot be told apart"


def _overlap(one: Interval, other: Interval) -> bool:
    if None in (one.low, one.high, other.low, other.high):
        return True
    return one.low <= other.high and other.low <= one.high


def _each(variants: Sequence[Variant], training: Mapping[str, Trained], to: To) -> Table:
    rows: list[tuple[Any, ...]] = []
    for variant in variants:
        for model in variant.models:
            made = training.get(model.weights)
            success = (share(model.driven.success), model.driven.trials) if model.driven else (NOTHING, NOTHING)
            runs = results_of(model, to) + [(what, to(place)) for what, place in (made.files if made else ())]
            rows.append(
                (
                    model.name,
                    _seed(model, made),
                    share(model.score),
                    share(model.kept),
                    share(model.above_floor),
                    *success,
                    number(model.off_cm, 1),
                    links(*runs),
                )
            )
    head = (
        "model",
        "training seed",
        "score",
        "kept",
        "above grey pictures",
        "success",
        "trials",
        "open loop, cm",
        "runs",
    )
    return Table(head, tuple(rows), "Each training by itself; intervals over images, or over trials.")


def _across(variants: Sequence[Variant], training: Mapping[str, Trained]) -> list[str]:
    """In what else, but the variant's own settings, the trainings of two variants differ."""
    made = {
        each.name: training[model.weights] for each in variants for model in each.models if model.weights in training
    }
    if len(made) < 2:
        return []
    (first, usual), *others = made.items()
    found = []
    for name, this in others:
        keys = sorted((usual.recipe.keys() | this.recipe.keys()) - set(OF_THE_VARIANT))
        other = [key for key in keys if usual.recipe.get(key) != this.recipe.get(key)]
        if other:
            told = ", ".join(f"{key} {this.recipe.get(key)} (not {usual.recipe.get(key)})" for key in other)
            found.append(f"{name} differs from {first} in more than the variant: {told}.")
    return found


def _seed(model: Measured, made: Trained | None) -> str:
    if made and made.seed is not None:
        return str(made.seed)
    found = _SEED.fullmatch(model.name)
    return f"{found['seed']}, by its name" if found else NOTHING


def _warnings(variants: Sequence[Variant], training: Mapping[str, Trained]) -> list[str]:
    """What a reader must know of the seeds: too few, the same twice, other settings."""
    found = _across(variants, training)
    few = [f"{each.name} ({len(each.asked)})" for each in variants if len(each.asked) < ENOUGH_SEEDS]
    if few:
        found.append(f"Fewer than {ENOUGH_SEEDS} training seeds were asked: {', '.join(few)}.")
    for each in variants:
        made = {model.name: training[model.weights] for model in each.models if model.weights in training}
        names = list(made)
        for name in names[1:]:
            first, this = made[names[0]], made[name]
            keys = sorted(first.recipe.keys() | this.recipe.keys())
            other = [key for key in keys if first.recipe.get(key) != this.recipe.get(key)]
            if other:
                told = ", ".join(f"{key} {this.recipe.get(key)} (not {first.recipe.get(key)})" for key in other)
                found.append(f"{name} differs from {names[0]} in more than its seed: {told}.")
            if this.seed is not None and this.seed == first.seed:
                found.append(f"{name} and {names[0]} were trained with the same seed, {this.seed}.")
    return found
