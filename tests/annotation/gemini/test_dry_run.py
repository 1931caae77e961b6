"""What annotating would cost, before anything is billed."""

from dataclasses import replace

import pytest

from vlm2vla.annotation.dry_run import estimate_cost
from vlm2vla.annotation.gemini import GeminiAnnotator, make_gemini_annotator
from vlm2vla.annotation.run import annotate_episodes
from vlm2vla.annotation.staging import StagingFolder
from vlm2vla.config import GeminiConfig, LanguageConfig
from vlm2vla.errors import ModelUnavailableError
from vlm2vla.vlm import ScriptedVLM


def annotator(script, **config):
    return GeminiAnnotator(ScriptedVLM(script, cost_usd=0.01), LanguageConfig(), GeminiConfig(**config))


def down_after_the_first_pass(answer):
    def script(request):
        if "subtasks" in request.schema.model_json_schema()["properties"]:
            raise ModelUnavailableError("down")
        return answer(request)

    return script


def test_a_dry_run_estimates_without_a_bill(gemini_server, many):
    maker = make_gemini_annotator(LanguageConfig(), GeminiConfig(dry_run=True))
    counted = estimate_cost(many, maker, sample=4)
    assert (counted.episodes, counted.looked_at, counted.requests, counted.counted) == (10, 4, 20, True)
    assert 0 < counted.cost_usd < counted.worst_usd
    assert {row["kind"] for row in gemini_server.log} == {"count"}
    guessed = estimate_cost(many, maker, count=False)
    assert not guessed.counted
    assert guessed.cost_usd == pytest.approx(counted.cost_usd, rel=0.5)


def test_a_dry_run_names_episodes_that_cannot_be_asked_about(many, answer):
    blind = [replace(many[0], cameras={}), *many[1:]]
    estimate = estimate_cost(blind, annotator(answer))
    assert [row["episode"] for row in estimate.errors] == [many[0].id]
    assert estimate.looked_at == 9


def test_only_what_a_run_would_ask_is_priced(many, tmp_path, answer):
    annotate_episodes(many[:4], annotator(answer), tmp_path)
    annotate_episodes(many[4:6], annotator(down_after_the_first_pass(answer)), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    maker = annotator(answer)

    def estimate(**flags):
        return estimate_cost([*many, many[9]], maker, staged=tmp_path, **flags)

    plain = estimate()
    assert (plain.episodes, plain.skipped, plain.waiting, plain.looked_at, plain.requests) == (11, 5, 2, 4, 8)
    assert plain.cost_usd == pytest.approx(0.08)
    retried = estimate(retry_failed=True)
    assert (retried.skipped, retried.waiting, retried.requests) == (5, 0, 8 + 2), "the first pass is kept"
    redone = estimate(redo=True)
    assert (redone.skipped, redone.waiting, redone.requests) == (1, 0, 20)
    assert not maker.vlm.requests
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    report = annotate_episodes(many, maker, tmp_path, retry_failed=True)
    assert len(maker.vlm.requests) == retried.requests
    assert report.cost == pytest.approx(retried.cost_usd)


def test_kept_replies_to_other_questions_are_not_counted_as_paid(many, tmp_path, answer):
    annotate_episodes(many[:1], annotator(down_after_the_first_pass(answer)), tmp_path)
    other = estimate_cost(many[:1], annotator(answer, max_frames=6), staged=tmp_path, retry_failed=True)
    assert other.requests == 2


def test_an_episode_whose_request_was_out_at_a_kill_waits(many, tmp_path, answer):
    StagingFolder(tmp_path).journal("sent", "r1", episode=many[0].id, name="describe", worst_usd=0.04)
    maker = annotator(answer)
    assert estimate_cost(many, maker, staged=tmp_path).waiting == 1
    assert estimate_cost(many, maker, staged=tmp_path, retry_failed=True).waiting == 0
    assert annotate_episodes(many, maker, tmp_path).waiting == 1


def test_nothing_left_to_ask_costs_nothing(many, tmp_path, answer):
    annotate_episodes(many, annotator(answer), tmp_path)
    estimate = estimate_cost(many, annotator(answer), staged=tmp_path)
    assert (estimate.skipped, estimate.requests, estimate.cost_usd, estimate.worst_usd) == (10, 0, 0.0, 0.0)
    assert estimate_cost(many, annotator(answer), staged=tmp_path / "none").requests == 20
    assert not (tmp_path / "none").exists()
