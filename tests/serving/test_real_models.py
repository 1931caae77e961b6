"""Base and adapter of the real classes behind the server, asked by OpenAI's own client and by ours."""

import base64
import json

import openai
import pytest

from tests.running import running
from tests.vlm.tiny_model import picture
from vlm2vla.serving import create_app
from vlm2vla.vlm.chat import Message, Sampling
from vlm2vla.vlm.local import LocalModels
from vlm2vla.vlm.openai import OpenAIChat
from vlm2vla.vlm.protocol import ImagePart
from vlm2vla.vlm.registry import ModelEntry, ModelRegistry
from vlm2vla.workspace import Workspace

QUESTION, TOKENS = "what colour is the cube?", 12


@pytest.fixture(scope="module")
def models(tiny_folder, tmp_path_factory):
    return LocalModels(ModelRegistry(Workspace.open(tmp_path_factory.mktemp("workspace")), shipped=tiny_folder))


@pytest.fixture(scope="module")
def address(models):
    with running(create_app(("base", "lora"), models.model)) as url:
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def client(address):
    return openai.OpenAI(base_url=address, api_key="none", max_retries=0)


def looking(number=1, text=QUESTION):
    url = f"data:image/png;base64,{base64.b64encode(picture(number)).decode()}"
    return [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}],
        }
    ]


def ask(client, model="base", messages=None, **more):
    settings = {"temperature": 0, "max_tokens": TOKENS} | more
    return client.chat.completions.create(model=model, messages=messages or looking(), **settings)


def test_base_and_adapter_answer_about_an_image_as_they_do_here(client, models):
    message = Message("user", (ImagePart(picture(1), "image/png"), QUESTION))
    said = {}
    for name in ("base", "lora"):
        tokens = list(models.model(name).stream([message], Sampling(max_new_tokens=TOKENS)))
        choice = ask(client, name, logprobs=True).choices[0]
        said[name] = choice.message.content
        assert said[name] == "".join(token.text for token in tokens)
        told = [token.logprob for token in choice.logprobs.content]
        assert told == pytest.approx([token.logprob for token in tokens if not token.ended], abs=1e-4)
    assert said["base"] != said["lora"]


def test_another_image_gives_other_probabilities(client):
    red, blue = (
        ask(client, messages=looking(number), logprobs=True, top_logprobs=3).choices[0].logprobs.content[0]
        for number in (1, 2)
    )
    assert red.logprob != pytest.approx(blue.logprob, abs=1e-3)
    assert [other.logprob for other in red.top_logprobs] == sorted((o.logprob for o in red.top_logprobs), reverse=True)


def test_a_stream_says_the_same_piece_by_piece(client):
    events = list(ask(client, "lora", stream=True, logprobs=True))
    pieces = [event.choices[0].delta.content or "" for event in events]
    assert "".join(pieces) == ask(client, "lora").choices[0].message.content
    assert sum(bool(piece) for piece in pieces) > 1


def test_answers_follow_a_grammar_a_choice_and_a_json_schema(client):
    grammar = {"structured_outputs": {"grammar": 'root ::= "yes, " ("the cube" | "the carrot")'}}
    assert ask(client, extra_body=grammar).choices[0].message.content in ("yes, the cube", "yes, the carrot")
    choice = ask(client, "lora", extra_body={"structured_outputs": {"choice": ["left", "right"]}}).choices[0]
    assert choice.message.content in ("left", "right")
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "open": {"type": "boolean"}},
        "required": ["colour", "open"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "cube", "schema": schema, "strict": True}}
    answer = ask(client, response_format=wanted, max_tokens=80).choices[0]
    found = json.loads(answer.message.content)
    assert answer.finish_reason == "stop"
    assert found["colour"] in ("red", "blue")
    assert isinstance(found["open"], bool)


def test_unseeded_requests_differ_and_seeded_ones_do_not(client):
    free = {ask(client, temperature=1.0, max_tokens=30).choices[0].message.content for _ in range(4)}
    same = {ask(client, temperature=1.0, max_tokens=30, seed=5).choices[0].message.content for _ in range(3)}
    assert (len(free) > 1, len(same)) == (True, 1)


def test_our_own_client_finds_out_what_the_server_does(address, models):
    far = OpenAIChat(ModelEntry("far", "openai", url=address, model="lora"))
    can = far.probe()
    assert (can.images, can.logprobs, can.grammar, can.continues, can.scores) == (True, True, True, True, True)
    message = Message("user", (ImagePart(picture(1), "image/png"), QUESTION))
    begun = (message, Message("assistant", ("red",)))
    for messages in ((message,), begun):
        here, there = (
            "".join(token.text for token in model.stream(messages, Sampling(max_new_tokens=TOKENS)))
            for model in (models.model("lora"), far)
        )
        assert here == there


def test_a_given_answer_is_scored_as_it_is_here(address, client, models):
    message = Message("user", (ImagePart(picture(1), "image/png"), QUESTION))
    for name in ("base", "lora"):
        far = OpenAIChat(ModelEntry("far", "openai", url=address, model=name))
        here, there = (model.score((message,), "the red cube") for model in (models.model(name), far))
        assert [token.text for token in there] == [token.text for token in here]
        assert [token.logprob for token in there] == pytest.approx([token.logprob for token in here], abs=1e-4)
    begun = [*looking(), {"role": "assistant", "content": "the red cube"}]
    for more in ({"prompt_logprobs": 2}, {"prompt_logprobs": -1}):
        with pytest.raises(openai.BadRequestError, match="prompt_logprobs"):
            ask(client, messages=begun, extra_body=more)
    with pytest.raises(openai.BadRequestError, match="prompt_logprobs"):
        ask(client, messages=begun, stream=True, extra_body={"prompt_logprobs": 0})
