"""Variants over training seeds beside their success, sweeps of training runs, and what made each model."""

import json
import shutil
from dataclasses import replace

import pytest

from tests.evaluation.conftest import Answering, write_colours
from tests.evaluation.fabricated import USUAL, copied, drive, knows, open_loop, train
from vlm2vla.evaluation import load_set
from vlm2vla.evaluation.config import ReportConfig, VqaConfig
from vlm2vla.evaluation.report import make_report, note_runs
from vlm2vla.evaluation.report.claims import claims_of
from vlm2vla.evaluation.report.evidence import collect
from vlm2vla.evaluation.report.measured import measured, regrade
from vlm2vla.evaluation.report.svg import Dot, plane
from vlm2vla.evaluation.report.sweeps import swept
from vlm2vla.evaluation.report.trained import trained
from vlm2vla.evaluation.report.variants import Variant, equality, trainings, variant_of, variants_of
from vlm2vla.evaluation.statistics import Interval
from vlm2vla.evaluation.vqa import evaluate
from vlm2vla.vlm.identity import identity
from vlm2vla.vlm.registry import ModelRegistry

SEEDS = {"lora": "10a0", "lora-s1": "10a1", "lora-s2": "10a2"}
WEIGHTS = {**SEEDS, "full": "f000", "full-slow": "f001"}
SHARES = {"lora": 0.95, "lora-s1": 0.75, "lora-s2": 0.85, "full": 0.4, "full-slow": 0.9}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three seeds of lora, one full fine-tuning that drives better, and a slower one that drives as well as lora."""
    folder = tmp_path_factory.mktemp("made")
    root, vqa = folder / "evaluations", load_set(str(write_colours(folder / "colours")))
    who = [knows(Answering, vqa, name, SHARES[name], weights) for name, weights in WEIGHTS.items()]
    base = knows(Answering, vqa, "base", 1.0, "ba5e")
    evaluate(vqa, [base, *who[:4]], root / "vqa", VqaConfig())
    evaluate(vqa, [base, who[4]], root / "vqa", VqaConfig())  # asked later, and alone
    for name, success in (("lora", 0.5), ("lora-s1", 0.6), ("full", 0.95), ("full-slow", 0.55)):
        drive(root, "paper-1", USUAL, {name: success}, trials=20, weights=WEIGHTS[name])
    train(root, "lora", "10a0")
    train(root, "lora-s1", "10a1", seed=1)
    train(root, "lora-s2", "10a2", seed=2, learning_rate=1e-3)
    train(root, "run-7", "f000", variant="full", learning_rate=1e-3)
    train(root, "run-8", "f001", variant="full", learning_rate=1e-4, held_out=0.123)
    return folder


@pytest.fixture
def results(made, colours, tmp_path):
    return copied(made, tmp_path)


def section(text: str, title: str) -> str:
    return text[text.index(f"## {title}\n") :].split("\n## ")[0]


def lines(text: str, beginning: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(beginning)]


def test_enough_seeds_stand_for_a_variant_without_its_plain_name():
    names = ("base", "lora", "lora-s1", "lora-s2", "lora-s3", "full", "full-s2", "lora-tokens-s1")
    assert trainings(names, "lora") == ("lora-s1", "lora-s2", "lora-s3")
    assert trainings(names, "full") == ("full", "full-s2")
    assert trainings(names, "full-tokens") == ()


def told_alone(results):
    evidence = collect([results])
    graded = regrade(evidence.retention, evidence, ())
    (claim,) = (each for each in claims_of(evidence, graded) if "replay" in each.text)
    return claim.here, {
        name: f"{model.kept.value:.0%}" for name, model in measured(evidence, graded).items() if model.kept
    }


def test_what_trainings_without_replay_keep_is_a_claim_of_its_own(results):
    assert told_alone(results)[0] == "not measured"  # the fabricated trainings had a share of it
    train(results, "run-9", WEIGHTS["lora"], mixture={"replay": 0.0})
    here, kept = told_alone(results)
    assert here.startswith(kept["lora"])
    train(results, "run-10", WEIGHTS["lora-s1"], mixture={"replay": 0.0})
    assert "mean over 2 trainings" in told_alone(results)[0]


def test_of_several_recipes_without_replay_the_claim_is_about_the_one_of_most_seeds_then_of_most_success(results):
    for run, name, rate in (("run-7", "full", 1e-3), ("run-8", "full-slow", 1e-4)):
        shutil.rmtree(results / "runs" / run)
        train(results, run, WEIGHTS[name], learning_rate=rate, mixture={"replay": 0.0})
    here, kept = told_alone(results)
    assert here.startswith(kept["full"])
    assert f"others without replay: lora 0.0001 r16 (full-slow) {kept['full-slow']}" in here
    for run, name in (("run-9", "lora"), ("run-10", "lora-s1")):
        train(results, run, WEIGHTS[name], learning_rate=1e-2, mixture={"replay": 0.0})
    here, _ = told_alone(results)
    assert "mean over 2 trainings" in here
    assert f"lora 0.001 r16 (full) {kept['full']}" in here


def test_who_answered_and_never_drove_is_told_of_last(results):
    shutil.rmtree(results / "runs" / "lora-s2")  # the one that nobody drove
    train(results, "lora-s2", WEIGHTS["lora-s2"], mixture={"replay": 0.0})
    here, kept = told_alone(results)
    assert here.startswith(kept["lora-s2"])
    shutil.rmtree(results / "runs" / "run-7")
    train(results, "run-7", WEIGHTS["full"], mixture={"replay": 0.0})
    here, _ = told_alone(results)
    assert here.startswith(kept["full"])
    assert f"others without replay: lora-s2 {kept['lora-s2']}" in here


def test_action_tokens_are_told_of_without_replay_where_they_were_trained_so(results):
    shutil.rmtree(results / "runs" / "run-7")
    train(results, "run-7", WEIGHTS["full"], variant="lora-tokens", mixture={"replay": 0.0})
    evidence = collect([results])
    graded = regrade(evidence.retention, evidence, ())
    (claim,) = (each for each in claims_of(evidence, graded) if "action tokens keep it too" in each.text)
    assert claim.here.startswith(f"{measured(evidence, graded)['full'].kept.value:.0%}")
    assert "replay" not in claim.here


def test_what_was_kept_with_replay_does_not_show_that_lora_keeps_it(results):
    evidence = collect([results])
    claims = {claim.text: claim for claim in claims_of(evidence, regrade(evidence.retention, evidence, ()))}
    kept = claims["LoRA on actions as words keeps more than 85 % of the base's VQA score"]
    assert kept.verdict == "not shown"
    assert "with replay" in kept.here


def test_forgetting_is_compared_without_replay_and_at_the_nearest_success(results):
    for run, name, variant in (("run-a", "lora", "lora"), ("run-7", "full", "full"), ("run-8", "full-slow", "full")):
        shutil.rmtree(results / "runs" / run, ignore_errors=True)
        train(results, run, WEIGHTS[name], variant=variant, mixture={"replay": 0.0})
    shutil.rmtree(results / "runs" / "lora")
    shutil.copytree(results / "runs" / "run-8", results / "runs" / "other")
    evidence = collect([results])
    claims = claims_of(evidence, regrade(evidence.retention, evidence, ()))
    (claim,) = (each for each in claims if "forgets less" in each.text)
    assert claim.here.startswith("without replay lora")
    assert "at success" in claim.here


def test_who_answered_a_part_is_compared_with_nobody(results):
    (run,) = (path.parent for path in results.glob("vqa/*/full-slow-*/run.json"))
    lines_ = (run / "answers.jsonl").read_text().splitlines(keepends=True)
    (run / "answers.jsonl").write_text("".join(lines_[: len(lines_) // 2]))
    evidence = collect([results])
    models = measured(evidence, regrade(evidence.retention, evidence, ()))
    assert models["full"].kept
    assert models["full-slow"].kept is None


def test_recordings_that_differ_between_variants_are_said(results, tmp_path):
    summary = results / "runs" / "run-7" / "summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"labels": "others"}))
    text = make_report(results, tmp_path / "out", ReportConfig(examples=0)).markdown.read_text()
    assert "full differs from lora in more than the variant: labels others (not )." in text


def test_every_model_that_was_asked_and_drove_stands_in_the_trade(results, tmp_path):
    text = make_report(results, tmp_path / "out", ReportConfig(examples=0)).markdown.read_text()
    told = section(text, "Kept against gained")
    assert {line.split(" | ")[0][2:] for line in lines(told, "| ")} >= {"lora", "lora-s1", "full", "full-slow"}


def test_variants_are_told_over_their_seeds_from_stored_results_alone(results, tmp_path):
    make_report(results, tmp_path / "out", ReportConfig(examples=0))
    shutil.rmtree(results)
    out = tmp_path / "again"
    stored = tmp_path / "out" / "results"
    # The set is looked for by its name, as those that ship are.
    text = make_report(stored, out, ReportConfig(examples=0), places=(tmp_path,)).markdown.read_text()
    told = section(text, "Retention of the variants")
    row = lines(told, "| lora |")[0].split(" | ")
    assert row[1] == "3 asked, 2 driven"
    each = [lines(told, f"| {name} | {number} |")[0] for number, name in enumerate(SEEDS)]
    kept = [float(line.split(" | ")[3].split("%")[0]) for line in each]
    assert float(row[3].split("%")[0]) == pytest.approx(sum(kept) / 3, abs=0.1)
    for line in each:
        assert all(name in line for name in ("answers.jsonl", "config.json", "summary.json", "README.md"))
    assert "Fewer than 3 training seeds were asked: full (1)." in told
    assert "lora-s2 differs from lora in more than its seed: learning_rate 0.001 (not 0.005)." in told
    (unequal,) = lines(told, "| lora \u2212 full")
    assert "success is NOT equal, full succeeds more often than lora; full keeps less" in unequal
    driven = lines(section(text, "Closed loop"), "| lora |")[0].split(" | ")
    assert (driven[7], driven[9]) == ("99", "1200 steps")  # trials, one of which broke; how long it was trained
    (slow,) = lines(section(text, "Sweeps"), "| run-8 (full-slow) | full | rows:0.5cm | 0.0001 |")
    assert "| 0.1230 |" in slow
    assert "full-slow-f001/answers.jsonl" in slow  # measured in a comparison of its own
    (full,) = lines(section(text, "Models"), "| full |")
    assert full.count("results/runs/run-7/") == 3
    assert (out / "results/runs/run-7/README.md").is_file()


def test_recipes_are_compared_where_their_success_is_nearest(results, colours, answering, tmp_path):
    vqa = load_set(str(colours))
    again = knows(answering, vqa, "shipped", SHARES["lora"], WEIGHTS["lora"])  # one training under another name too
    evaluate(vqa, [knows(answering, vqa, "base", 1.0, "ba5e"), again], results / "vqa", VqaConfig())
    drive(results, "paper-1", USUAL, {"shipped": 0.5}, trials=10, weights=WEIGHTS["lora"])
    text = make_report(results, tmp_path / "out", ReportConfig(examples=0)).markdown.read_text()
    told = section(text, "Retention at equal success")
    (lora,) = lines(told, "| lora 0.005 r16 (lora and 1 more) |")
    assert lora.split(" | ")[2] == "2"  # seeds: not the second name, nor the one at another rate, which never drove
    (gap,) = lines(told, "| lora 0.005 r16 (lora and 1 more) \u2212")
    assert gap.startswith("| lora 0.005 r16 (lora and 1 more) \u2212 full 0.0001 (full-slow) |")
    assert "NOT equal" not in gap


def test_recipes_with_and_without_replay_are_not_compared(results, tmp_path):
    shutil.rmtree(results / "runs" / "run-8")
    train(results, "run-8", WEIGHTS["full-slow"], variant="full", learning_rate=1e-4, mixture={"replay": 0.0})
    text = make_report(results, tmp_path / "out", ReportConfig(examples=0)).markdown.read_text()
    (gap,) = lines(section(text, "Retention at equal success"), "| lora 0.005 r16 (lora and 1 more) \u2212")
    assert "full 0.001 (full)" in gap


def test_seeds_widen_what_one_training_seems_to_show(results):
    evidence = collect([results])
    graded = regrade(evidence.retention, evidence, ())
    models = measured(evidence, graded)
    lora, full = variants_of(models, graded, None)
    assert (len(lora.asked), len(full.asked)) == (3, 1)
    together, alone = lora.kept, models["lora"].kept
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    assert full.kept == models["full"].kept


def test_without_the_set_retention_is_what_was_told_then(results, colours):
    shutil.rmtree(colours)
    evidence = collect([results])
    graded = regrade(evidence.retention, evidence, ())
    lora, full = variants_of(measured(evidence, graded), graded, None)
    told = evidence.retention.value["retention"]
    assert full.kept == Interval(*(told["full"][key] for key in ("raw", "low", "high")))
    assert lora.kept.value == pytest.approx(sum(told[name]["raw"] for name in SEEDS) / 3)
    assert lora.kept.low is None  # nothing is known of seeds and images together
    assert full.asked[0].answers.endswith("full-f000/answers.jsonl")


def test_what_a_name_is_one_seed_of():
    names = ("lora", "lora-s12", "lora-tokens-s1", "lora-r4", "base", "lora-s", "full-slow-s1")
    assert [variant_of(name) for name in names] == ["lora", "lora", "lora-tokens", "", "", "", ""]


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        (Interval(0.02, -0.05, 0.09), "at equal success (within 10%)"),
        (Interval(0.02, -0.15, 0.19), "not shown to be equal"),
        (Interval(0.3, 0.2, 0.4), "NOT equal, lora succeeds more often than full; lora keeps more as well"),
        (Interval(-0.3, -0.4, -0.2), "NOT equal, full succeeds more often than lora; full keeps less"),
        (Interval(0.0, None, None), "too little was driven"),
    ],
)
def test_unequal_success_is_said_plainly(gap, said):
    lora = Variant("lora", (), None, None, None, None, None)
    assert said in equality(lora, replace(lora, name="full"), gap, Interval(0.4, 0.3, 0.5))


def test_what_was_kept_is_compared_by_its_interval():
    lora, gap = Variant("lora", (), None, None, None, None, None), Interval(0.3, 0.2, 0.4)
    assert "cannot be told apart" in equality(lora, replace(lora, name="full"), gap, Interval(0.02, -0.03, 0.07))
    assert "cannot be compared" in equality(lora, replace(lora, name="full"), gap, None)


def test_without_rollouts_the_open_loop_stands_in():
    lora = Variant("lora", (), None, None, None, None, Interval(2.0, 1.5, 2.5))
    full = replace(lora, name="full", off_cm=Interval(4.0, 3.5, 4.5))
    assert "2.0 (1.5\u20132.5) and 4.0 (3.5\u20134.5) cm off are NOT equal" in equality(lora, full, None)
    assert "cannot be told apart" in equality(lora, replace(full, off_cm=Interval(2.6, 2.1, 3.1)), None)
    assert "not measured for both" in equality(lora, replace(full, off_cm=None), None)


def test_a_sweep_is_runs_that_differ_in_nothing_else(tmp_path):
    train(tmp_path, "a", "1", learning_rate=1e-3)
    train(tmp_path, "b", "2", learning_rate=5e-3, seed=1)
    train(tmp_path, "other-batch", "3", learning_rate=1e-2, batch=4)
    train(tmp_path, "rank-4", "4", learning_rate=5e-3, lora_rank=4, lora_alpha=8)
    train(tmp_path, "full", "5", variant="full", learning_rate=1e-3)
    train(tmp_path, "sentence", "7", learning_rate=1e-3, form="sentence:0.5cm")
    train(tmp_path, "stopped", "6", learning_rate=2e-3)
    summary = tmp_path / "runs" / "stopped" / "summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"state": "stopped"}))
    runs = trained(collect([tmp_path]).runs)
    assert [run.name for run in swept(runs, "learning rate")] == ["a", "b"]
    assert [run.name for run in swept(runs, "LoRA rank")] == ["rank-4", "b"]
    assert [run.name for run in swept(runs, "form of actions")] == ["a", "sentence"]


def test_runs_are_noted_beside_the_results_and_find_their_model(workspace, tiny_folder, tmp_path):
    registry = ModelRegistry(workspace)
    run = workspace.runs / "first"
    shutil.copytree(tiny_folder / "lora", run / "adapter")
    recipe = {"learning_rate": 0.005, "lora_rank": 8, "mixture": {"replay": 0.25}}
    config = {"variant": "lora", "seed": 3, "recipe": recipe, "steps": 20}
    (run / "config.json").write_text(json.dumps(config))
    (run / "progress.json").write_text(json.dumps({"state": "done", "step": 20, "loss": 0.5}))
    rows = [{"step": 10, "loss": 1.0}, {"step": 20, "loss": 0.4}, {"step": 20, "held_out_loss": 0.3}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 21, "lo')
    (run / "README.md").write_text(f"Made by `train --replay {tmp_path}/pictures` of 1/2.\n")
    (workspace.runs / "begun").mkdir()
    (workspace.runs / "begun" / "config.json").write_text(json.dumps({"variant": "lora"}))
    mine = registry.add("mine", str(run / "adapter"), base=str(tiny_folder / "base"))
    other = registry.add("other", str(tiny_folder / "full"))
    note_runs(workspace)
    found = {each.name: each for each in trained(collect([workspace.evaluations]).runs)}
    assert {"first", "other"} <= set(found)
    assert not {"begun", "mine"} & set(found)
    first = found["first"]
    assert (first.weights, first.seed, first.rank, first.replay) == (identity(mine), 3, 8, 0.25)
    assert (first.loss, first.held_out, first.ended) == (0.5, 0.3, True)
    assert (found["other"].weights, found["other"].learning_rate) == (identity(other), None)
    card = workspace.evaluations / "runs" / "first" / "README.md"
    assert card.read_text() == "Made by `train --replay pictures` of 1/2.\n"
    shutil.rmtree(run / "adapter")
    registry.remove("mine")
    note_runs(workspace)
    again = {each.name: each for each in trained(collect([workspace.evaluations]).runs)}
    assert again["first"].weights == first.weights  # what was known of weights that are gone


def test_what_was_driven_open_loop_only_is_told_too(results):
    open_loop(results, "lora", "10a0", cm=2.5)
    evidence = collect([results])
    models = measured(evidence, None)
    assert models["lora"].off_cm.value == 2.5
    assert variants_of(models, None, evidence.paper)[0].off_cm.value == 2.5


def test_many_points_of_a_plane_are_numbered_and_named_below():
    def drawn(count):
        marks = [(f"recipe {n}", *(Dot("", "", n / 20, None, None),) * 2) for n in range(count)]
        return plane(marks, title="", across="", up="")

    assert ">recipe 3</text>" in drawn(4)
    assert ">5  recipe 4</text>" in drawn(5)
    assert ">5</text>" in drawn(5)
