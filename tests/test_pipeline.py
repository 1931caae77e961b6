"""What the stages guarantee together."""

import pytest

from vlm2vla import pipeline
from vlm2vla.annotation.store import AnnotationStore, SaveReport
from vlm2vla.config import AnnotateConfig, GeminiConfig, ImportConfig, LanguageConfig
from vlm2vla.errors import NotFoundError
from vlm2vla.review import Review


def annotate(workspace, form="rows", **settings):
    return pipeline.annotate(AnnotateConfig(**settings), LanguageConfig(form=form), GeminiConfig(), workspace)


def test_labels_that_were_staged_but_not_stored_are_caught_up(workspace, shared_data):
    pipeline.import_data(ImportConfig(shared_data / "octo-bridge-rlds"), workspace)
    annotate(workspace)
    (workspace.root / "studio.db").rename(workspace.root / "lost.db")
    report = annotate(workspace)
    assert (report.annotated, report.skipped) == (0, 25)
    assert sum(1 for _ in pipeline.open_store(workspace).heads()) == 25


def test_a_machine_never_writes_over_a_person(workspace, shared_data):
    pipeline.import_data(ImportConfig(shared_data / "octo-bridge-rlds"), workspace)
    annotate(workspace)
    review = Review(workspace)
    view = review.open(review.queue({})["rows"][0]["id"], "anna")
    edit = {"kind": "set_text", "uid": view["spans"][0]["uid"], "level": "plan", "text": "my own words"}
    mine = review.edit(view["id"], view["revision"], edit, "anna")
    report = annotate(workspace, redo=True)
    assert report.annotated == 24
    assert report.warnings == ("1 episodes were edited by a person and stay as they are",)
    after = review.open(view["id"], "anna")
    assert (after["revision"], after["spans"][0]["plan"]) == (mine["revision"], "my own words")


def test_labels_of_a_redo_that_was_killed_reach_the_store_later(workspace, shared_data, monkeypatch):
    pipeline.import_data(ImportConfig(shared_data / "octo-bridge-rlds"), workspace)
    annotate(workspace)
    with monkeypatch.context() as killed:
        # Staged, but never stored: as when the process dies before the last transaction.
        killed.setattr(AnnotationStore, "save_all", lambda store, entries: SaveReport(0, (), ()))
        annotate(workspace, form="sentence", redo=True)
    forms = {head.annotated.action_form for head in pipeline.open_store(workspace).heads()}
    assert forms == {"rows:0.5cm"}
    annotate(workspace, form="sentence")
    forms = {head.annotated.action_form for head in pipeline.open_store(workspace).heads()}
    assert forms == {"sentence:0.5cm"}


def test_other_settings_than_before_are_said(workspace, shared_data):
    pipeline.import_data(ImportConfig(shared_data / "octo-bridge-rlds"), workspace)
    annotate(workspace, limit=5)
    report = annotate(workspace, form="sentence")
    assert (report.annotated, report.skipped) == (20, 5)
    assert "5 episodes were annotated before in the form rows:0.5cm" in report.warnings[0]


def test_a_limit_takes_the_next_ones(workspace, shared_data):
    pipeline.import_data(ImportConfig(shared_data / "octo-bridge-rlds"), workspace)
    assert [annotate(workspace, limit=10).annotated for _ in range(4)] == [10, 10, 5, 0]


@pytest.mark.parametrize("settings", [{"dataset": "bridge_datset"}, {"episodes": ("nope",)}])
def test_a_wrong_name_is_an_error(workspace, shared_data, settings):
    pipeline.import_data(ImportConfig(shared_data / "octo-bridge-rlds"), workspace)
    with pytest.raises(NotFoundError, match="bridge_dataset|nope"):
        annotate(workspace, **settings)
    assert list(workspace.staged("kinematic").glob("*.json")) == []
