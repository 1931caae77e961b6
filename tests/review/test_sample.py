"""A fresh studio opens on the sample episodes that ship: labelled, and some labels wrong on purpose."""

from pathlib import Path

from vlm2vla.review import Review
from vlm2vla.review.sample import open_sample

SAMPLE = Path(__file__).resolve().parents[2] / "assets" / "sample"


def test_an_empty_workspace_opens_on_the_sample_once(workspace):
    assert open_sample(SAMPLE, workspace) == 24
    assert open_sample(SAMPLE, workspace) == 0
    review = Review(workspace)
    queue = review.queue({"order": "risk"})
    assert queue["counts"]["total"] == 24
    risky = [row for row in queue["rows"] if row["errors"]]
    assert 1 <= len(risky) <= 6
    view = review.open(risky[0]["id"], "anna")
    assert view["history"][0]["note"].startswith("deliberately wrong")
    assert view["cameras"] == ["external", "head"]
    assert review.frame(view["id"], "external", 0).read_bytes().startswith(b"\xff\xd8")
    sound = [row for row in queue["rows"] if row["source"] == "kinematic"]
    assert len(sound) >= 18
    assert not any(row["errors"] for row in sound)
