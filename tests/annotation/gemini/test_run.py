"""A run over many episodes: what is staged, what is paid, what happens when it ends early."""

import json
import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from vlm2vla.annotation.gemini import GeminiAnnotator, make_gemini_annotator
from vlm2vla.annotation.run import EpisodeRef, annotate_episodes
from vlm2vla.annotation.staging import Checkpoint, Staged, StagingFolder
from vlm2vla.config import GeminiConfig, LanguageConfig
from vlm2vla.errors import (
    AnnotationError,
    ConfigError,
    CorruptRecordError,
    ModelBlockedError,
    ModelSchemaError,
    ModelUnavailableError,
)
from vlm2vla.types import AnnotatedEpisode, AnnotatedSubtask, Provenance
from vlm2vla.vlm import ScriptedVLM, Usage


class Free:
    """Annotates without cost; fails where it is told to."""

    def __init__(self, fails=()):
        self.seen, self.fails = [], dict(fails)

    def annotate(self, episode):
        self.seen.append(episode.id)
        if episode.id in self.fails:
            raise self.fails[episode.id]
        made = {"subtask": "kinematic", "plan": "kinematic", "chunk": "kinematic"}
        subtask = AnnotatedSubtask("s1", "Grasp it", 0, len(episode), "hold still", "[]", made)
        return AnnotatedEpisode(episode.id, "rows:0.5cm", (subtask,), (Provenance("kinematic", "test", "now"),))


def gemini(script, *, version="v-1", cost_usd=0.01, **config):
    vlm = ScriptedVLM(script, model_version=version, cost_usd=cost_usd)
    return GeminiAnnotator(vlm, LanguageConfig(), GeminiConfig(**config))


def is_segment(request):
    return "subtasks" in request.schema.model_json_schema()["properties"]


def states(folder):
    return {staged.episode_id: staged.status for staged in StagingFolder(folder)}


def test_every_episode_is_staged_and_handed_over(many, tmp_path):
    given, seen = [], []
    report = annotate_episodes(
        many, Free(), tmp_path, progress=lambda done, total: seen.append((done, total)), on_done=given.append
    )
    assert (report.annotated, report.failed, report.left, report.cost) == (10, 0, 0, 0.0)
    assert seen == [(n, 10) for n in range(1, 11)]
    staged = {row.episode_id: row.annotation() for row in StagingFolder(tmp_path)}
    assert {row.episode_id: row.to_json() for row in given} == {key: row.to_json() for key, row in staged.items()}


def test_a_second_run_does_nothing_but_offers_what_is_there(many, tmp_path):
    annotate_episodes(many, Free(), tmp_path)
    again, offered = Free(), []
    report = annotate_episodes(
        many, again, tmp_path, on_skipped=lambda key, load: offered.append((key, load().episode_id))
    )
    assert not again.seen
    assert (report.annotated, report.skipped) == (0, 10)
    assert offered == [(episode.id, episode.id) for episode in many]


def test_an_episode_that_is_given_twice_is_paid_once(many, tmp_path, answer):
    maker = gemini(answer)
    report = annotate_episodes([many[0], many[0]], maker, tmp_path, concurrency=2)
    assert (report.annotated, report.skipped, len(maker.vlm.requests)) == (1, 1, 2)


def test_redo_annotates_again(many, tmp_path):
    annotate_episodes(many, Free(), tmp_path)
    assert annotate_episodes(many, Free(), tmp_path, redo=True).annotated == 10


def test_failures_are_recorded_and_tried_again_only_when_asked(many, tmp_path):
    bad = {many[3].id: AnnotationError("no motion"), many[5].id: ZeroDivisionError("a bug")}
    report = annotate_episodes(many, Free(bad), tmp_path)
    assert (report.annotated, report.failed) == (8, 2)
    assert [(row["episode"], row["kind"]) for row in report.errors] == [
        (many[3].id, "AnnotationError"),
        (many[5].id, "ZeroDivisionError"),
    ]
    second = Free()
    report = annotate_episodes(many, second, tmp_path)
    assert (report.annotated, report.skipped, report.waiting, second.seen) == (0, 8, 2, [])
    assert len(report.errors) == 2
    report = annotate_episodes(many, second, tmp_path, retry_failed=True)
    assert (report.annotated, second.seen) == (2, [many[3].id, many[5].id])
    assert set(states(tmp_path).values()) == {"annotated"}


def test_an_episode_that_does_not_load_fails_alone(many, tmp_path):
    def broken():
        raise CorruptRecordError("cut off", path="shard", record=4)

    refs = [EpisodeRef(episode.id, lambda episode=episode: episode) for episode in many]
    refs[4] = EpisodeRef("episode-04", broken)
    report = annotate_episodes(refs, Free(), tmp_path)
    assert (report.annotated, report.failed) == (9, 1)
    assert "shard" in report.errors[0]["message"]


def test_episodes_are_loaded_only_when_needed(many, tmp_path):
    annotate_episodes(many[:5], Free(), tmp_path)
    loaded = []
    refs = [EpisodeRef(episode.id, lambda episode=episode: loaded.append(episode.id) or episode) for episode in many]
    annotate_episodes(refs, Free(), tmp_path)
    assert loaded == [episode.id for episode in many[5:]]


def test_every_paid_reply_is_counted_useless_ones_too(many, tmp_path, answer):
    def script(request):
        if "carrot 3" in request.text and is_segment(request):
            raise ModelBlockedError("blocked", details={"usage": vars(Usage(1, 100, 0, 0.5))})
        if "carrot 4" in request.text and is_segment(request):
            return answer(request).replace("Part 1", "")
        return answer(request)

    report = annotate_episodes(many, gemini(script), tmp_path, concurrency=4)
    assert {row["episode"]: row["kind"] for row in report.errors} == {
        many[3].id: "ModelBlockedError",
        many[4].id: "ModelSchemaError",
    }
    assert report.cost == pytest.approx(19 * 0.01 + 0.5)
    folder = StagingFolder(tmp_path)
    assert sum(row.paid.cost_usd for row in folder) == pytest.approx(report.cost)
    assert folder.load(many[4].id).refused[0]["reply"]["text"], "the refused answer is kept for people to look at"


def test_a_retry_pays_only_for_the_pass_that_failed(many, tmp_path, answer):
    def fails_second_pass(request):
        if is_segment(request):
            raise ModelUnavailableError("down")
        return answer(request)

    first = annotate_episodes(many[:3], gemini(fails_second_pass), tmp_path)
    assert (first.failed, first.cost) == (3, pytest.approx(0.03))
    again = gemini(answer)
    second = annotate_episodes(many[:3], again, tmp_path, retry_failed=True)
    assert (second.annotated, second.cost) == (3, pytest.approx(0.03))
    assert all(is_segment(request) for request in again.vlm.requests)
    (made,) = StagingFolder(tmp_path).load(many[0].id).annotation().provenance
    assert made.cost_usd == pytest.approx(0.02), "both passes"


def test_other_settings_ask_again(many, tmp_path, answer):
    def fails_second_pass(request):
        if is_segment(request):
            raise ModelUnavailableError("down")
        return answer(request)

    annotate_episodes(many[:1], gemini(fails_second_pass), tmp_path)
    other = gemini(answer, max_frames=6)
    annotate_episodes(many[:1], other, tmp_path, retry_failed=True)
    assert len(other.vlm.requests) == 2


def test_the_cap_stops_the_run_and_keeps_what_is_paid(gemini_server, many, tmp_path):
    one = make_gemini_annotator(LanguageConfig(), GeminiConfig())
    worst = one.estimate(one.view(many[0])).worst_usd / 2
    report = annotate_episodes(
        many, make_gemini_annotator(LanguageConfig(), GeminiConfig(max_cost=worst * 1.05)), tmp_path, concurrency=3
    )
    assert "cap" in report.stopped
    assert 0 < report.cost <= worst * 1.05
    assert report.annotated + report.left == 10
    assert report.failed == 0
    finished = annotate_episodes(many, make_gemini_annotator(LanguageConfig(), GeminiConfig()), tmp_path, concurrency=3)
    assert finished.annotated + finished.skipped == 10
    assert len(gemini_server.paid()) == 20, "nothing was paid twice"


def test_a_setting_that_cannot_work_ends_the_run_without_failures(many, tmp_path):
    def script(request):
        raise ConfigError("wrong key")

    with pytest.raises(ConfigError, match="wrong key"):
        annotate_episodes(many, gemini(script), tmp_path, concurrency=2)
    assert "failed" not in states(tmp_path).values()


def test_a_service_that_is_gone_ends_the_run(filmed, tmp_path):
    def script(request):
        raise ModelUnavailableError("down")

    episodes = [replace(filmed, id=f"e{n:03}") for n in range(70)]
    report = annotate_episodes(episodes, gemini(script), tmp_path, concurrency=2)
    assert "50 episodes in a row" in report.stopped
    assert report.failed < 60
    assert report.left == 70 - report.failed


def test_one_label_set_is_by_one_model_version(many, tmp_path, answer):
    annotate_episodes(many[:4], gemini(answer, version="v-1"), tmp_path)
    report = annotate_episodes(many, gemini(answer, version="v-2"), tmp_path, concurrency=1)
    assert "v-2 answered, but the labels here are by v-1" in report.stopped
    assert report.annotated == 0
    bill = sum(row.paid.cost_usd for row in StagingFolder(tmp_path))
    mixed = gemini(answer, version="v-2")
    report = annotate_episodes(many, mixed, tmp_path, retry_failed=True, mix_versions=True)
    assert report.model_versions == {"v-1": 4, "v-2": 6}
    assert "several model versions" in report.warnings[0]
    total = sum(row.paid.cost_usd for row in StagingFolder(tmp_path))
    assert total == pytest.approx(20 * 0.01), "the refused replies were used, not paid again"
    assert total > bill > 8 * 0.01


def test_two_runs_do_not_share_a_folder(many, tmp_path, answer):
    caught = []

    def script(request):
        try:
            annotate_episodes(many, Free(), tmp_path)
        except AnnotationError as error:
            caught.append(str(error))
        return answer(request)

    annotate_episodes(many[:1], gemini(script), tmp_path)
    assert "another run" in caught[0]


def test_a_damaged_staged_file_is_named(many, tmp_path):
    annotate_episodes(many, Free(), tmp_path)
    (tmp_path / f"{many[2].id}.json").write_text('{"episode_id": "x"')
    with pytest.raises(AnnotationError, match=many[2].id):
        annotate_episodes(many, Free(), tmp_path)


def test_an_error_of_the_caller_comes_through_and_nothing_is_lost(many, tmp_path, answer):
    def on_done(annotated):
        raise OSError("the store is gone")

    maker = gemini(answer)
    with pytest.raises(OSError, match="the store is gone"):
        annotate_episodes(many, maker, tmp_path, concurrency=2, on_done=on_done)
    staged = sum(status == "annotated" for status in states(tmp_path).values())
    offered = []
    annotate_episodes(many, gemini(answer), tmp_path, on_skipped=lambda key, load: offered.append(key))
    assert len(offered) == staged > 0


def test_ctrl_c_waits_for_what_is_paid_and_can_go_on(many, tmp_path, answer):
    begun, go_on = threading.Event(), threading.Event()

    def script(request):
        begun.set()
        go_on.wait(5)
        return answer(request)

    def interrupt():
        begun.wait(5)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        go_on.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    report = annotate_episodes(many, gemini(script), tmp_path, concurrency=2)
    thread.join()
    assert report.stopped == "stopped by Ctrl-C"
    assert report.annotated + report.left == 10
    assert report.left > 0
    assert not StagingFolder(tmp_path).open_requests()
    rest = gemini(answer)
    report = annotate_episodes(many, rest, tmp_path)
    assert (report.annotated + report.skipped, report.failed) == (10, 0)


def test_a_request_under_way_at_a_kill_is_reported_and_not_paid_again(many, tmp_path, answer):
    folder = StagingFolder(tmp_path)
    folder.journal("sent", "r1", episode=many[0].id, name="describe", worst_usd=0.04)
    folder.journal("sent", "r2", episode=many[1].id, name="describe", worst_usd=0.04)
    folder.journal("unbilled", "r2")
    with open(tmp_path / "requests.jsonl", "a") as file:
        file.write('{"event": "sent", "requ')  # the kill came here
    maker = gemini(answer)
    report = annotate_episodes(many, maker, tmp_path)
    assert (report.annotated, report.waiting) == (9, 1)
    assert [row["episode"] for row in report.possibly_billed] == [many[0].id]
    assert report.uncertain_cost == pytest.approx(0.04), "r2 was not billed"
    assert report.total_uncertain == pytest.approx(0.04)
    assert "may have been billed" in report.errors[0]["message"]
    assert report.errors[0]["kind"] == "ModelUnavailableError"
    assert StagingFolder(tmp_path).load(many[0].id).paid.uncertain_usd == 0.04
    report = annotate_episodes(many, gemini(answer), tmp_path, retry_failed=True)
    assert (report.annotated, report.skipped, report.possibly_billed) == (1, 9, ())
    assert (report.uncertain_cost, report.total_uncertain) == (0.0, pytest.approx(0.04)), "counted by one run only"


def test_the_report_tells_what_was_spent_in_all_runs(many, tmp_path, answer):
    def script(request):
        if "carrot 2" in request.text and is_segment(request):
            lost = Usage(cost_usd=0.0, uncertain_usd=0.07)
            raise ModelUnavailableError("no answer", details={"usage": vars(lost)})
        return answer(request)

    first = annotate_episodes(many[:3], gemini(script), tmp_path)
    assert (first.cost, first.total_cost) == (pytest.approx(0.05), pytest.approx(0.05))
    second = annotate_episodes(many[3:5], gemini(answer), tmp_path)
    assert (second.cost, second.total_cost) == (pytest.approx(0.04), pytest.approx(0.09))
    assert (second.uncertain_cost, second.total_uncertain) == (0.0, pytest.approx(0.07))
    redone = annotate_episodes(many[:2], gemini(answer), tmp_path, redo=True)
    assert redone.total_cost == pytest.approx(0.13)
    nothing = annotate_episodes(many[:5], gemini(answer), tmp_path)
    assert (nothing.cost, nothing.total_cost) == (0.0, pytest.approx(0.13))


def test_a_damaged_file_of_another_episode_does_not_lose_the_report(many, tmp_path, answer):
    annotate_episodes(many[:3], gemini(answer), tmp_path)
    (tmp_path / f"{many[2].id}.json").write_text("{")
    report = annotate_episodes(many[3:4], gemini(answer), tmp_path)
    assert (report.annotated, report.total_cost) == (1, pytest.approx(0.06))
    assert "1 staged files" in report.warnings[0]


def test_a_failed_redo_keeps_the_annotation_before(many, tmp_path, answer):
    annotate_episodes(many[:1], gemini(answer), tmp_path)

    def script(request):
        raise ModelSchemaError("no", details={"usage": vars(Usage(1, 1, 1, 0.3))})

    report = annotate_episodes(many[:1], gemini(script), tmp_path, redo=True)
    staged = StagingFolder(tmp_path).load(many[0].id)
    assert (report.failed, staged.status) == (1, "failed")
    assert staged.annotation().subtasks[0].text == "Part 0"
    assert staged.paid.cost_usd == pytest.approx(0.32)


def test_staged_files_are_json_that_a_person_can_read(many, tmp_path, answer):
    annotate_episodes(many[:1], gemini(answer), tmp_path)
    row = json.loads((tmp_path / f"{many[0].id}.json").read_text())
    assert row["status"] == "annotated"
    assert set(row["replies"]) == {"describe", "segment"}
    assert row["paid"]["replies"] == 2
    assert row["annotated"]["provenance"][0]["model_version"] == "v-1"


def test_a_paid_but_useless_reply_is_a_recorded_failure_at_once(tmp_path):
    folder = StagingFolder(tmp_path)
    checkpoint = Checkpoint(folder, Staged("e"))
    checkpoint.sent("describe", 0.1)
    checkpoint.refuse("describe", ModelBlockedError("blocked"), Usage(1, 5, 0, 0.02))
    # A kill here must not let the next run ask, and pay, again.
    assert folder.load("e").status == "failed"
    assert folder.load("e").error["kind"] == "ModelBlockedError"
    assert not folder.open_requests()
