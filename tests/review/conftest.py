"""A workspace with the real Bridge episodes, annotated from the numbers."""

import pytest

from vlm2vla import pipeline
from vlm2vla.config import AnnotateConfig, GeminiConfig, ImportConfig, LanguageConfig
from vlm2vla.review import Review


@pytest.fixture
def review(workspace, shared_data) -> Review:
    pipeline.import_data(ImportConfig(shared_data / "octo-bridge-rlds"), workspace)
    pipeline.annotate(AnnotateConfig(), LanguageConfig(), GeminiConfig(), workspace)
    return Review(workspace)


@pytest.fixture
def opened(review) -> dict:
    """An episode with at least two subtasks, as `anna` sees it."""
    for row in review.queue({})["rows"]:
        view = review.open(row["id"], "anna")
        if len(view["spans"]) > 1:
            return view
    raise AssertionError("no episode has two subtasks")
