"""Real models of this process and servers, side by side in a conversation."""

import threading
import time

import pytest

from tests.vlm.openai_server import OpenAIServer
from vlm2vla.chat import Chat
from vlm2vla.chat.speakers import RegisteredSpeakers
from vlm2vla.errors import ConfigError
from vlm2vla.vlm.chat import Message, Sampling, Token
from vlm2vla.vlm.local import LocalModels
from vlm2vla.vlm.registry import ModelRegistry


@pytest.fixture
def tiny_registry(tiny_folder, workspace):
    return ModelRegistry(workspace, shipped=tiny_folder)


@pytest.fixture
def chat(tiny_registry, workspace):
    return Chat(workspace, RegisteredSpeakers(tiny_registry, LocalModels(tiny_registry, max_context=160)))


def begin(chat, *models, **sampling):
    one = chat.new(models)["id"]
    chat.change(one, sampling={"max_new_tokens": 12} | sampling)
    return one


def test_weights_are_loaded_at_the_first_question_and_the_page_is_told(chat):
    one = begin(chat, "base", "lora")
    states = [record["state"] for record in chat.ask(one, "what is it?") if "state" in record]
    assert states == ["loading", "loading", "reading", "reading"]
    states = [record["state"] for record in chat.ask(one, "and now?") if "state" in record]
    assert states == ["reading", "reading"]


def test_a_check_asks_the_weights_that_are_loaded(tiny_registry, monkeypatch):
    from vlm2vla.vlm.local import weights

    loads, load = [], weights.load_model
    monkeypatch.setattr(weights, "load_model", lambda path, *more: loads.append(path) or load(path, *more))
    models = LocalModels(tiny_registry)
    models.load("base")
    speakers = RegisteredSpeakers(tiny_registry, models)
    assert speakers.check("base")["ok"]
    assert speakers.check("lora")["difference"] > 0.01
    assert len(loads) == 1


def test_several_texts_are_scored_and_their_question_is_read_once(chat):
    question = [Message("user", ("how many cubes are there on the table?",))]
    model, alone = chat.speakers.model("lora"), chat.speakers.model("lora")
    first = model.score(question, "two")
    read = model.counts.read_tokens
    second = model.score(question, "three of them")
    assert model.counts.read_tokens == read
    assert second == alone.score(question, "three of them")
    assert first != second


def test_an_adapter_that_is_removed_in_mid_answer_says_so_and_the_base_goes_on(
    chat, tiny_registry, tiny_folder, monkeypatch
):
    from vlm2vla.vlm.local.weights import Weights

    removed, forward = threading.Event(), Weights.forward

    def held(self, rows, ids, *arguments):
        """The second token waits for the removal."""
        return (ids.shape[1] > 1 or removed.wait(20)) and forward(self, rows, ids, *arguments)

    monkeypatch.setattr(Weights, "forward", held)
    tiny_registry.add("second", str(tiny_folder / "lora"), base="base")
    one = begin(chat, "base", "second", max_new_tokens=30)
    answers = chat.ask(one, "what is it?")
    next(record for record in answers if "text" in record)
    chat.speakers.remove("second")
    removed.set()
    base, second = list(answers)[-1]["answers"]
    assert (second["end"], "unloaded" in second["problem"]) == ("error", True)
    assert base["end"] in ("done", "length")
    assert [entry.name for entry in chat.speakers.entries()] == ["base", "lora", "full"]
    with pytest.raises(ConfigError):
        chat.speakers.remove("lora")


def test_a_conversation_past_the_context_is_refused_in_the_pane_and_nothing_is_lost(chat):
    one = begin(chat, "base")
    ends = []
    for number in range(12):
        shown = list(chat.ask(one, f"question {number}: how many cubes are there on the table?"))[-1]
        ends.append(shown["answers"][0]["end"])
    assert ends[0] in ("done", "length")
    assert ends[-1] == "error"
    assert "tokens" in shown["answers"][0]["problem"]
    assert len(chat.open(one)["exchanges"]) == 12


def test_a_server_answers_beside_a_local_model_and_its_faults_stay_in_its_pane(chat, tiny_registry):
    with OpenAIServer() as server:
        tiny_registry.add("remote", server.url, model="base")
        one = begin(chat, "base", "remote")
        remote = list(chat.ask(one, "what is it?"))[-1]["answers"][1]
        assert (remote["text"], remote["problem"]) == ("It is réd.", "")
        server.fault = "500"
        local, remote = list(chat.ask(one, "and now?"))[-1]["answers"]
    assert local["end"] in ("done", "length")
    assert (remote["end"], "500" in remote["problem"]) == ("error", True)


def test_an_answer_that_is_done_does_not_wait_for_the_longer_one_beside_it(tiny_registry):
    class Uneven:
        def loaded(self):
            return ()

        def stream_together(self, names, messages, sampling, *, stopped, awake):
            yield "base", Token("yes", -0.1)
            yield "base", Token("", ended=True)
            yield "lora", Token("a ", -0.1)
            yield "lora", Token("longer answer", -0.1)

    said = list(
        RegisteredSpeakers(tiny_registry, Uneven()).speak({"base": [], "lora": []}, Sampling(), threading.Event())
    )
    assert said.index(("base", None)) < said.index(("lora", Token("a ", -0.1)))
    assert said[-1] == ("lora", None)
    assert len([what for _, what in said if what is None]) == 2


def test_a_stop_is_heard_while_weights_load_and_a_server_hangs(tiny_registry):
    released = threading.Event()

    class Silent:
        def loaded(self):
            return ()

        def stream_together(self, names, messages, sampling, *, stopped, awake):
            released.wait(20)
            yield from ()

    stopped = threading.Event()
    threading.Timer(0.2, stopped.set).start()
    began = time.monotonic()
    said = list(RegisteredSpeakers(tiny_registry, Silent()).speak({"base": [], "lora": []}, Sampling(), stopped))
    took = time.monotonic() - began
    released.set()
    assert said == [("base", None), ("lora", None)]
    assert took < 10
