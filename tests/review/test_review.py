"""Reviewing through the service that the page uses: real episodes, a real store."""

import itertools
import threading
import time

import pytest

from vlm2vla.errors import AnnotationError, EditError, NotFoundError, StaleRevisionError
from vlm2vla.review import Review
from vlm2vla.review.jobs import Jobs


def edit(review: Review, view: dict, who: str = "anna", **fields) -> dict:
    return review.edit(view["id"], view["revision"], fields, who)


def test_words_stand_beside_what_the_numbers_say(opened):
    assert opened["steps"] == len(opened["motion"]) == len(opened["gripper"]) == len(opened["path"]["recorded"])
    for span in opened["spans"]:
        assert span["chunk_error_cm"] <= 0.5
        assert span["rows"][0]["text"].startswith("[")
        assert span["derived"] == {"plan": span["plan"], "chunk": span["chunk"]}
        assert span["machine"]["plan"] == span["plan"]


def test_a_wrong_direction_is_found_and_raises_the_risk(review, opened):
    span = next(span for span in opened["spans"] if "down" in span["plan"] or "forward" in span["plan"])
    wrong = span["plan"].replace("down", "up").replace("forward", "backward")
    view = edit(review, opened, kind="set_text", uid=span["uid"], level="plan", text=wrong)
    assert "error" in {finding["severity"] for finding in view["findings"]}
    assert view["risk"] > opened["risk"]
    assert review.queue({"order": "risk"})["rows"][0]["id"] == opened["id"]


def test_a_moved_boundary_makes_both_neighbours_stale_until_rederived(review, opened):
    first, second = opened["spans"][:2]
    step = first["end"] - 1 if first["end"] - first["start"] > 1 else first["end"] + 1
    view = edit(review, opened, kind="move_boundary", uid=first["uid"], edge="end", step=step)
    assert [span["stale"] for span in view["spans"][:2]] == [["plan", "chunk"]] * 2
    assert view["spans"][1]["start"] == step
    for uid in (first["uid"], second["uid"]):
        view = edit(review, view, kind="rederive", uid=uid, levels=["plan", "chunk"])
    assert all(not span["stale"] and span["chunk_error_cm"] <= 0.5 for span in view["spans"][:2])


def test_undo_and_redo_are_revisions_too(review, opened):
    uid, before = opened["spans"][0]["uid"], opened["spans"][0]["text"]
    edited = edit(review, opened, kind="set_text", uid=uid, level="subtask", text="Look around")
    undone = review.undo(opened["id"], edited["revision"], "anna")
    assert undone["spans"][0]["text"] == before
    redone = review.redo(opened["id"], undone["revision"], "anna")
    assert redone["spans"][0]["text"] == "Look around"
    assert [entry["kind"] for entry in redone["history"]] == ["redo", "undo", "edit", "edit"]
    reverted = review.revert(opened["id"], redone["revision"], opened["revision"], "anna")
    assert reverted["spans"][0]["text"] == before


def test_the_second_of_two_people_is_refused_and_sees_what_changed(review, opened):
    uid = opened["spans"][0]["uid"]
    edit(review, opened, who="anna", kind="set_text", uid=uid, level="plan", text="move down")
    late = {"kind": "set_text", "uid": uid, "level": "plan", "text": "move up"}
    with pytest.raises(StaleRevisionError):
        review.edit(opened["id"], opened["revision"], late, "bert")
    conflict = review.conflict(opened["id"], opened["revision"], late)
    (change,) = conflict["changes"]
    assert (conflict["author"], change["field"], change["now"]) == ("anna", "plan", "move down")
    assert conflict["yours"] == late
    assert review.open(opened["id"], "bert")["spans"][0]["plan"] == "move down"


def test_accepting_everything_decides_the_episode_and_next_moves_on(review, opened):
    view = edit(review, opened, kind="set_status", uid=None, status="accepted")
    assert view["status"] == "accepted"
    assert review.queue({"status": ["accepted"]})["total"] == 1
    following = review.next({}, "anna", opened["id"])
    assert following not in (None, opened["id"])


def test_the_queue_knows_who_reviewed_and_what_there_is(review, opened):
    edit(review, opened, who="bert", kind="set_status", uid=None, status="accepted")
    queue = review.queue({"reviewer": "bert"})
    assert (queue["reviewers"], queue["datasets"]) == (["bert"], {"bridge_dataset": 25})
    assert [row["id"] for row in queue["rows"]] == [opened["id"]]


def test_a_lease_is_shown_to_others_and_given_back(review, opened):
    assert opened["lease"]["mine"]
    assert review.open(opened["id"], "bert")["lease"] == {**opened["lease"], "mine": False}
    review.release(opened["id"], "anna")
    assert review.open(opened["id"], "bert")["lease"]["holder"] == "bert"


def test_annotating_a_span_again_keeps_the_others(review, opened):
    uid = opened["spans"][0]["uid"]
    changed = edit(review, opened, kind="set_text", uid=opened["spans"][1]["uid"], level="plan", text="move up")
    view = review.reannotate(opened["id"], changed["revision"], uid, "kinematic", "the small cup", "anna")
    assert "the small cup" in view["spans"][0]["text"]
    assert view["history"][0]["note"] == "asked kinematic again with the hint 'the small cup'"
    assert "move up" in [span["plan"] for span in view["spans"]]


def test_ratings_are_kept_per_reviewer(review, opened):
    uid = opened["spans"][0]["uid"]
    assert review.rate(opened["id"], uid, "plan", "anna", 4)["spans"][0]["ratings"]["plan"] == 4
    assert review.open(opened["id"], "bert")["spans"][0]["ratings"]["plan"] is None


def test_frames_come_from_the_media_folder_only(review, opened):
    path = review.frame(opened["id"], opened["cameras"][0], 3)
    assert path.is_relative_to(review.workspace.media)
    assert path.read_bytes().startswith(b"\xff\xd8")
    for camera, step in (("../../studio.db", 0), (opened["cameras"][0], 99), (opened["cameras"][0], -1)):
        with pytest.raises(NotFoundError):
            review.frame(opened["id"], camera, step)


def test_nonsense_changes_nothing(review, opened):
    for bad in ({}, {"kind": "explode"}, {"kind": "split", "uid": "s0", "step": 2}, {"kind": "set_text", "uid": 7}):
        with pytest.raises(EditError):
            review.edit(opened["id"], opened["revision"], bad, "anna")
    assert review.open(opened["id"], "anna")["revision"] == opened["revision"]


def finished(review: Review) -> dict:
    """Wait for the running job."""
    for _ in range(600):
        if review.job()["state"] != "running":
            return review.job()
        time.sleep(0.05)
    raise AssertionError(f"still running: {review.job()}")


def test_data_is_imported_and_annotated_in_the_background(workspace, shared_data):
    review = Review(workspace)
    assert (review.queue({})["total"], review.job()) == (0, None)
    assert review.start_import(str(shared_data / "octo-bridge-rlds"))["state"] == "running"
    job = finished(review)
    assert (job["state"], job["report"]["episodes"]) == ("done", 25)
    row = review.queue({})["rows"][0]
    view = review.open(row["id"], "anna")
    assert (view["revision"], view["spans"], view["status"]) == (0, [], "unannotated")
    assert review.annotate(row["id"], "kinematic", "anna")["spans"]
    review.start_annotating("kinematic")
    assert finished(review)["report"]["annotated"] == 25


def test_a_failed_job_says_why(workspace, tmp_path):
    review = Review(workspace)
    review.start_import(str(tmp_path / "nowhere"))
    job = finished(review)
    assert job["state"] == "failed"
    assert "nowhere" in job["error"]


def test_a_job_can_be_stopped_and_gone_on_with(workspace, shared_data):
    jobs, begun = Jobs(), threading.Event()

    def endless(progress) -> dict:
        for done in itertools.count():
            progress(done, None)
            begun.set()
            time.sleep(0.001)

    jobs.start("Counting", endless)
    begun.wait(5)
    with pytest.raises(AnnotationError, match="Counting is still running"):
        jobs.start("Another", endless)
    jobs.stop()
    for _ in range(100):
        if jobs.current().state != "running":
            break
        time.sleep(0.02)
    assert jobs.current().state == "stopped"
    assert jobs.current().done > 0
