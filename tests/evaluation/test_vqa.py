"""Answers first, grades later: resuming, killing, errors, retention, the gallery."""

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vlm2vla.errors import EvaluationError, ModelInputError
from vlm2vla.evaluation import load_set
from vlm2vla.evaluation.answers import AnswerFile, answer_all, read_answers
from vlm2vla.evaluation.asking import questions
from vlm2vla.evaluation.config import VqaConfig
from vlm2vla.evaluation.grading import grade
from vlm2vla.evaluation.vqa import Contestant, evaluate, gallery

KILLABLE = Path(__file__).with_name("killable.py")


def knowing(vqa, share, name):
    """Answers `share` of the questions right; everything else wrong."""
    right = {item.question: item.answers[0] for item in vqa.items}

    def answer(messages, sampling):
        question = messages[-1].text.split("\n")[0]
        return right[question] if random.Random(name + question).random() < share else "nothing"

    return answer


@pytest.fixture
def models(colours, answering):
    vqa = load_set(str(colours))
    return vqa, [answering(name, knowing(vqa, share, "seed 3")) for name, share in (("base", 0.9), ("lora", 0.5))]


def contestants(models):
    return [Contestant(model.name, "abc", lambda model=model: model) for model in models]


def test_scores_and_retention(models, tmp_path):
    vqa, (base, lora) = models
    report = evaluate(vqa, contestants([base, lora]), tmp_path / "out", VqaConfig(blank=True))
    stored = report.to_json()
    known = json.loads(json.dumps(stored))
    assert known["scores"]["base"]["questions"] == 40
    score, kept = known["scores"], known["retention"]["lora"]
    assert score["base"]["low"] < score["base"]["score"] < score["base"]["high"]
    assert kept["raw"] == pytest.approx(score["lora"]["score"] / score["base"]["score"], abs=1e-3)
    assert kept["low"] < kept["raw"] < kept["high"]
    chance = score["base"]["chance"]
    centred = (score["lora"]["score"] - chance) / (score["base"]["score"] - chance)
    assert kept["centred"]["value"] == pytest.approx(centred, abs=1e-3)
    assert kept["centred"]["value"] < kept["raw"]
    # Both answer from the words alone, so nothing is above the floor of the grey pictures.
    assert kept["above_floor"] is None
    assert kept["test"] == "permutation"  # two questions to an image
    assert kept["p"] < 0.05
    assert kept["base_right_tuned_wrong"] > kept["base_wrong_tuned_right"] == 0
    assert set(score["base"]["by_skill"]) == {"colour", "exists"}
    assert set(known["retention_by_skill"]["lora"]) == {"colour", "exists"}
    assert json.loads(next((tmp_path / "out").glob("*/report.json")).read_text()) == known


def test_nothing_is_asked_twice(models, tmp_path):
    vqa, (base, lora) = models
    first = evaluate(vqa, contestants([base, lora]), tmp_path, VqaConfig(limit=15))
    assert [model.asked for model in first.models] == [15, 15]
    second = evaluate(vqa, contestants([base, lora]), tmp_path, VqaConfig())
    assert [model.asked for model in second.models] == [25, 25]

    def never():
        raise AssertionError("a model was opened although everything was answered")

    again = evaluate(vqa, [Contestant(model.name, "abc", never) for model in (base, lora)], tmp_path, VqaConfig())
    assert [model.asked for model in again.models] == [0, 0]
    assert again.to_json()["retention"] == second.to_json()["retention"]
    other = evaluate(vqa, [Contestant("base", "other weights", lambda: base)], tmp_path, VqaConfig(models="base"))
    assert other.models[0].asked == 40


@pytest.mark.parametrize("other", [{"temperature": 0.7, "repeats": 2}, {"seed": 3}, {"max_new_tokens": 8}])
def test_another_way_of_asking_has_answers_and_a_report_of_its_own(models, tmp_path, other):
    vqa, (base, _) = models
    usual = evaluate(vqa, contestants([base]), tmp_path, VqaConfig(models="base")).to_json()
    config = VqaConfig(models="base", blank=True, **other)
    asked = evaluate(vqa, contestants([base]), tmp_path, config).models[0]
    assert asked.asked == 40 * (config.repeats + 1)
    assert evaluate(vqa, contestants([base]), tmp_path, config).models[0].asked == 0
    names = sorted(run.name for run in tmp_path.glob("*/base*"))
    assert names[0] == "base-abc"
    assert names[2] == f"{names[1]}-blank"
    assert json.loads(next(tmp_path.glob("*/report.json")).read_text()) == usual
    assert len(list(tmp_path.glob("*/report*.json"))) == 2


def test_a_comparison_of_less_leaves_the_full_table_and_one_of_more_replaces_it(models, tmp_path):
    vqa, (base, lora) = models

    def run(*who, **settings):
        return evaluate(vqa, contestants(who), tmp_path, VqaConfig(models=",".join(m.name for m in who), **settings))

    def table():
        return json.loads(next(tmp_path.glob("*/report.json")).read_text())

    run(base, limit=10)
    full = run(base, lora, blank=True).to_json()
    assert table() == full, "the first ten questions are replaced"
    run(base, blank=True)
    run(base, lora, limit=10, blank=True)
    run(base, lora)
    run(lora, base, blank=True)
    assert table() == full
    assert len(list(tmp_path.glob("*/report*.json"))) == 5
    run(base, lora)
    assert len(list(tmp_path.glob("*/report*.json"))) == 5, "the same again replaces its own"
    again = run(base, lora, blank=True).to_json()
    assert table() == again


def test_killed_and_resumed_it_answers_nothing_twice(colours, tmp_path):
    log, out = tmp_path / "asked.txt", tmp_path / "out"
    command = [sys.executable, str(KILLABLE), str(colours), str(out), str(log)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while len(log.read_text().splitlines() if log.exists() else []) < 12 and time.monotonic() < deadline:
        time.sleep(0.02)
    running.kill()
    running.wait()
    (run,) = out.glob("*/base-f")
    answered = {answer.key for answer in read_answers(run)}
    assert 0 < len(answered) < 40
    with (run / "answers.jsonl").open("ab") as file:
        file.write(b'{"key": "torn')  # the kill fell into the middle of a line
    before = len(log.read_text().splitlines())
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == 40 - len(answered)
    keys = [answer.key for answer in read_answers(run)]
    assert len(keys) == len(set(keys)) == 40
    questions_of = {item.id: item.question for item in load_set(str(colours)).items}
    first = {questions_of[key.split("/")[0]] for key in answered}
    assert not first & set(log.read_text().splitlines()[before:])


def test_errors_stay_with_their_question(colours, answering, tmp_path):
    vqa = load_set(str(colours))

    def answer(messages, sampling):
        if "number 3?" in messages[-1].text:
            raise ModelInputError("too many tokens")
        return "red"

    model = answering("base", answer)
    (colours / "images" / "0.jpg").write_bytes(b"rotten")
    vqa = load_set(str(colours))
    (result,) = evaluate(vqa, contestants([model]), tmp_path, VqaConfig(models="base")).models
    assert result.errors == 4  # two about a rotten image, two that the model refused
    assert result.total.questions == 36
    assert evaluate(vqa, contestants([model]), tmp_path, VqaConfig(models="base")).models[0].asked == 0
    model.answer = lambda messages, sampling: "red"
    again = evaluate(vqa, contestants([model]), tmp_path, VqaConfig(models="base", retry_failed=True)).models[0]
    assert (again.asked, again.errors, again.total.questions) == (4, 2, 38)


def test_circular_evaluation_wants_every_rotation(shared_data, answering, tmp_path):
    vqa = load_set(str(shared_data / "vqa-mmbench"))
    always_b = answering("base", lambda messages, sampling: "B")

    every = list(questions(vqa, circular=True))
    letters = {asked.messages(): "ABCD"[asked.truth.correct] for asked in every}
    assert len(letters) == len(every)

    knows = answering("lora", lambda messages, sampling: letters[tuple(messages)])
    report = evaluate(vqa, contestants([always_b, knows]), tmp_path, VqaConfig(circular=True)).to_json()
    assert report["scores"]["base"]["score"] == 0
    assert report["scores"]["base"]["plain"] == pytest.approx(23 / 54, abs=1e-4)  # 42.6 %, as the set's notes say
    assert report["scores"]["lora"]["score"] == 1
    assert len(always_b.asked) == 50 * 4 + 4 * 3


def test_two_processes_do_not_write_into_one_run(models, tmp_path):
    vqa, (base, _) = models
    file = AnswerFile(tmp_path / "run", {"model": "base"})
    with file.writing(), pytest.raises(EvaluationError, match="another process"):
        answer_all(base, questions(vqa), AnswerFile(tmp_path / "run", {"model": "base"}))
    with pytest.raises(EvaluationError, match="model"):
        AnswerFile(tmp_path / "run", {"model": "lora"})


def test_stopping_ends_after_a_batch(models, tmp_path):
    vqa, (base, _) = models
    stopped = threading.Event()
    base.answer = lambda messages, sampling: stopped.set() or "red"
    assert answer_all(base, questions(vqa), AnswerFile(tmp_path, {}), batch=4, stopped=stopped) == 4


def test_batches_are_used_where_a_model_has_them(models, tmp_path):
    vqa, (base, _) = models
    sizes = []

    class Batching:
        name = "base"

        def answer_all(self, conversations, sampling):
            sizes.append(len(conversations))
            for index in reversed(range(len(conversations))):
                said = base.answer(conversations[index], sampling)
                yield index, ModelInputError("no") if "number 7?" in conversations[index][-1].text else said

    answer_all(Batching(), questions(vqa), AnswerFile(tmp_path / "a", {}), batch=16)
    answer_all(base, questions(vqa), AnswerFile(tmp_path / "b", {}))
    assert sizes == [16, 16, 8]
    together = {answer.key: answer for answer in read_answers(tmp_path / "a")}
    alone = {answer.key: answer for answer in read_answers(tmp_path / "b")}
    assert sum(bool(answer.error) for answer in together.values()) == 2
    assert {key: row.answer.strip() for key, row in together.items() if not row.error}.items() <= {
        key: row.answer.strip() for key, row in alone.items()
    }.items()


def test_a_model_may_disagree_with_itself(models, tmp_path):
    vqa, (base, _) = models
    base.answer = lambda messages, sampling: "yes" if sampling.seed % 2 else "no"
    report = evaluate(vqa, contestants([base]), tmp_path, VqaConfig(models="base", repeats=4, temperature=1.0))
    assert report.models[0].agreement == pytest.approx(1 / 3)  # 2 of 6 pairs


def test_the_gallery_shows_what_was_lost_and_won(models, tmp_path):
    vqa, (base, lora) = models
    evaluate(vqa, contestants([base, lora]), tmp_path, VqaConfig())
    stored = {run.name[:4]: {row.key: row for row in read_answers(run)} for run in tmp_path.glob("*/*-abc")}
    shown = gallery(vqa, stored["base"], stored["lora"])
    lost = [flip for flip in shown if flip.lost]
    assert lost
    assert all(flip.base.value > flip.tuned.value and flip.tuned.answer.strip() == "nothing" for flip in lost)
    wins = {each.id for each in grade(vqa, stored["base"]) if each.value == 1}
    losses = {each.id for each in grade(vqa, stored["lora"]) if each.value == 0}
    assert {flip.base.id for flip in lost} == wins & losses
