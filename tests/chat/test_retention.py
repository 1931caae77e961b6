"""What the Retention view is given: stored comparisons, the answers that changed, and questions as they were asked."""

import json
import shutil

import pytest
from PIL import Image

from vlm2vla.chat import ChatStore
from vlm2vla.chat.retention import Comparisons
from vlm2vla.errors import NotFoundError
from vlm2vla.evaluation import load_set
from vlm2vla.evaluation.config import VqaConfig
from vlm2vla.evaluation.vqa import Contestant, evaluate
from vlm2vla.vlm.chat import Token

ROWS = [
    {"id": "one", "image": "red.png", "question": "Which colour?", "answer": "red", "skill": "colour"},
    {"id": "two", "question": "1 + 1 =", "answer": "2", "skill": "sums"},
    {"id": "three", "question": "2 + 2 =", "answer": "4", "skill": "sums"},
]


class Says:
    """Answers by question."""

    def __init__(self, **answers):
        self.answers = {"Which colour?": "red", "1 + 1 =": "2", "2 + 2 =": "4"} | answers

    def stream(self, messages, sampling, *, stopped=None):
        yield Token(self.answers[messages[-1].text.splitlines()[0]], -0.1)
        yield Token("", ended=True)


@pytest.fixture
def own_set(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    Image.new("RGB", (20, 20), (200, 0, 0)).save(folder / "red.png")
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "manifest.json").write_text(json.dumps({"name": "mine", "suffix": "Answer briefly."}))
    return folder


@pytest.fixture
def comparisons(workspace, own_set):
    lost = {"Which colour?": "blue"}
    who = [
        Contestant("base", "b", lambda: Says(**{"2 + 2 =": "5"})),
        Contestant("lora", "l", lambda: Says(**lost)),
    ]
    evaluate(load_set(str(own_set)), who, workspace.evaluations / "vqa", VqaConfig())
    return Comparisons(workspace, ChatStore(workspace))


def test_comparisons_are_listed_and_opened_with_the_papers_table(comparisons):
    (row,) = comparisons.list()
    assert (row["set"], row["models"], row["questions"]) == ("mine", ["base", "lora"], 3)
    found = comparisons.open(row["id"])
    assert found["retention"]["lora"]["base_right_tuned_wrong"] == 1
    assert found["line"] == 0.85
    assert found["paper"]["base"] in found["paper"]["models"]
    with pytest.raises(NotFoundError):
        comparisons.open("../../etc")


def test_the_gallery_shows_what_was_lost_and_won_with_both_answers(comparisons):
    name = comparisons.list()[0]["id"]
    lost, won = comparisons.gallery(name, "lora")["flips"]
    assert (lost["item"], lost["lost"], lost["base"]["answer"], lost["tuned"]["answer"]) == ("one", True, "red", "blue")
    assert (won["item"], won["lost"], won["tuned"]["value"]) == ("three", False, 1.0)
    assert (lost["images"], won["images"]) == (1, 0)
    assert comparisons.picture(name, "one", 0)[1] == "image/png"
    with pytest.raises(NotFoundError):
        comparisons.gallery(name, "full")
    with pytest.raises(NotFoundError):
        comparisons.picture(name, "two", 0)


def test_a_question_of_the_gallery_is_asked_with_the_words_that_were_asked(comparisons, workspace):
    question = comparisons.question(comparisons.list()[0]["id"], "one")
    assert question["text"] == "Which colour?\nAnswer briefly."
    assert question["answer"] == "red"
    assert ChatStore(workspace).image_path(question["images"][0]).is_file()


def test_a_repeated_comparison_says_how_often_models_agree_with_themselves(comparisons, workspace, own_set):
    who = [Contestant("base", "b", Says), Contestant("lora", "l", Says)]
    config = VqaConfig(repeats=3, temperature=0.7)
    evaluate(load_set(str(own_set)), who, workspace.evaluations / "vqa", config)
    once, often = sorted(comparisons.list(), key=lambda row: row["repeated"])
    assert (once["repeated"], often["repeated"]) == (False, True)
    assert "agreement" not in comparisons.open(once["id"])["scores"]["lora"]
    assert comparisons.open(often["id"])["scores"]["lora"]["agreement"] == 1.0


def test_a_comparison_of_fewer_questions_stands_beside_the_whole_one_with_its_own_gallery(
    comparisons, workspace, own_set
):
    who = [Contestant("base", "b", Says), Contestant("lora", "l", Says)]
    evaluate(load_set(str(own_set)), who, workspace.evaluations / "vqa", VqaConfig(limit=1))
    few, whole = sorted(comparisons.list(), key=lambda row: row["questions"])
    assert (few["questions"], whole["questions"]) == (1, 3)
    assert [flip["item"] for flip in comparisons.gallery(few["id"], "lora")["flips"]] == ["one"]
    assert len(comparisons.gallery(whole["id"], "lora")["flips"]) == 2


def test_a_set_that_is_gone_or_changed_keeps_its_numbers_and_says_why_it_has_no_gallery(comparisons, own_set):
    name = comparisons.list()[0]["id"]
    (own_set / "items.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    assert "changed" in comparisons.gallery(name, "lora")["problem"]
    shutil.rmtree(own_set)
    again = comparisons.gallery(name, "lora")
    assert again["flips"] == []
    assert "no VQA set" in again["problem"]
    assert comparisons.open(name)["retention"]["lora"]["questions"] == 3


def test_comparisons_that_ship_are_shown_in_a_fresh_workspace(comparisons, workspace, tmp_path):
    from vlm2vla.workspace import Workspace

    fresh = Workspace.open(tmp_path / "fresh")
    assert Comparisons(fresh, ChatStore(fresh)).list() == []
    shown = Comparisons(fresh, ChatStore(fresh), (workspace.evaluations, tmp_path / "nowhere"))
    assert [row["set"] for row in shown.list()] == ["mine"]
