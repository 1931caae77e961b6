"""What the stages guarantee together."""

from vlm2vla import pipeline
from vlm2vla.config import AnnotateConfig, GeminiConfig, ImportConfig, LanguageConfig
from vlm2vla.review import Review


def annotate(workspace, **settings):
    return pipeline.annotate(AnnotateConfig(**settings), LanguageConfig(), GeminiConfig(), workspace)


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
    assert annotate(workspace, redo=True).annotated == 25
    after = review.open(view["id"], "anna")
    assert (after["revision"], after["spans"][0]["plan"]) == (mine["revision"], "my own words")
