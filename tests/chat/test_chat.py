"""Conversations with several models: streaming, histories, failures in the middle, blind votes, files."""

import io
import json
import threading
import time

import pytest
from PIL import Image

from vlm2vla.chat import Chat, win_rates
from vlm2vla.chat.actions import (
    list_question,
)
from vlm2vla.chat.speakers import Awake
from vlm2vla.chat.votes import WinRate
from vlm2vla.errors import ConfigError, ModelError, NotFoundError
from vlm2vla.vlm.chat import Token
from vlm2vla.workspace import Workspace


class Voices:
    """Speakers whose words the test chooses: name -> function of the messages."""

    cut = False

    def __init__(self, **voices):
        self.voices, self.asked, self.going = voices, [], threading.Event()
        self.going.set()

    def entries(self):
        return []

    def identity(self, name):
        return f"weights of {name}"

    def waking(self, name):
        return name == "lora" and not self.asked

    def speak(self, conversations, sampling, stopped):
        self.asked.append((conversations, sampling))
        for name, messages in conversations.items():
            for piece in self.voices[name](messages):
                if isinstance(piece, Exception):
                    yield name, piece
                    break
                if isinstance(piece, Awake):
                    yield name, piece
                    continue
                self.going.wait(5)
                if stopped.is_set():
                    break
                yield name, Token(piece, -0.5, ((piece, -0.5), ("other", -2.0)))
            else:
                if not self.cut:
                    yield name, Token("", ended=True)
                yield name, None
                continue
            if stopped.is_set():
                yield name, None


def first_word(stream):
    return next(record for record in stream if "text" in record)


def says(*pieces):
    return lambda messages: pieces


@pytest.fixture
def make(tmp_path):
    def chat(shuffle=None, **voices):
        voices = voices or {"base": says("a ", "red ", "cube"), "lora": says("red ", "cube")}
        return Chat(Workspace.open(tmp_path), Voices(**voices), shuffle=shuffle)

    return chat


def picture(size=(64, 48), kind="PNG"):
    data = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(data, kind)
    return data.getvalue()


def answers(view, number=-1):
    return [answer["text"] for answer in view["exchanges"][number]["answers"]]


def test_both_answers_stream_and_are_kept_with_their_probabilities(make):
    chat = make()
    conversation = chat.new(["base", "lora"])
    records = list(chat.ask(conversation["id"], "What is this?"))
    assert [record["state"] for record in records[:2]] == ["reading", "loading"]
    first_pane = [record["text"] for record in records if record.get("pane") == 0 and "text" in record]
    assert first_pane == ["a ", "red ", "cube"]
    assert records[-1]["answers"][1]["text"] == "red cube"
    again = make().open(conversation["id"])
    assert answers(again) == ["a red cube", "red cube"]
    assert again["exchanges"][0]["answers"][0]["tokens"][0] == ("a ", -0.5, (("a ", -0.5), ("other", -2.0)))


def test_the_time_of_an_answer_begins_when_its_weights_are_loaded(tmp_path):
    now = iter(range(0, 1000, 10))
    voices = Voices(base=says("a"), lora=lambda messages: (Awake(), "a"))
    chat = Chat(Workspace.open(tmp_path), voices, clock=lambda: float(next(now)))
    records = list(chat.ask(chat.new(["lora"])["id"], "What is this?"))
    assert [record["state"] for record in records if "state" in record] == ["loading", "reading"]
    (answer,) = records[-1]["answers"]
    assert answer["first_s"] == 10.0  # one tick behind the loading


def test_each_model_is_asked_with_its_own_history(make):
    chat = make()
    conversation = chat.new(["base", "lora"])["id"]
    list(chat.ask(conversation, "What is this?"))
    list(chat.ask(conversation, "And its colour?"))
    asked, _ = chat.speakers.asked[-1]
    assert [message.text for message in asked["base"]] == ["What is this?", "a red cube", "And its colour?"]
    assert [message.text for message in asked["lora"]] == ["What is this?", "red cube", "And its colour?"]


def test_a_model_that_fails_in_the_middle_leaves_the_other_and_what_was_said(make):
    chat = make(base=says("a ", ModelError("the model was removed")), lora=says("red ", "cube"))
    conversation = chat.new(["base", "lora"])["id"]
    shown = list(chat.ask(conversation, "What is this?"))[-1]
    assert [(answer["text"], answer["end"]) for answer in shown["answers"]] == [("a ", "error"), ("red cube", "done")]
    assert "removed" in shown["answers"][0]["problem"]
    list(chat.ask(conversation, "Go on"))
    asked, _ = chat.speakers.asked[-1]
    assert [message.text for message in asked["base"]] == ["Go on"]


def test_a_browser_that_goes_away_stops_the_answers_and_loses_nothing(make):
    chat = make()
    conversation = chat.new(["base", "lora"])["id"]
    stream = chat.ask(conversation, "What is this?")
    first_word(stream)
    stream.close()
    shown = chat.open(conversation)["exchanges"][0]
    assert shown["answers"][0]["text"] == "a "
    assert {answer["end"] for answer in shown["answers"]} == {"stopped"}


def test_stop_ends_within_a_token_and_one_question_is_answered_at_a_time(make):
    chat = make(base=lambda messages: ("word " for _ in range(10_000)))
    conversation = chat.new(["base"])["id"]
    stream = chat.ask(conversation, "Talk")
    first_word(stream)
    with pytest.raises(ConfigError, match="still being written"):
        next(chat.ask(conversation, "Me too"))
    assert chat.stop(conversation)
    rest = list(stream)
    assert rest[-1]["answers"][0]["end"] == "stopped"
    assert len(rest) < 5


def test_a_crash_in_the_middle_leaves_a_readable_conversation(make, tmp_path):
    chat = make()
    conversation = chat.new(["base"])["id"]
    stream = chat.ask(conversation, "What is this?")
    first_word(stream)  # the process ends here
    shown = make().open(conversation)["exchanges"][0]
    assert (shown["text"], shown["answers"][0]["end"]) == ("What is this?", "stopped")
    stream.close()


def test_asking_again_replaces_the_question_and_what_followed(make):
    chat = make()
    conversation = chat.new(["base"])["id"]
    for text in ("one", "two", "three"):
        list(chat.ask(conversation, text))
    list(chat.ask(conversation, "two, in other words", instead_of=1))
    assert [each["text"] for each in chat.open(conversation)["exchanges"]] == ["one", "two, in other words"]


def test_blind_sides_are_hidden_until_revealed_and_votes_can_be_repeated(make):
    chat = make(shuffle=lambda names: names.reverse())
    view = chat.new(["base", "lora"], blind=True)
    list(chat.ask(view["id"], "What is this?"))
    shown = chat.vote(view["id"], 0, "left", "anna")
    assert "lora" not in json.dumps(shown)
    assert "base" not in json.dumps(shown)
    assert chat.win_rates() == []  # a rate would tell which side is which
    with pytest.raises(ConfigError, match="reveal"):
        chat.export(view["id"], "md")
    assert [pane["model"] for pane in chat.reveal(view["id"])["panes"]] == ["lora", "base"]
    (vote,) = chat.store.votes()
    assert vote["order"] == ["lora", "base"]
    assert vote["identity"] == {"lora": "weights of lora", "base": "weights of base"}
    assert vote["answers"]["lora"] == "red cube"
    assert chat.win_rates()[0]["losses"] == 1
    assert b"**lora**" in chat.export(view["id"], "md")
    assert json.loads(chat.export(view["id"], "json"))["exchanges"][0]["vote"]["choice"] == "left"


def test_what_goes_wrong_names_nobody_while_the_sides_are_blind(make):
    class Mute:
        def __init__(self, name):
            self.name = name

        def score(self, messages, answer):
            raise ModelError(f"{self.name} at http://127.0.0.1:8000 does not tell")

    chat = make(base=says("a ", ModelError("base at http://127.0.0.1:8000 hangs")), lora=says("red"))
    chat.speakers.model = Mute
    one = chat.new(["base", "lora"], blind=True)["id"]
    records = list(chat.ask(one, "What is this?"))
    shown = [*records, chat.open(one), chat.lens(one, 0, ["a cube"])]
    for leak in ("base", "lora", "8000"):
        assert leak not in json.dumps(shown)
    assert "revealed" in records[-1]["answers"][0 if records[-1]["answers"][0]["problem"] else 1]["problem"]
    problems = [answer["problem"] for answer in chat.reveal(one)["exchanges"][0]["answers"]]
    assert "base at http://127.0.0.1:8000 hangs" in problems
    assert "does not tell" in chat.lens(one, 0, ["a cube"])[0]["scores"][0]["problem"]


def test_win_rates_count_the_newest_vote_of_a_person_once():
    def vote(order, choice, by="anna", blind=True, exchange=0):
        return {"conversation": "c", "exchange": exchange, "order": order, "choice": choice, "by": by, "blind": blind}

    votes = [
        vote(["lora", "base"], "left"),
        vote(["lora", "base"], "right"),  # anna thought again
        vote(["base", "lora"], "right", by="ben"),
        vote(["base", "lora"], "tie", by="cid"),
        vote(["base", "lora"], "both bad", by="dan"),
        vote(["base", "lora"], "left", by="eva", blind=False),
    ]
    assert win_rates(votes) == (WinRate("base", "lora", 1, 1, 1, 1, 0.5, (0.0945, 0.9055)),)


def test_a_vote_on_answers_stays_when_the_question_is_asked_again(make):
    chat = make()
    one = chat.new(["base", "lora"], blind=True)["id"]
    list(chat.ask(one, "What is this?"))
    chat.vote(one, 0, "tie", "anna")
    chat.vote(one, 0, "both bad", "anna")
    list(chat.ask(one, "What is that?", instead_of=0))
    chat.vote(one, 0, "tie", "anna")
    chat.speakers.voices["lora"] = says("a carrot")
    list(chat.ask(one, "What is that?", instead_of=0))
    chat.vote(one, 0, "tie", "anna")
    chat.reveal(one)
    (rate,) = chat.win_rates()
    assert (rate["both_bad"], rate["ties"]) == (1, 2)


def test_conversations_are_found_by_what_was_said(make):
    chat = make()
    first = chat.new(["base"])["id"]
    list(chat.ask(first, "How many apples?"))
    second = chat.new(["base"], name="Colours")["id"]
    list(chat.ask(second, "Which colour is it?"))
    assert [row["id"] for row in chat.store.search("apples")] == [first]
    assert [row["id"] for row in chat.store.search("red cube")] == [second, first]
    assert chat.store.search("nothing like that") == []
    chat.delete(first)
    with pytest.raises(NotFoundError):
        chat.open(first)


def test_images_are_checked_kept_once_and_shown_to_every_model(make):
    chat = make()
    name = chat.store.keep_image(picture())
    assert chat.store.keep_image(picture()) == name
    conversation = chat.new(["base", "lora"])["id"]
    list(chat.ask(conversation, "What is this?", [name]))
    asked, _ = chat.speakers.asked[-1]
    assert asked["lora"][0].images[0].size_px == (64, 48)
    with pytest.raises(NotFoundError):
        list(chat.ask(conversation, "And this?", ["0" * 20]))


def test_files_that_are_no_images_are_refused_with_a_reason(make):
    store = make().store
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    for data, word in [(b"", "empty"), (b"hello", "no image"), (bomb.getvalue(), "pixels"), (picture()[:60], "image")]:
        with pytest.raises(ConfigError, match=word):
            store.keep_image(data)
    assert store.keep_image(picture((4000, 100), "JPEG"))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda chat, one: list(chat.ask(one, "   ")), "question"),
        (lambda chat, one: list(chat.ask(one, "x" * 30_000)), "characters"),
        (lambda chat, one: chat.vote(one, 0, "left", "anna"), "vote"),
        (lambda chat, one: chat.change(one, sampling={"temperature": -1}), "temperature"),
        (lambda chat, one: chat.change(one, colour="red"), "colour"),
        (lambda chat, one: chat.change(one, models=["base", "base"]), "different"),
        (lambda chat, one: chat.new(["base"], blind=True), "two models"),
        (lambda chat, one: chat.export(one, "docx"), "docx"),
    ],
)
def test_what_cannot_be_is_said(make, call, word):
    chat = make()
    with pytest.raises(ConfigError, match=word):
        call(chat, chat.new(["base"])["id"])


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "zzz", "0" * 40])
def test_ids_are_no_paths(make, name):
    with pytest.raises(NotFoundError):
        make().open(name)


def test_saving_is_not_slowed_by_long_answers(make):
    chat = make(base=lambda messages: ("word " for _ in range(2000)))
    conversation = chat.new(["base"])["id"]
    chat.speakers.cut = True
    began = time.process_time()
    shown = list(chat.ask(conversation, "Talk"))[-1]
    assert shown["answers"][0]["end"] == "length"
    assert time.process_time() - began < 3


def test_an_answer_that_had_no_room_to_end_is_cut_and_one_that_ended_is_done(make):
    chat = make()
    conversation = chat.new(["base"])["id"]
    assert list(chat.ask(conversation, "One"))[-1]["answers"][0]["end"] == "done"
    chat.speakers.cut = True
    assert list(chat.ask(conversation, "Two"))[-1]["answers"][0]["end"] == "length"


def test_action_language_is_read_as_the_robot_would_and_the_next_level_is_asked(make):
    chat = make(base=says("I cannot do that."), lora=says("1. Move to the red cube\n2. Grasp the red cube"))
    conversation = chat.new(["base", "lora"])["id"]
    shown = list(chat.ask(conversation, list_question("pick up the red cube")))[-1]
    assert [answer["says"]["ok"] for answer in shown["answers"]] == [False, True]
    assert shown["next"].startswith("Current subtask: Move to the red cube\n")
    chat.speakers.voices["lora"] = says("move forward and down")
    shown = list(chat.ask(conversation, shown["next"]))[-1]
    assert shown["answers"][1]["says"] == {"level": "plan", "ok": True, "text": "a motion plan of 1 phrase"}
    chat.speakers.voices["lora"] = says("[[2.5, 0.0, -1.0, 1], [0.0, 0.0, -2.0, 0]]")
    shown = list(chat.ask(conversation, shown["next"]))[-1]
    assert shown["answers"][1]["says"]["text"] == "2 rows: down 3.0 cm, forward 2.5 cm, gripper closed at the end"
    assert shown["next"] == ""
    assert list(chat.ask(conversation, "What colour is it?"))[-1]["answers"][1]["says"] is None
