"""The paper's claims, each held against what was measured here. Pure.

A claim *came out* only where the whole interval is on its side, *did not* where it is wholly on the other; everything
else, and whatever was not measured, is *not shown*. At this scale (a small model, a simulator) neither proves nor
disproves the paper.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from typing import Literal

from vlm2vla.evaluation.report.evidence import Evidence, Stored, Suite
from vlm2vla.evaluation.report.measured import Graded, Measured, measured
from vlm2vla.evaluation.report.recipes import Recipe, nearest, recipes_of
from vlm2vla.evaluation.report.trained import Trained, by_weights, trained
from vlm2vla.evaluation.report.variants import MARGIN, Variant, difference, together, trainings
from vlm2vla.evaluation.retention import LINE, kept_more, over_seeds
from vlm2vla.evaluation.statistics import bootstrap
from vlm2vla.evaluation.suite import IN_DISTRIBUTION, OUT_OF_DISTRIBUTION, cell, pair, success_between

Verdict = Literal["came out", "did not", "not shown"]
TUNED, TOKENS, FULL, BASE = "lora", "lora-tokens", "full", "base"


@dataclass(frozen=True)
class Claim:
    """One claim and what was found.

    Attributes:
        text: The claim.
        paper: The paper's own number.
        here: What was measured, with its interval.
        verdict: See the module.
        places: Results that the number comes from (places below a root, see `Stored.place`).
    """

    text: str
    paper: str
    here: str
    verdict: Verdict
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Seen:
    """What claims are held against: everything stored, graded again, model by model, and what made each."""

    evidence: Evidence
    graded: Graded | None
    models: Mapping[str, Measured]

    @cached_property
    def training(self) -> Mapping[str, Trained]:
        return by_weights(trained(self.evidence.runs))

    @cached_property
    def without_replay(self) -> Sequence[Recipe]:
        """Recipes without replay, as the paper trains: those of most seeds first, of these the most successful."""
        if self.graded is None or self.evidence.paper is None:
            return ()
        recipes = recipes_of(self.models, self.graded, self.evidence.paper, self.training)
        alone = (each for each in recipes if each.made.replay == 0)
        return sorted(alone, key=lambda each: (-len(each.result.models), -each.success))

    def kept_alone(self, variant: str) -> list[Variant]:
        """What was measured of a variant without replay: its recipes, then the models that only answered."""
        found = [each.result for each in self.without_replay if each.made.variant == variant]
        told = {model.weights for each in found for model in each.models}
        for model in self.models.values():
            made = self.training.get(model.weights)
            if made and made.variant == variant and made.replay == 0 and model.kept and model.weights not in told:
                told.add(model.weights)
                found.append(together(model.name, (model,), self.graded, None))
        return found


def claims_of(
    evidence: Evidence, graded: Graded | None = None, models: Mapping[str, Measured] | None = None
) -> tuple[Claim, ...]:
    """Every claim of the paper that could be measured here.

    Claims about one model are about the one called "lora"; where two variants are compared and each has several
    trainings of one recipe, those are compared.

    Args:
        evidence: What was measured.
        graded: The comparison that retention is told of, with its grades.
        models: What was measured of each model, where that is known already.
    """
    seen = _Seen(evidence, graded, measured(evidence, graded) if models is None else models)
    return (
        _kept(seen),
        _kept_alone(seen),
        _kept_tokens(seen),
        _lora_forgets_less(seen),
        _words_generalise(evidence),
        _words_cost_nothing(evidence),
        _translated(evidence),
        _composition(evidence),
        _parse_failures(evidence),
        _words_are_likelier(evidence),
        _own_verifier(evidence),
        _plans_help(evidence),
    )


def _kept(seen: _Seen) -> Claim:
    text = "LoRA on actions as words keeps more than 85 % of the base's VQA score"
    return _kept_by(seen, (TUNED,), text, "85.2 % at the least")


def _kept_alone(seen: _Seen) -> Claim:
    text = "LoRA needs no questions mixed in (replay) to keep more than 85 %"
    return _kept_without_replay(seen, TUNED, text, "none were mixed in")


def _kept_tokens(seen: _Seen) -> Claim:
    text, paper = (
        "LoRA alone prevents most forgetting: action tokens keep it too",
        "91.2 % on average, 75.9 % at the least",
    )
    if seen.kept_alone(TOKENS):
        return _kept_without_replay(seen, TOKENS, text, paper)
    asked = seen.evidence.retention.value["retention"] if seen.evidence.retention else {}
    return _kept_by(seen, trainings(asked, TOKENS), text, paper)


def _kept_without_replay(seen: _Seen, variant: str, text: str, paper: str) -> Claim:
    """The paper mixes in no questions of the base's own: what trainings of a variant keep that had none.

    Of several recipes the one of most seeds is told of, then the one that succeeds most, so that nothing is chosen by
    what it keeps; who never drove comes last.
    """
    groups = seen.kept_alone(variant)
    told = _kept_by(seen, tuple(model.name for model in groups[0].models) if groups else (), text, paper)
    others = ", ".join(f"{each.name} {_share(*astuple(each.kept))}" for each in groups[1:])
    return replace(told, here=f"{told.here}; others without replay: {others}") if others else told


def _kept_by(seen: _Seen, names: tuple[str, ...], text: str, paper: str) -> Claim:
    """What several trainings of one recipe keep on average; of one alone, what that one keeps.

    The paper mixes in no questions. What was kept with replay says what is kept, not that LoRA is what keeps it.
    """
    stored, graded = seen.evidence.retention, seen.graded
    asked = [seen.models[name] for name in names if name in seen.models and seen.models[name].kept]
    if stored is None or not asked:
        return Claim(text, paper, "not measured", "not shown")
    kept, floor, of = asked[0].kept, asked[0].above_floor, f" of {_base_score(stored):.0%}"
    grades = [graded.tuned[model.name] for model in asked if model.name in graded.tuned] if graded else []
    if len(grades) > 1 and (together := over_seeds(graded.base, grades, graded.floor)) and together.raw:
        kept, floor, of = together.raw, together.above_floor, f"{of}, mean over {len(grades)} trainings,"
    here = f"{_share(*astuple(kept))}{of} on {stored.value['set']}"
    if floor:
        here += f"; above what can be guessed without looking {_share(*astuple(floor))}"
    side = _side(kept.low, kept.high, LINE)
    if any(model.weights in seen.training and seen.training[model.weights].replay for model in asked):
        here += "; trained with replay, unlike the paper's, so that it is LoRA that keeps it is not shown"
        side = "not shown" if side == "came out" else side
    return Claim(text, paper, here, side, (stored.place,))


def _base_score(stored: Stored) -> float:
    return stored.value["scores"][stored.value["base"]]["score"]


def _lora_forgets_less(seen: _Seen) -> Claim:
    """Without replay, as in the paper: LoRA's recipe of most seeds, then of most success, beside the nearest full."""
    text, paper = "LoRA forgets less than full fine-tuning on the same data", "not compared directly"
    graded, suite, stored = seen.graded, seen.evidence.paper, seen.evidence.retention
    alone = seen.without_replay
    ours = next((each for each in alone if each.made.variant == TUNED), None)
    full = next((each for each in nearest(ours, alone) if each.made.variant == FULL), None) if ours else None
    if full and (row := difference(ours.result, full.result, graded, suite)) and row.kept:
        here = (
            f"without replay {ours.result.name} keeps {_points(*astuple(row.kept))} against {full.result.name}, at "
            f"success {ours.success:.0%} and {full.success:.0%} ({row.said})"
        )
        return Claim(text, paper, here, _side(row.kept.low, row.kept.high, 0.0), (stored.place,))
    first, second = (trainings(graded.tuned if graded else (), variant) for variant in (TUNED, FULL))
    grades = [[graded.tuned[name] for name in names] for names in (first, second)] if graded else []
    if first and second and (gap := kept_more(graded.base, *grades)):
        here = f"keeps {_points(*astuple(gap))} against full fine-tuning, {_seeds(first, second)}"
        return Claim(text, paper, here, _side(gap.low, gap.high, 0.0), (stored.place,))
    return Claim(text, paper, "not measured", "not shown")


def _words_generalise(evidence: Evidence) -> Claim:
    text = "Words generalise better than tokens (translated and referring instructions)"
    return _difference(evidence, TUNED, TOKENS, OUT_OF_DISTRIBUTION, text, "53 against 28 %, 60 against 30 %", 0.0)


def _words_cost_nothing(evidence: Evidence) -> Claim:
    text = f"Words are no worse than tokens in distribution (by at most {MARGIN:.0%})"
    return _difference(evidence, TUNED, TOKENS, IN_DISTRIBUTION, text, "62/62/51 against 57/43/34 %", -MARGIN)


def _plans_help(evidence: Evidence) -> Claim:
    text = "A policy that was trained with motion plans needs them (the same weights with and without)"
    suite = evidence.paper
    without = next((name for name in suite.models if name == f"{TUNED} (no plans)"), "") if suite else ""
    return _difference(evidence, TUNED, without, (*IN_DISTRIBUTION, *OUT_OF_DISTRIBUTION), text, "no ablation", 0.0)


def _difference(
    evidence: Evidence, first: str, second: str, families: tuple[str, ...], text: str, paper: str, line: float
) -> Claim:
    suite = evidence.paper
    ones, others = (trainings(suite.models, name) if suite else () for name in (first, second))
    seeded = ones and others and (ones, others) != ((first,), (second,))
    if seeded and (gap := success_between(suite.rows, ones, others, families)):
        here = f"{_points(gap.value, gap.low, gap.high)}, {_seeds(ones, others)}"
        side = _side(gap.low, gap.high, line)
        if not any(row["result"] == "success" for row in suite.rows if row["model"] in others):
            here += f"; {', '.join(others)} never succeeded at anything: hardly trained, or not able to"
            side = "not shown"
        return Claim(text, paper, here, side, _places(suite, *ones, *others))
    found = pair(suite.rows, first, second, families) if suite and second else None
    if found is None:
        return Claim(text, paper, "not measured", "not shown")
    gap = found.difference
    here = f"{_points(gap.value, gap.low, gap.high)} over {found.pairs} pairs, p {found.p:.2g}"
    return Claim(text, paper, here, _side(gap.low, gap.high, line), _places(suite, first, second))


def _translated(evidence: Evidence) -> Claim:
    text = "It follows instructions in languages that no action data holds"
    suite = evidence.paper
    found = cell(suite.rows, TUNED, ("pick-up-translated",)) if suite else None
    if found is None or found.success is None:
        return Claim(text, "53 %", "not measured", "not shown")
    share = found.success
    of_expert = found.of_expert
    here = f"{_share(share.value, share.low, share.high)} of {found.trials}"
    if of_expert:
        here += f"; {_share(of_expert.value, of_expert.low, of_expert.high)} of the expert's (aim 40 %)"
    side = _side(of_expert.low, of_expert.high, 0.4) if of_expert else "not shown"
    return Claim(text, "53 %", here, side, _places(suite, TUNED))


def _composition(evidence: Evidence) -> Claim:
    text = "It composes what it learned: pick, place, then lift another object"
    suite = evidence.paper
    found = cell(suite.rows, TUNED, ("pick-place-lift",)) if suite else None
    if found is None or found.success is None:
        return Claim(text, "51 % (partial credit)", "not measured", "not shown")
    here = (
        f"{_share(found.success.value, found.success.low, found.success.high)} of {found.trials}, "
        f"partial credit {found.partial.value:.2f} (a model's card tells whether its data hold this family)"
    )
    return Claim(text, "51 % (partial credit)", here, "not shown", _places(suite, TUNED))


def _parse_failures(evidence: Evidence) -> Claim:
    text = "At most about 10 % of action cycles do not parse before any help"
    suite = evidence.paper
    rows = [row for row in suite.rows if row["model"] == TUNED and row["result"] != "error"] if suite else []
    tries = [[row.get("words", {}).get(f"first_tries_{kind}", 0) for kind in ("unparsable", "chunks")] for row in rows]
    written = sum(chunks for _, chunks in tries)
    if not written:
        return Claim(text, "about 10 %", "not measured", "not shown")
    share = bootstrap(tries, lambda broken, chunks: broken / chunks)
    low, high = (None if end is None else -end for end in (share.high, share.low))
    side = _side(low, high, -0.10)
    here = f"{_share(share.value, share.low, share.high)} of {written} chunks (their opening brackets given)"
    if (free := evidence.actions_of(TUNED)) and (parsed := free.value["actions"].get("parse_rate")):
        low, high = (None if parsed[key] is None else 1 - parsed[key] for key in ("high", "low"))
        here += f"; open loop, where nothing is given, {_share(1 - parsed['value'], low, high)}"
    return Claim(text, "about 10 %", here, side, _places(suite, TUNED))


def _words_are_likelier(evidence: Evidence) -> Claim:
    text = "Before any training, actions in words are more probable for the base than the same in tokens"
    stored = evidence.actions_of(BASE)
    scores = stored.value.get("likelihood") if stored else None
    if not scores:
        return Claim(text, "clearly higher (Fig. 3)", "not measured", "not shown")
    words, tokens, gap = scores["words"], scores["tokens"], scores["difference"]
    here = (
        f"log-probability of a chunk {words['per_chunk']:.1f} in words, {tokens['per_chunk']:.1f} in tokens "
        f"(per token {words['per_token']:.2f} and {tokens['per_token']:.2f}), over {words['chunks']} chunks"
    )
    return Claim(text, "clearly higher (Fig. 3)", here, _side(gap["low"], gap["high"], 0.0), (stored.place,))


def _own_verifier(evidence: Evidence) -> Claim:
    text = "The fine-tuned VLM is no reliable verifier of its own subtasks (below 90 % right)"
    stored = evidence.actions_of(TUNED)
    scores = stored.value.get("verifier") if stored else None
    if not scores or not scores["accuracy"]:
        return Claim(text, "tried, not reliable", "not measured", "not shown")
    share = scores["accuracy"]
    here = f"{_share(share['value'], share['low'], share['high'])} of {scores['questions']} pairs of images"
    if scores["balanced"] is not None:
        here += f"; balanced {scores['balanced']:.0%}"
    low, high = (None if share[key] is None else -share[key] for key in ("high", "low"))
    return Claim(text, "tried, not reliable", here, _side(low, high, -0.9), (stored.place,))


def _seeds(first: tuple[str, ...], second: tuple[str, ...]) -> str:
    return f"means over {len(first)} and {len(second)} trainings"


def _side(low: float | None, high: float | None, line: float) -> Verdict:
    if low is None or high is None:
        return "not shown"
    if low > line:
        return "came out"
    return "did not" if high < line else "not shown"


def _places(suite: Suite, *models: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(suite.run_of(model).place for model in models))


def _share(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.0%}" + ("" if low is None or high is None else f" ({low:.0%} to {high:.0%})")


def _points(value: float, low: float | None, high: float | None) -> str:
    shown = f"{100 * value:+.0f} points"
    return shown + ("" if low is None or high is None else f" ({100 * low:+.0f} to {100 * high:+.0f})")
