"""Runs: a few real steps, stopped and gone on with, every variant, and everything that can be wrong with one."""

import shutil
import threading
from dataclasses import replace

import pytest

from tests.training.conftest import RECIPE, load_rows, save_rows, write_rows
from vlm2vla.errors import ConfigError, ModelFaultError, TrainingError
from vlm2vla.training.config import PRESETS, Mixture, TrainConfig, TuneConfig, recipe_of
from vlm2vla.training.finetune import train
from vlm2vla.training.job import job_of
from vlm2vla.training.run import COMPLETE, RunFolder

pytest.importorskip("torch")


RESULTS = [("lora", "adapter/adapter_model.safetensors"), ("full", "model/model.safetensors")]


def losses(run):
    return {row["step"]: row["loss"] for row in run.metrics() if "loss" in row}


@pytest.mark.parametrize(("variant", "result"), RESULTS)
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(variant, result, job, tmp_path):
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    assert train(job(variant), whole).state == "done"
    stopped = train(job(variant, stop_at=2), parts)
    assert (stopped.state, stopped.steps, stopped.planned) == ("stopped", 2, 4)
    again = train(job(variant), parts, resume=True)
    assert (again.state, again.resumed_from) == ("done", 2)
    assert losses(parts) == losses(whole)
    assert len(losses(whole)) == 4
    assert (parts.path / result).read_bytes() == (whole.path / result).read_bytes()
    assert not parts.checkpoints.exists()


@pytest.mark.parametrize(("variant", "result"), RESULTS)
def test_a_run_that_ends_after_its_last_step_is_not_lost(variant, result, job, tmp_path, monkeypatch):
    from vlm2vla.training import checks

    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    train(job(variant), whole)
    with monkeypatch.context() as patch:
        patch.setattr(checks, "after", lambda *_: 1 / 0)
        with pytest.raises(TrainingError):
            train(job(variant), cut)
    assert (cut.progress().state, cut.last_checkpoint().name) == ("failed", "checkpoint-4")
    again = train(job(variant), cut, resume=True)
    assert (again.state, again.resumed_from, again.steps) == ("done", 4, 4)
    assert (cut.path / result).read_bytes() == (whole.path / result).read_bytes()
    assert again.loss == whole.recent_loss()


def test_a_run_that_is_to_stop_where_it_has_been_gives_what_it_has(job, tmp_path):
    run = RunFolder(tmp_path / "run")
    train(job(stop_at=3), run)
    before = (run.result / "adapter_model.safetensors").read_bytes()
    again = train(job(stop_at=2), run, resume=True)
    assert (again.state, again.steps) == ("stopped", 3)
    assert (run.result / "adapter_model.safetensors").read_bytes() == before
    assert train(job(), run, resume=True).steps == 4


@pytest.mark.parametrize("variant", ["full", "lora-tokens"])
def test_other_variants(variant, job, tmp_path, tiny_folder, rows_folder):
    import torch
    from transformers import AutoModelForImageTextToText

    from vlm2vla.vlm.origin import fingerprint, read_origin

    recipe = replace(RECIPE, steps=1, form="tokens:0.5cm" if variant.endswith("tokens") else RECIPE.form)
    report = train(job(variant, recipe=recipe), run := RunFolder(tmp_path / "run"))
    origin = read_origin(run.result)
    assert origin.actions == ("tokens" if variant.endswith("tokens") else "language")
    assert origin.base_fingerprint == fingerprint(tiny_folder / "base")
    if variant == "full":
        base, tuned = (AutoModelForImageTextToText.from_pretrained(path) for path in (tiny_folder / "base", run.result))
        same = {
            name: torch.equal(weight, dict(tuned.named_parameters())[name]) for name, weight in base.named_parameters()
        }
        assert all(same[name] for name in same if "vision_tower" in name or "projector" in name)
        assert not all(same.values())
    assert report.loss > 0


def test_plain_trl_and_packed_runs_begin_with_the_same_loss(job, tmp_path):
    """All samples in one step, so that both average over the same answers."""
    once = replace(RECIPE, steps=1, batch=8, per_device=8, mixture=Mixture(held_out=0.0, completed=0.0))
    once = replace(once, batch=12, per_device=12)
    packed = train(job(recipe=once), RunFolder(tmp_path / "packed"))
    plain = train(job(recipe=replace(once, packing="plain", batch=36, per_device=36)), RunFolder(tmp_path / "plain"))
    assert packed.loss == pytest.approx(plain.loss, rel=1e-4)


def test_mixed_steps_are_float32_on_a_processor_and_bfloat16_begins_with_nearly_the_same_loss(job, tmp_path):
    def first_loss(precision):
        return train(job(recipe=replace(RECIPE, steps=1, precision=precision)), RunFolder(tmp_path / precision)).loss

    exact = first_loss("float32")
    assert first_loss("mixed") == exact
    coarse = first_loss("bfloat16")
    assert coarse == pytest.approx(exact, rel=0.02)
    assert coarse != exact


def test_a_run_that_is_stopped_in_the_first_step_of_its_warm_up_has_nothing_to_show_and_goes_on(job, tmp_path):
    recipe, run = replace(RECIPE, warmup=0.5), RunFolder(tmp_path / "run")
    first = train(job(recipe=recipe, stop_at=1), run)
    assert (first.state, first.steps, run.metrics()[0]["learning_rate"]) == ("stopped", 1, 0)
    assert run.read("checks.json")["adapter_changes_logits_by"] == 0
    assert train(job(recipe=recipe), run, resume=True).state == "done"
    assert run.read("checks.json")["adapter_changes_logits_by"] > 0


def test_a_stop_while_a_run_prepares_itself_comes_before_its_first_step(job, tmp_path):
    run = RunFolder(tmp_path / "run")

    def told(progress):
        if progress.message.startswith("checking"):
            run.stop_file.touch()

    report = train(job(), run, told=told)
    assert (report.state, report.steps, losses(run)) == ("stopped", 0, {})
    assert train(job(), run, resume=True).state == "done"


@pytest.mark.parametrize(("at", "said"), [("loading torch", "start it again"), ("checking", "--resume")])
def test_an_interrupted_run_says_whether_it_can_be_gone_on_with(at, said, job, tmp_path, monkeypatch):
    from vlm2vla.training import checks

    run = RunFolder(tmp_path / "run")

    def interrupted(*_):
        raise KeyboardInterrupt

    def told(progress):
        if progress.message == at:
            interrupted()

    monkeypatch.setattr(checks, "before", interrupted)  # settings are written by then
    with pytest.raises(KeyboardInterrupt):
        train(job(), run, told=told)
    assert run.begun is (said == "--resume")
    assert said in run.progress().message


def test_a_stop_file_and_an_event_end_a_run(job, tmp_path):
    run = RunFolder(tmp_path / "run")

    def told(progress):
        if progress.step == 1:
            run.stop_file.touch()

    assert train(job(), run, told=told).steps == 2  # asked when the first one was done
    event = threading.Event()
    event.set()
    assert train(job(), RunFolder(tmp_path / "other"), stopped=event).steps == 0
    assert train(job(), run, resume=True).state == "done"


def test_a_checkpoint_that_was_not_finished_is_not_gone_on_from(job, tmp_path):
    run = RunFolder(tmp_path / "run")
    train(job(stop_at=3), run)
    (run.checkpoints / "checkpoint-3" / COMPLETE).unlink()
    report = train(job(), run, resume=True)
    assert report.resumed_from == 2
    assert [row["step"] for row in run.metrics() if "loss" in row] == [1, 2, 3, 4]


def test_a_killed_run_is_told_from_one_that_runs(job, tmp_path):
    run = RunFolder(tmp_path / "run")
    train(job(stop_at=2), run)
    row = run.read("progress.json") | {"state": "training", "pid": 2**22 + 1}
    run.write("progress.json", row)
    assert run.progress().state == "killed"
    assert train(job(), run, resume=True).state == "done"


def test_a_resumed_run_must_be_the_same(job, tmp_path, tiny_folder):
    run = RunFolder(tmp_path / "run")
    train(job(stop_at=2), run)
    other = replace(job(), base=str(tiny_folder / "full"))
    with pytest.raises(TrainingError, match="another base"):
        train(other, run, resume=True)
    with pytest.raises(TrainingError, match="another recipe"):
        train(job(recipe=replace(RECIPE, learning_rate=1e-5)), run, resume=True)
    with pytest.raises(TrainingError, match="other samples"):
        train(replace(job(), data=(write_rows(tmp_path / "set", episodes=5),)), run, resume=True)
    assert run.progress().state == "failed"
    moved = shutil.copytree(tiny_folder / "base", tmp_path / "moved")
    elsewhere = replace(job(recipe=replace(RECIPE, base=str(moved))), base=str(moved))
    assert train(elsewhere, run, resume=True).state == "done"


def test_a_run_does_not_go_on_with_fewer_samples_than_it_was_started_with(job, tmp_path):
    folder, run = write_rows(tmp_path / "set"), RunFolder(tmp_path / "run")
    rows = load_rows(folder)
    rows[1]["completion"][0]["content"] = "move up " * 200
    save_rows(folder, rows)
    asked = replace(job(recipe=replace(RECIPE, max_tokens=300)), data=(folder,))
    train(replace(asked, stop_at=2), run)
    (folder / "checked.json").unlink()
    picture = folder / "images/3-1.png"
    picture.rename(tmp_path / "away.png")
    with pytest.raises(TrainingError, match=r"left out: .*300 tokens.*, now .*rows of train: 3\d, now "):
        train(asked, run, resume=True)
    (tmp_path / "away.png").rename(picture)
    assert train(asked, run, resume=True).state == "done"  # one that is too long is the same one again


def test_memory_that_runs_out_is_said_and_gone_on_from(job, tmp_path, monkeypatch):
    from vlm2vla.training import trainers

    run, compute = RunFolder(tmp_path / "run"), trainers.SharedPrefixTrainer.compute_loss

    def exhausted(self, *args, **kwargs):
        if self.state.global_step == 3:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory")
        return compute(self, *args, **kwargs)

    monkeypatch.setattr(trainers.SharedPrefixTrainer, "compute_loss", exhausted)
    with pytest.raises(ModelFaultError, match="--batch"):
        train(job(), run)
    assert run.progress().state == "failed"
    monkeypatch.setattr(trainers.SharedPrefixTrainer, "compute_loss", compute)
    assert train(job(), run, resume=True).resumed_from == 2


def test_a_run_can_be_read_back_from_its_folder(job, tmp_path, tiny_folder):
    first, run = RunFolder(tmp_path / "first"), RunFolder(tmp_path / "run")
    train(job(stop_at=1), first)
    asked = job(stop_at=1, seed=3, start_from=first.result)
    train(asked, run)
    assert replace(job_of(run), stop_at=1) == asked
    shutil.rmtree(first.result)  # what it began with is in its checkpoint
    assert train(job_of(run), run, resume=True).state == "done"
    with pytest.raises(TrainingError, match="never began"):
        job_of(RunFolder(tmp_path / "nothing"))
    run.write("config.json", run.read("config.json") | {"recipe": {"name": "old"}})
    with pytest.raises(TrainingError, match="another version"):
        job_of(run)


def test_a_run_goes_on_although_recipes_have_got_another_setting_since(job, tmp_path):
    run = RunFolder(tmp_path / "run")
    train(job(stop_at=1), run)
    config = run.read("config.json")
    del config["recipe"]["weight_decay"], config["recipe"]["mixture"]["early"]
    run.write("config.json", config)
    recipe = replace(RECIPE, mixture=replace(RECIPE.mixture, early=0), weight_decay=0.0)
    assert job_of(run).recipe == recipe
    assert train(job_of(run), run, resume=True).state == "done"


def test_a_run_without_checkpoint_does_not_forget_what_it_began_with(job, tmp_path):
    first, run = RunFolder(tmp_path / "first"), RunFolder(tmp_path / "run")
    train(job(stop_at=1), first)
    train(job(stop_at=1, start_from=first.result), run)
    shutil.rmtree(run.checkpoints)
    with pytest.raises(TrainingError, match="another adapter"):
        train(job(), run, resume=True)


def test_flags_change_the_preset_and_nothing_else():
    recipe = recipe_of(TrainConfig(variant="full-tokens"), TuneConfig(rank=4, steps=7, packing="plain"))
    assert (recipe.lora_rank, recipe.lora_alpha, recipe.steps, recipe.packing) == (4, 8, 7, "plain")
    assert recipe.form.startswith("tokens:0.5cm:")
    assert recipe.learning_rate == PRESETS["embedded"].full_learning_rate
    paper = recipe_of(TrainConfig(preset="paper-gemma3-12b"))
    assert (paper.lora_rank, paper.lora_alpha, paper.learning_rate, paper.batch) == (16, 32, 5e-5, 8)
    assert (paper.epochs, paper.precision, paper.max_tokens, paper.packing) == (1.0, "bfloat16", 1024, "plain")
    with pytest.raises(ConfigError):
        recipe_of(TrainConfig(), TuneConfig(learning_rate=0.0))
    with pytest.raises(ConfigError, match="did you mean"):
        recipe_of(TrainConfig(preset="gemma3-4"))


def test_a_run_can_begin_with_another_adapter(job, tmp_path, tiny_folder):
    first, second = RunFolder(tmp_path / "first"), RunFolder(tmp_path / "second")
    train(job(stop_at=3), first)
    before = first.read("checks.json")
    train(job(stop_at=1, start_from=first.result), second)
    assert second.read("checks.json")["loss_before"] < before["loss_before"]
    assert second.read("config.json")["start_from_fingerprint"]
    with pytest.raises(ConfigError, match="shape"):
        train(job(start_from=tiny_folder / "lora"), RunFolder(tmp_path / "third"))
    with pytest.raises(ConfigError, match="only LoRA"):
        train(job("full", start_from=first.result), RunFolder(tmp_path / "fourth"))
