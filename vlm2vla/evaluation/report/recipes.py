"""Recipes side by side: what each kept beside how often it succeeds, compared where they succeed about equally. Pure.

A recipe is everything that decides what comes out of a training but its seed. A model that has learned little has
forgotten little, so what two variants keep can be compared only where their success is equal: to each recipe of the
first variant stands, of every other one, the recipe whose success is nearest.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlm2vla.evaluation.report.cells import NOTHING, To, links, share
from vlm2vla.evaluation.report.document import Block, Figure, Section, Table, Text
from vlm2vla.evaluation.report.evidence import Suite
from vlm2vla.evaluation.report.measured import Graded, Measured
from vlm2vla.evaluation.report.svg import Dot, plane
from vlm2vla.evaluation.report.trained import Trained
from vlm2vla.evaluation.report.variants import (
    DIFFERENCES,
    OF_THE_VARIANT,
    VARIANTS,
    Variant,
    difference,
    results_of,
    together,
)
from vlm2vla.evaluation.retention import LINE

# Recordings that were made again by the same commands are other labels; the table tells them apart.
_APART = (*OF_THE_VARIANT, "labels")
_USUAL_FORMS = ("", "rows", "tokens")  # what a variant writes unless told otherwise


@dataclass(frozen=True)
class Recipe:
    """Trainings that differ in nothing but their seed.

    Attributes:
        made: One of them.
        result: What was measured of all of them together; its name says variant, rate, rank, an unusual form of
            actions, and one of the models.
    """

    made: Trained
    result: Variant

    @property
    def success(self) -> float:
        """Mean success."""
        return self.result.success[0].value


def recipes_of(
    models: Mapping[str, Measured], graded: Graded, suite: Suite, training: Mapping[str, Trained]
) -> tuple[Recipe, ...]:
    """The recipes whose models were both asked and driven, variant by variant."""
    groups: dict[str, dict[str, Measured]] = {}
    for model in models.values():
        made = training.get(model.weights)
        if made and made.ended and made.variant in VARIANTS and model.kept and model.driven:
            group = groups.setdefault(_key(made), {})
            same = group.get(model.weights)  # a training that ships has two names
            if same is None or same.driven.trials < model.driven.trials:
                group[model.weights] = model
    found = [_recipe(training[next(iter(group))], tuple(group.values()), graded, suite) for group in groups.values()]
    return tuple(sorted(found, key=lambda each: (VARIANTS.index(each.made.variant), -(each.made.learning_rate or 0))))


def _recipe(made: Trained, group: tuple[Measured, ...], graded: Graded, suite: Suite) -> Recipe:
    rate = f" {made.learning_rate:g}" if made.learning_rate else ""
    rank = f" r{made.rank}" if made.rank else ""
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    form = str(made.recipe.get("form", "")).partition(":")[0]
    form = "" if form in _USUAL_FORMS else f" {form}"
    return Recipe(made, together(f"{made.variant}{rate}{rank}{form} ({group[0].name}{more})", group, graded, suite))


def _key(made: Trained, without: Sequence[str] = ()) -> str:
    settings = {key: value for key, value in made.recipe.items() if key not in without}
    return json.dumps(settings, sort_keys=True, default=str)


def nearest(recipe: Recipe, others: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """Of every other variant the recipe whose success is nearest; of several, one of many seeds and on equal labels.

    Only recipes that share base, number of steps, batch and mixture are compared.
    """
    alike = [each for each in others if _key(each.made, _APART) == _key(recipe.made, _APART)]

    def far(each: Recipe) -> tuple[float, int, bool]:
        other_labels = each.made.recipe.get("labels") != recipe.made.recipe.get("labels")
        return abs(each.success - recipe.success), -len(each.result.models), other_labels

    rest = (name for name in VARIANTS if name != recipe.made.variant)
    of_each = ([each for each in alike if each.made.variant == name] for name in rest)
    return tuple(min(each, key=far) for each in of_each if each)


def recipes_section(recipes: Sequence[Recipe], graded: Graded, suite: Suite, to: To) -> Section | None:
    """One table for the recipes without replay, as the paper trains, and one for each other share; None without any."""
    blocks = [block for group in _settings(recipes) for block in _setting(group, graded, suite, to)]
    if not blocks:
        return None
    text = (
        "A recipe is everything but the seed. Who has learned little has forgotten little, so to each recipe of "
        f"{VARIANTS[0]} stands the one of every other variant that succeeds nearest to it. Recipes are compared that "
        "share base, number of steps, batch and mixture; the column labels tells recordings apart that were made by "
        "the same commands at different times. Of a recipe with one seed nothing is known of other seeds: its interval "
        "is over images and trials alone."
    )
    return Section("Retention at equal success", (Text(text), *blocks))


def _settings(recipes: Sequence[Recipe]) -> Iterator[list[Recipe]]:
    """Recipes that differ only in variant, rate and rank, those without replay first."""
    groups: dict[str, list[Recipe]] = {}
    for recipe in recipes:
        groups.setdefault(_key(recipe.made, _APART), []).append(recipe)
    several = [group for group in groups.values() if len({each.made.variant for each in group}) > 1]
    yield from sorted(several, key=lambda group: (group[0].made.replay or 0.0, -len(group)))


def _setting(group: list[Recipe], graded: Graded, suite: Suite, to: To) -> Iterator[Block]:
    made = group[0].made
    batch = made.recipe.get("batch")
    steps = f"{made.steps} steps" + (f" of {batch} groups" if batch else "")
    replay = f"with a share of {made.replay:g} questions mixed in" if made.replay else "no questions mixed in"
    head = ("recipe", "labels", "seeds", "kept", "above grey pictures", "success", "trials each", "runs")
    yield Table(head, tuple(_row(each, to) for each in group), f"{steps}, {replay}.")
    marks = [(each.result.name, *_dots(each)) for each in group]
    figure = f"recipes-{made.name}"
    title = f"Retention against success: {steps}, {replay}"
    yield Figure(figure, plane(marks, title=title, across="success in closed loop", up="kept", line=LINE), f"{title}.")
    rows = tuple(
        difference(recipe.result, other.result, graded, suite).row
        for recipe in group
        if recipe.made.variant == VARIANTS[0]
        for other in nearest(recipe, group)
    )
    if rows:
        caption = "Differences at the nearest success, over the same images and the same trials."
        yield Table(DIFFERENCES, rows, caption)


def _dots(recipe: Recipe) -> Iterator[Dot]:
    name = recipe.result.name
    for value in (recipe.result.success[0], recipe.result.kept):
        yield Dot(name, name, value.value, value.low, value.high)


def _row(recipe: Recipe, to: To) -> tuple[Any, ...]:
    result, seeds = recipe.result, len(recipe.result.models)
    success, trials = result.success
    found = (link for model in result.models for link in results_of(model, to, f" {model.name}"))
    return (
        result.name,
        str(recipe.made.recipe.get("labels") or NOTHING)[:6],
        seeds,
        share(result.kept),
        share(result.above_floor),
        share(success),
        trials,
        links(*found),
    )
