"""What a suite of trials adds up to: errors apart, pairs by seed, resuming."""

import pytest

from vlm2vla.errors import ConfigError, EvaluationError
from vlm2vla.evaluation.lines import Lines, read_lines
from vlm2vla.evaluation.suite import (
    Job,
    cell,
    compared,
    jobs_of,
    newest,
    pair,
    report_of,
    success_between,
    success_of,
    verdicts_of,
    waiting,
)

FAMILY = "pick-up"


def row(model, seed, result, partial=None, family=FAMILY, **more):
    partial = {"success": 1.0, "failure": 1 / 3, "error": 0.0}[result] if partial is None else partial
    return {
        "model": model,
        "fingerprint": "f",
        "family": family,
        "seed": seed,
        "result": result,
        "partial": partial,
        "end": "finished: done" if result == "success" else "out of cycles: 30",
        "words": {"first_tries_chunks": 10, "first_tries_unparsable": 1},
        "cycle_s": [0.5, 1.5],
    } | more


def rows_of(model, results):
    names = {"+": "success", "-": "failure", "!": "error"}
    return [row(model, seed, names[letter]) for seed, letter in enumerate(results)]


def test_errors_are_no_failures():
    found = cell(rows_of("lora", "++-!!"), "lora", (FAMILY,))
    assert (found.trials, found.errors) == (3, 2)
    assert found.success.value == pytest.approx(2 / 3)
    assert found.partial.value == pytest.approx((1 + 1 + 1 / 3) / 3)
    assert found.parse_rate == pytest.approx(0.9)
    assert found.ends == (("finished", 2), ("out of cycles", 1))
    assert cell(rows_of("lora", "!!"), "lora", (FAMILY,)).success is None


def test_pairs_are_seeds_that_both_drove():
    rows = [*rows_of("lora", "++++--!+"), *rows_of("full", "+--+-+++")[:7]]
    found = pair(rows, "lora", "full", (FAMILY,))
    assert found.pairs == 6  # one error, one seed that only lora drove
    assert (found.only_first, found.only_second) == (2, 1)
    assert found.difference.value == pytest.approx(1 / 6)
    assert found.difference.low < 0 < found.difference.high
    assert pair(rows, "lora", "nobody", (FAMILY,)) is None


def test_the_share_of_the_expert_is_over_the_same_seeds():
    rows = [*rows_of("expert", "++-+"), *rows_of("lora", "+--+")]
    found = cell(rows, "lora", (FAMILY,))
    assert found.of_expert.value == pytest.approx(2 / 3)
    assert cell(rows_of("lora", "++"), "lora", (FAMILY,)).of_expert is None


def test_p_values_know_how_many_families_were_looked_at():
    families = ("pick-up", "pick-and-place")
    rows = []
    for family in families:
        rows += [row("lora", seed, "success", family=family) for seed in range(8)]
        rows += [row("full", seed, "failure", family=family) for seed in range(8)]
    for each in compared(rows, "lora", "full", families):
        assert each.p == pytest.approx(2 * 0.5**8)
        assert each.p_holm == pytest.approx(2 * each.p)


def test_everybody_drives_the_same_seeds_in_turn():
    jobs = jobs_of("paper", {"expert": "", "lora": "f"}, range(40))
    assert len(jobs) == len(set(jobs)) == 2 * 5 * 40
    first = jobs[: 2 * 5 * 4]
    assert {job.seed for job in first} == {0, 1, 2, 3}
    assert {(job.model, job.family) for job in first} == {(job.model, job.family) for job in jobs}
    with pytest.raises(ConfigError, match="paper"):
        jobs_of("papr", {}, ())


def test_only_what_is_missing_is_driven():
    jobs = [Job("lora", "f", FAMILY, seed) for seed in range(4)]
    rows = rows_of("lora", "+-!")
    assert [job.seed for job in waiting(jobs, rows)] == [3]
    assert [job.seed for job in waiting(jobs, rows, retry_errors=True)] == [2, 3]
    again = [*rows, row("lora", 2, "success")]
    assert waiting(jobs, again, retry_errors=True) == [jobs[3]]
    assert [each["result"] for each in newest(again)] == ["success", "failure", "success"]
    other = [Job("lora", "other weights", FAMILY, 0)]
    assert waiting(other, rows) == other


def test_the_report_in_json():
    rows = [*rows_of("expert", "++++"), *rows_of("lora", "++--"), *rows_of("full", "+---")]
    report = report_of("paper", "here", rows, ["expert", "lora", "full"], missing=3).to_json()
    assert (report["rollouts"], report["missing"], report["errors"]) == (12, 3, 0)
    assert report["success"]["lora"][FAMILY]["success"]["value"] == 0.5
    assert report["success"]["lora"]["pick-and-place"]["success"] is None
    assert [(each["first"], each["second"]) for each in report["pairs"]] == [("lora", "full")]


def test_torn_lines_are_cut_and_damage_is_said(tmp_path):
    lines = Lines(tmp_path, "rows.jsonl", {"suite": "paper"})
    with lines.writing() as add:
        add({"a": 1})
    path = tmp_path / "rows.jsonl"
    path.write_bytes(path.read_bytes() + b'{"a": 2')
    assert lines.read() == [{"a": 1}]
    with lines.writing() as add:
        add({"a": 3})
    assert read_lines(path) == [{"a": 1}, {"a": 3}]
    path.write_text('{"a": 1}\n???\n{"a": 3}\n')
    with pytest.raises(EvaluationError, match="rows.jsonl:2"):
        lines.read()
    with pytest.raises(EvaluationError, match="suite"):
        Lines(tmp_path, "rows.jsonl", {"suite": "other"})


def test_success_of_several_trainings_is_their_mean_over_trials_that_all_drove():
    rows = [*rows_of("lora", "++++----"), *rows_of("lora-s1", "++++++-!")]
    mean, trials = success_of(rows, ["lora", "lora-s1"], (FAMILY,))
    assert (mean.value, trials) == (pytest.approx((4 / 7 + 6 / 7) / 2), 7)
    alone, trials = success_of(rows, ["lora"], (FAMILY,))
    assert (alone, trials) == (cell(rows, "lora", (FAMILY,)).success, 8)
    assert success_of(rows, ["nobody"], (FAMILY,)) is None


def test_variants_differ_over_the_same_trials():
    rows = [*rows_of("lora", "++++++--" * 5), *rows_of("lora-s1", "++++----" * 5), *rows_of("full", "+-------" * 5)]
    gap = success_between(rows, ["lora", "lora-s1"], ["full"], (FAMILY,))
    assert gap.value == pytest.approx((6 / 8 + 4 / 8) / 2 - 1 / 8)
    assert gap.low < 0 < gap.value < gap.high  # two trainings that differ so much show little
    rows += [*rows_of("lora-s2", "+++++---" * 5), *rows_of("lora-s3", "++++++--" * 5)]
    assert success_between(rows, ["lora", "lora-s1", "lora-s2", "lora-s3"], ["full"], (FAMILY,)).low > 0
    assert success_of(rows, ["lora", "lora-s1"], (FAMILY,))[0].high == 1.0  # a share is none above 1
    assert success_between(rows, ["lora"], ["full"], (FAMILY,)) == pair(rows, "lora", "full", (FAMILY,)).difference
    assert success_between(rows, ["lora", "lora-s1"], ["nobody"], (FAMILY,)) is None


def test_verdicts_are_counted_where_the_truth_is_known():
    counts = {"true_done": 3, "false_done": 1, "true_not_done": 2, "false_not_done": 2, "unknown": 4}
    rows = [row("lora", seed, "success", verdicts=counts) for seed in range(5)]
    rows += [row("lora", 9, "failure", verdicts={}), row("expert", 0, "success", verdicts={})]
    found = verdicts_of(rows, "lora")
    assert (found.judged, found.unknown) == (40, 20)
    assert [each.value for each in (found.right, found.done, found.not_done)] == [5 / 8, 3 / 5, 2 / 3]
    assert verdicts_of(rows, "expert") is None
