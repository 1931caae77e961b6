"""Models of OpenAI-compatible servers, through the real client, against a server on this computer."""

import base64
import math
import threading
import time

import pytest

from tests.vlm.openai_server import OpenAIServer
from tests.vlm.tiny_model import picture
from vlm2vla.errors import ConfigError, ModelError, ModelInputError, ModelUnavailableError
from vlm2vla.vlm.chat import Message, Sampling
from vlm2vla.vlm.openai import OpenAIChat
from vlm2vla.vlm.protocol import ImagePart
from vlm2vla.vlm.registry import ModelEntry
from vlm2vla.vlm.remote import open_remote
from vlm2vla.vlm.together import unless_stopped

ASK = (Message("system", ("short",)), Message("user", ("what colour?",)))


@pytest.fixture
def server():
    with OpenAIServer() as running:
        yield running


def chat(server, model="lora", **more):
    return OpenAIChat(ModelEntry("far", "openai", url=server.url, model=model), **more)


def text(tokens):
    return "".join(token.text for token in tokens)


def test_an_answer_streams_with_probabilities_and_alternatives(server):
    tokens = list(chat(server).stream(ASK, Sampling(temperature=0.5, top_p=0.9, seed=3, top=2)))
    assert text(tokens) == "It is réd."
    assert tokens[-1].ended
    assert [token.logprob for token in tokens[:-1]] == [-0.5] * 4
    assert [len(token.alternatives) for token in tokens[:-1]] == [2] * 4
    body = server.bodies[-1]
    assert (body["temperature"], body["top_p"], body["seed"], body["model"]) == (0.5, 0.9, 3, "lora")
    assert body["messages"][0] == {"role": "system", "content": "short"}


def test_images_go_as_they_are(server):
    image = ImagePart(picture(3), "image/png")
    list(chat(server).stream((Message("user", (image, "what?")),), Sampling()))
    shown, asked = server.bodies[-1]["messages"][0]["content"]
    head, data = shown["image_url"]["url"].split(",")
    assert (head, base64.b64decode(data)) == ("data:image/png;base64", image.data)
    assert asked == {"type": "text", "text": "what?"}


def test_a_server_without_probabilities_gives_text_all_the_same():
    with OpenAIServer(can=("images",)) as server:
        tokens = list(chat(server).stream(ASK, Sampling()))
    assert text(tokens) == "It is réd."
    assert all(math.isnan(token.logprob) for token in tokens)


def test_an_answer_that_was_cut_short_does_not_end(server):
    tokens = list(chat(server).stream(ASK, Sampling(max_new_tokens=2)))
    assert (text(tokens), tokens[-1].ended) == ("It is ", False)


def test_what_a_server_does_is_found_out():
    with OpenAIServer() as able, OpenAIServer(can=()) as unable:
        can = chat(able).probe()
        assert (can.images, can.logprobs, can.grammar, can.continues, can.scores) == (True,) * 5
        cannot = chat(unable).probe()
        assert (cannot.images, cannot.logprobs, cannot.grammar, cannot.continues, cannot.scores) == (False,) * 5


def test_what_a_server_would_ignore_is_not_asked_of_it():
    with OpenAIServer(can=("images", "logprobs")) as server:
        model = chat(server)
        with pytest.raises(ModelInputError, match="does not follow grammars"):
            list(model.stream(ASK, Sampling(grammar='root ::= "yes"')))
        with pytest.raises(ModelInputError, match="cannot continue"):
            list(model.stream((*ASK, Message("assistant", ("It",))), Sampling()))
        with pytest.raises(ModelError, match="does not tell"):
            model.score(ASK, "It is red")


def test_a_grammar_and_a_begun_answer_reach_a_server_that_knows_them(server):
    assert text(chat(server).stream(ASK, Sampling(grammar='root ::= "yes"'))) == "yes"
    list(chat(server).stream((*ASK, Message("assistant", ("It",))), Sampling()))
    assert server.bodies[-1]["continue_final_message"] is True
    assert server.bodies[-1]["add_generation_prompt"] is False


def test_a_given_answer_is_scored(server):
    tokens = chat(server).score(ASK, "move the gripper")
    assert [(token.text, token.logprob) for token in tokens] == [("move", -1.0), (" the", -2.0), (" gripper", -3.0)]


@pytest.mark.parametrize("can", [("logprobs",), ("logprobs", "swallows"), ("swallows",)])
def test_a_model_that_cannot_see_refuses_images_loudly_even_where_its_server_takes_them(can, tiny_registry):
    with OpenAIServer(can=can) as server:
        with pytest.raises(ModelInputError, match="far does not see"):
            list(chat(server).stream((Message("user", (ImagePart(picture(1)), "what?")),), Sampling()))
        assert text(chat(server).stream(ASK, Sampling())) == "It is réd.", "words alone are answered"
        tiny_registry.add("far", server.url, model="lora")
        assert "does not see" in tiny_registry.check("far").problems[0]


def test_a_server_that_sees_is_probed_once_with_probabilities_or_without():
    for can in (("images", "logprobs"), ("images",)):
        with OpenAIServer(can=can) as server:
            model = chat(server)
            for number in range(3):
                list(model.stream((Message("user", (ImagePart(picture(number)), "what?")),), Sampling()))
            assert sum(bool(body.get("stream")) for body in server.bodies) == 3
            assert len(server.bodies) < 15


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("500", ModelUnavailableError, "500: no luck"),
        ("401", ModelUnavailableError, "401: no luck"),
        ("400", ModelInputError, "400: no luck"),
        ("garbage", ModelUnavailableError, "broke off"),
    ],
)
def test_faults_are_typed_errors(server, fault, error, says):
    server.fault = fault
    with pytest.raises(error, match=says):
        list(chat(server).stream(ASK, Sampling()))


def test_an_unknown_model_and_an_absent_server_say_so(server):
    with pytest.raises(ModelUnavailableError, match="does not exist"):
        list(chat(server, "other").stream(ASK, Sampling()))
    with pytest.raises(ModelUnavailableError, match="cannot reach"):
        list(OpenAIChat(ModelEntry("x", "openai", url="http://127.0.0.1:9/v1", model="x")).stream(ASK, Sampling()))


def test_a_server_that_hangs_is_given_up_and_a_stop_is_heard_meanwhile(server):
    server.fault = "hang"
    with pytest.raises(ModelUnavailableError):
        list(chat(server, timeout_s=0.5).stream(ASK, Sampling()))
    stopped, seen = threading.Event(), []
    started = time.monotonic()
    for token in chat(server, timeout_s=60).stream(ASK, Sampling(), stopped=stopped):
        seen.append(token)
        if len(seen) == 2:
            threading.Timer(0.2, stopped.set).start()
    assert text(seen) == "It is "
    assert time.monotonic() - started < 50


def test_the_key_of_openai_goes_nowhere_else(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("VLM2VLA_SERVER_KEY", "for this server")
    list(chat(server).stream(ASK, Sampling()))
    assert server.keys[-1] == "Bearer for this server"


def test_servers_elsewhere_are_refused_while_only_local_models_are_allowed():
    with pytest.raises(ConfigError, match="only models on this computer"):
        OpenAIChat(ModelEntry("far", "openai", url="https://example.org/v1", model="x"))


def test_check_reports_a_server(server, tiny_registry):
    tiny_registry.add("far", server.url, model="lora")
    tiny_registry.add("gone", server.url, model="nobody")
    assert tiny_registry.check("far").problems == ()
    assert "the server offers base, lora" in tiny_registry.check("gone").problems[0]


def test_gemini_answers_as_a_chat_model(gemini_server):
    model = open_remote(ModelEntry("gemini", "gemini", model="gemini-3.8-flash"))
    tokens = list(model.stream((*ASK, Message("assistant", ("red",)), Message("user", ("sure?",))), Sampling()))
    assert text(tokens)
    assert tokens[-1].ended
    with pytest.raises(ModelInputError, match="grammar"):
        list(model.stream(ASK, Sampling(grammar='root ::= "a"')))


def test_gemini_is_asked_with_the_same_sampling_where_it_takes_it_and_the_log_says_where_not(gemini_server, caplog):
    warm = Sampling(temperature=0.7, top_p=0.9, seed=2**31 + 7)
    list(open_remote(ModelEntry("pro", "gemini", model="gemini-3.1-pro-preview")).stream(ASK, warm))
    settings = gemini_server.bodies[-1]["generationConfig"]
    assert (settings["temperature"], settings["topP"], settings["seed"]) == (0.7, 0.9, 7)
    flash = open_remote(ModelEntry("flash", "gemini", model="gemini-3.8-flash"))
    list(flash.stream(ASK, Sampling(seed=3)))
    assert "in its own way" not in caplog.text
    list(flash.stream(ASK, Sampling(temperature=0.7, top_p=0.5, seed=3)))
    assert "gemini-3.8-flash samples in its own way" in caplog.text
    settings = gemini_server.bodies[-1]["generationConfig"]
    assert (settings["seed"], settings.keys() & {"temperature", "topP"}) == (3, set())


def test_a_stop_is_heard_while_gemini_is_silent_and_a_stopped_question_is_not_paid_for(gemini_server):
    gemini_server.latency_s = 60.0
    model = open_remote(ModelEntry("gemini", "gemini", model="gemini-3.8-flash"))
    stopped = threading.Event()

    def press():
        while not gemini_server.under_way:
            time.sleep(0.01)
        stopped.set()

    threading.Thread(target=press, daemon=True).start()
    assert list(model.stream(ASK, Sampling(), stopped=stopped)) == []
    assert gemini_server.under_way == 1  # it is silent still
    assert list(model.stream(ASK, Sampling(), stopped=stopped)) == []
    assert gemini_server.most_under_way == 1


def test_what_fails_while_a_stop_is_listened_for_fails_as_without():
    def fail():
        raise TimeoutError("of the call itself")

    for stopped in (None, threading.Event()):
        with pytest.raises(TimeoutError, match="itself"):
            unless_stopped(fail, stopped)
