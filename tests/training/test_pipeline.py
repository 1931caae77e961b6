"""`train` around the samples: seen and stopped while they are made, free names, runs that go on without their flags."""

import json
import shutil
from dataclasses import replace

import pytest

from vlm2vla import pipeline
from vlm2vla.annotation import kinematic
from vlm2vla.annotation.edit import set_text
from vlm2vla.config import AnnotateConfig, GeminiConfig, ImportConfig, LanguageConfig
from vlm2vla.errors import ExportError, NotFoundError, TrainingError
from vlm2vla.pipeline import training, training_set
from vlm2vla.pipeline.store import open_store
from vlm2vla.training.config import PRESETS, TrainConfig, TuneConfig
from vlm2vla.training.run import RunFolder
from vlm2vla.training.runs import find_run, runs
from vlm2vla.trajectories import import_episodes
from vlm2vla.workspace import Workspace

pytest.importorskip("torch")
SHORT = TuneConfig(steps=3, batch=2, save_every=1)


@pytest.fixture
def asked(tiny_folder):
    return TrainConfig(base_model=str(tiny_folder / "base"), run="mine", seed=5)


@pytest.fixture
def samples(monkeypatch, rows_folder):
    """samples(during): `prepare` gives ready samples, after it has called `during(progress)`."""

    def make(during=lambda progress: None):
        def prepare(config, recipe, workspace, progress):
            during(progress)
            return training_set.TrainingSet((rows_folder,), {"labels": "of a test"})

        monkeypatch.setattr(training, "prepare", prepare)

    make()
    return make


def test_a_run_goes_on_without_the_flags_that_it_was_started_with(asked, samples, workspace):
    first = pipeline.train(replace(asked, max_steps=1), SHORT, workspace)
    assert (first.state, first.steps, first.planned) == ("stopped", 1, 3)
    with pytest.raises(TrainingError, match="another recipe"):
        pipeline.train(replace(asked, resume=True), replace(SHORT, learning_rate=1e-4), workspace)
    again = pipeline.train(TrainConfig(resume=True, run="mine", max_steps=2), TuneConfig(), workspace)
    assert (again.resumed_from, again.steps, again.planned) == (1, 2, 3)
    last = pipeline.train(replace(asked, resume=True), SHORT, workspace)  # said again, and the same
    assert (last.state, last.resumed_from) == ("done", 2)
    assert find_run(workspace, "mine").read("data.json")["made_by"] == {"labels": "of a test"}


def test_a_complete_run_and_one_that_is_at_work_are_left_alone(asked, samples, workspace):
    pipeline.train(asked, SHORT, workspace)
    run = find_run(workspace, "mine")
    before = run.metrics(), (run.result / "adapter_model.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="complete"):
        pipeline.train(replace(asked, resume=True), SHORT, workspace)
    assert (run.metrics(), (run.result / "adapter_model.safetensors").read_bytes()) == before
    with pytest.raises(NotFoundError, match="unfinished"):
        pipeline.train(TrainConfig(resume=True), TuneConfig(), workspace)
    run.write("progress.json", run.read("progress.json") | {"state": "stopped"})
    with RunFolder(run.path).hold(), pytest.raises(TrainingError, match="is running"):
        pipeline.train(replace(asked, resume=True), SHORT, workspace)


def test_a_run_whose_samples_could_not_be_made_leaves_its_name(asked, samples, workspace):
    def nothing(progress):
        raise ExportError("nothing to export")

    samples(nothing)
    with pytest.raises(ExportError):
        pipeline.train(asked, SHORT, workspace)
    progress = find_run(workspace, "mine").progress()
    assert (progress.state, progress.message) == ("failed", "ExportError: nothing to export")
    with pytest.raises(TrainingError, match="never began"):
        pipeline.train(replace(asked, resume=True), SHORT, workspace)
    samples()
    assert pipeline.train(replace(asked, max_steps=1), SHORT, workspace).steps == 1


def test_a_run_is_seen_and_can_be_stopped_while_it_makes_its_samples(asked, samples, workspace):
    seen = []

    def watched(progress):
        progress(0, None)
        (run,) = runs(workspace)
        seen.append(run.progress().message)
        progress(3, 9)
        seen.append(run.progress().message)
        run.ask_to_stop()
        progress(4, 9)

    samples(watched)
    report = pipeline.train(asked, SHORT, workspace)
    assert (report.state, report.steps, report.result) == ("stopped", 0, "")
    assert seen == ["waiting: another run makes samples", "making samples: episode 3 of 9"]
    run = find_run(workspace, "mine")
    assert run.progress().state == "stopped"
    assert not run.stop_file.exists()
    samples()
    assert pipeline.train(replace(asked, max_steps=1), SHORT, workspace).steps == 1


def test_the_same_labels_made_again_later_are_the_same_training_set(tmp_path, monkeypatch):
    def made(name, at):
        monkeypatch.setattr(kinematic, "now", lambda: at)
        place = Workspace.open(tmp_path / name)
        pipeline.import_data(ImportConfig(training_set.SAMPLE / "pick-up", dataset="sample", limit=2), place)
        pipeline.annotate(AnnotateConfig(recorded=True), LanguageConfig(), GeminiConfig(), place)
        return place

    def labels(place):
        config = TrainConfig(include_unreviewed=True, dataset="sample")
        return training_set.prepare(config, PRESETS["embedded"], place).made_by["labels"]

    first, again = made("one", "2026-01-01T00:00:00+00:00"), made("two", "2026-02-02T00:00:00+00:00")
    assert labels(first) == labels(again)
    store = open_store(again)
    head = next(iter(store.heads()))
    edited = set_text(head.annotated, head.annotated.subtasks[0].uid, "subtask", "go to the cube")
    store.save(edited, author="anna", source="person", base=head.number)
    assert labels(first) != labels(again)


def test_a_data_set_that_is_not_there_is_not_replaced_by_the_sample(workspace):
    with pytest.raises(NotFoundError, match=r"'mine'.*import"):
        training_set.prepare(TrainConfig(dataset="mine"), PRESETS["embedded"], workspace)


def test_sample_episodes_are_all_there_although_an_import_was_cut_short_and_the_program_moved(
    tmp_path, workspace, monkeypatch
):
    moved = shutil.copytree(training_set.SAMPLE / "pick-up", tmp_path / "moved")
    inner = Workspace.open(workspace.training_sets / "sample-episodes")
    import_episodes(ImportConfig(moved, dataset="sample", limit=2), inner)
    shutil.rmtree(moved)
    monkeypatch.setattr(training_set, "SAMPLE", training_set.SAMPLE / "pick-up")
    made = training_set.prepare(TrainConfig(), PRESETS["embedded"], workspace)
    manifest = json.loads((made.folders[0] / "manifest.json").read_text())
    assert manifest["counts"]["episodes"] == 10
    assert "frame not readable" not in manifest["left_out"]
    monkeypatch.setattr(training_set, "SAMPLE", training_set.SAMPLE.parent / "pick-and-place")
    assert (
        training_set.prepare(TrainConfig(), PRESETS["embedded"], workspace).made_by["labels"] != made.made_by["labels"]
    )


def test_frames_that_could_not_be_read_are_tried_again_and_runs_on_the_set_without_them_keep_it(tmp_path, workspace):
    away, kept = shutil.copytree(training_set.SAMPLE / "pick-up", tmp_path / "away"), tmp_path / "kept"
    for folder in (away, training_set.SAMPLE / "pick-and-place"):
        pipeline.import_data(ImportConfig(folder, dataset="mine", limit=1), workspace)
    pipeline.annotate(AnnotateConfig(recorded=True), LanguageConfig(), GeminiConfig(), workspace)

    def prepared():
        (folder,) = training_set.prepare(TrainConfig(include_unreviewed=True), PRESETS["embedded"], workspace).folders
        return folder, json.loads((folder / "manifest.json").read_text())["left_out"].get("frame not readable", 0)

    (away / "videos").rename(kept)
    first, lacks = prepared()
    assert lacks > 0
    assert prepared() == (first, lacks)  # they are still away
    rows = (first / "metadata.jsonl").read_bytes()
    kept.rename(away / "videos")
    second, lacks = prepared()
    assert (second != first, lacks) == (True, 0)
    assert (first / "metadata.jsonl").read_bytes() == rows
    (away / "videos").rename(kept)
    assert prepared() == (second, 0)
    assert len(list(workspace.training_sets.glob("actions-*"))) == 2
