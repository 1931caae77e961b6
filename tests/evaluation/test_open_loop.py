"""Open loop as a command runs it: models asked in their own form and words, recordings without misses."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vlm2vla.config import RecordConfig
from vlm2vla.embodiment import STRETCH_RE1
from vlm2vla.errors import ModelUnavailableError
from vlm2vla.evaluation.actions import Moment
from vlm2vla.evaluation.config import ActionsConfig
from vlm2vla.evaluation.levels import Completion
from vlm2vla.evaluation.lines import read_lines
from vlm2vla.pipeline import open_loop
from vlm2vla.pipeline.open_loop import Questions, evaluate_actions
from vlm2vla.types import ActionChunk
from vlm2vla.vlm.origin import Origin, write_origin
from vlm2vla.vlm.protocol import ImagePart
from vlm2vla.vlm.registry import ModelRegistry

TEXT = {
    "rows:0.5cm": "[[3.0, 0.0, -5.0, 1]]",
    "rows7:0.5cm:1deg": "[[3.0, 0.0, -5.0, 0, 0, 20, 1]]",
    "sentence:0.5cm": "with the gripper open, move forward 3 cm and down 5 cm",
}


@pytest.fixture
def models(workspace, tiny_folder, tmp_path, answering, jpeg, monkeypatch):
    """Adapters of three forms, one of them with its training run beside it; they write what their form wants."""
    registry = ModelRegistry(workspace)
    for name in ("rows:0.5cm", "rows7:0.5cm:1deg", "sentence:0.5cm"):
        kind = name.split(":")[0]
        folder = tmp_path / kind / "adapter"
        folder.mkdir(parents=True)
        for file in (tiny_folder / "lora").iterdir():
            (folder / file.name).symlink_to(file) if file.name != "vlm2vla.json" else None
        write_origin(folder, Origin(str(tiny_folder / "base"), actions="language", form=name))
        registry.add(kind, str(folder), base=str(tiny_folder / "base"))
    (tmp_path / "sentence" / "config.json").write_text(json.dumps({"recipe": {"plans": "measured"}}))
    asked, broken = [], []

    def answer(messages, sampling):
        asked.append(messages)
        if broken:
            raise ModelUnavailableError("gone")
        if messages[-1].images and len(messages[-1].images) > 1:
            return "yes"
        return TEXT[answer.form]

    def questions(config, workspace, *, rotation=False):
        rows = [[0.03, 0, -0.05, 0, 0, 0.35, 1]] if rotation else [[0.03, 0, -0.05, 1]]
        moment = Moment("e/0", "e", ImagePart(jpeg()), "do it", "Grasp", "move forward and down", None, STRETCH_RE1)
        moment = replace(moment, chunk=ActionChunk(np.array(rows)), measured="forward 3 cm, down 5 cm")
        pair = Completion("e/1", "e", moment.image, moment.image, "do it", "Grasp", True, STRETCH_RE1)
        return Questions("made-up", (moment,), (pair,), ())

    def opened(self, entry):
        answer.form = open_loop._form_of(entry).name
        return answering(entry.name, answer)

    monkeypatch.setattr(open_loop, "questions_of", questions)
    monkeypatch.setattr(open_loop.Opener, "open", opened)
    return asked, broken


def test_models_are_asked_in_the_form_and_the_words_they_were_trained_in(models, workspace):
    asked, _ = models
    config = ActionsConfig(models="rows,rows7,sentence", plan="given")
    report = evaluate_actions(config, workspace)["models"]
    assert {name: scores["plan"] for name, scores in report.items()} == {
        "rows": "given-words",
        "rows7": "given-words",
        "sentence": "given-measured",  # as its training run says
    }
    assert all(scores["actions"]["parse_rate"]["value"] == 1 for scores in report.values())
    assert all(scores["actions"]["total_cm"]["value"] < 0.1 for scores in report.values())
    plans = [messages[-2].text for messages in asked if len(messages[-1].images) < 2]
    assert plans == ["move forward and down", "move forward and down", "forward 3 cm, down 5 cm"]
    runs = [json.loads(path.read_text()) for path in workspace.evaluations.glob("actions/*/*/run.json")]
    assert {run["model"]: run["form"] for run in runs} == {
        "rows": "rows:0.5cm",
        "rows7": "rows7:0.5cm:1deg",
        "sentence": "sentence:0.5cm",
    }
    said = evaluate_actions(replace(config, models="rows", plans="measured"), workspace)["models"]["rows"]
    assert said["plan"] == "given-measured"


def test_answers_that_failed_are_asked_again_when_that_is_wanted(models, workspace):
    _, broken = models
    broken.append(True)
    config = ActionsConfig(models="rows", likelihood=False)
    evaluate_actions(config, workspace)
    broken.clear()
    assert evaluate_actions(config, workspace)["models"]["rows"]["verifier"]["questions"] == 0
    again = evaluate_actions(replace(config, retry_failed=True), workspace)["models"]["rows"]
    assert (again["actions"]["moments"], again["verifier"]["questions"]) == (1, 1)
    (path,) = workspace.evaluations.glob("actions/*/*/completions.jsonl")
    assert [row["answer"].strip() for row in read_lines(path)] == ["yes"]


def test_held_out_recordings_hold_no_misses(workspace, monkeypatch):
    wanted: list[RecordConfig] = []
    monkeypatch.setattr(open_loop, "record", lambda config, *_: wanted.append(config))
    monkeypatch.setattr(open_loop, "read", lambda *_, **__: ())
    list(open_loop._held_out(ActionsConfig(episodes=6), workspace))
    assert [(config.count, config.mistakes) for config in wanted] == [(2, 0.0)] * 3
    assert {config.out.name for config in wanted} == {
        "pick-up-2-no-misses",
        "pick-and-place-2-no-misses",
        "pick-place-lift-2-no-misses",
    }
