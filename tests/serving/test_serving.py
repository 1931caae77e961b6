"""The OpenAI-compatible server, driven by OpenAI's own client over a real socket."""

import base64
import time

import httpx
import openai
import pytest

from tests.running import running
from vlm2vla.errors import ConfigError, ModelInputError, NotFoundError
from vlm2vla.serving import ServeConfig, create_app
from vlm2vla.vlm.chat import Token

JPEG = base64.b64encode(b"\xff\xd8\xff\xe0 not a whole picture").decode()


class Speaker:
    """Says how it was asked; keeps the last request."""

    def __init__(self, name):
        self.name, self.asked, self.stopped = name, [], None

    def stream(self, messages, sampling, *, stopped=None):
        self.asked.append((messages, sampling))
        self.stopped = stopped
        if messages[-1].text == "too long":
            raise ModelInputError("the conversation has 9000 tokens; 2048 fit")
        words = ["I ", "am ", self.name] if messages[-1].text != "talk" else [f"{n} " for n in range(5000)]
        for word in words[: sampling.max_new_tokens]:
            if stopped.is_set():
                return
            time.sleep(0.001 if len(words) > 5 else 0)
            yield Token(word, -0.5, (("I ", -0.5), ("We ", -1.5))[: sampling.top])
        if sampling.max_new_tokens >= len(words):
            yield Token("", -0.1, ended=True)


@pytest.fixture(scope="module")
def speakers():
    return {name: Speaker(name) for name in ("base", "lora")}


@pytest.fixture(scope="module")
def address(speakers):
    with running(create_app(("base", "lora"), speakers.__getitem__, key="secret")) as url:
        yield url


@pytest.fixture
def client(address):
    return openai.OpenAI(base_url=f"{address}/v1", api_key="secret", max_retries=0)


def say(client, text="hello", **more):
    return client.chat.completions.create(
        model=more.pop("model", "base"), messages=[{"role": "user", "content": text}], **more
    )


def test_base_and_adapter_answer_by_name(client):
    assert [model.id for model in client.models.list()] == ["base", "lora"]
    assert say(client, model="lora").choices[0].message.content == "I am lora"
    with pytest.raises(openai.NotFoundError, match="nobody"):
        say(client, model="nobody")


def test_answers_stream_with_probabilities(client):
    events = list(say(client, stream=True, logprobs=True, top_logprobs=2, stream_options={"include_usage": True}))
    assert "".join(event.choices[0].delta.content or "" for event in events if event.choices) == "I am base"
    scored = [event.choices[0].logprobs.content[0] for event in events if event.choices and event.choices[0].logprobs]
    assert (scored[0].logprob, scored[0].top_logprobs[1].token) == (-0.5, "We ")
    assert events[-2].choices[0].finish_reason == "stop"
    assert events[-1].usage.completion_tokens == 3


def test_images_settings_and_grammars_arrive(client, speakers):
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{JPEG}"}},
        {"type": "text", "text": "What is this?"},
    ]
    answer = client.chat.completions.create(
        model="base",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}],
        temperature=0.2,
        seed=7,
        max_tokens=2,
        extra_body={"structured_outputs": {"choice": ["yes", "no"]}},
    )
    assert answer.choices[0].finish_reason == "length"
    messages, sampling = speakers["base"].asked[-1]
    assert messages[0].text == "Be brief."
    assert messages[1].images[0].data == base64.b64decode(JPEG)
    assert (sampling.temperature, sampling.seed, sampling.max_new_tokens) == (0.2, 7, 2)
    assert sampling.grammar == 'root ::= "yes" | "no"'


@pytest.mark.parametrize(
    "more",
    [
        {"n": 2},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "odd"}}}},
        {"response_format": {"type": "json_object"}, "extra_body": {"structured_outputs": {"choice": ["a"]}}},
        {"extra_body": {"top_k": 5}},
        {"extra_body": {"min_p": 0.1}},
        {"extra_body": {"guided_choice": ["a"]}},
        {"extra_body": {"prompt_logprobs": 0}},  # nothing is begun
        {"extra_body": {"continue_final_message": True}},
        {"extra_body": {"nobody_knows_this": 1}},
        {"stop": "x"},
        {"presence_penalty": 1.0},
        {"temperature": -1},
        {"max_tokens": 0},
        {"extra_body": {"structured_outputs": {"regex": "a*"}}},
    ],
)
def test_what_is_not_served_is_refused_not_ignored(client, more):
    with pytest.raises(openai.BadRequestError) as refusal:
        say(client, **more)
    assert refusal.value.body["message"]


def test_settings_that_ask_for_nothing_and_words_about_the_client_are_taken(client):
    settings = {"n": 1, "stop": [], "user": "anna", "presence_penalty": 0, "tool_choice": "none"}
    ours = {"top_k": -1, "min_p": 0, "prompt_logprobs": None, "add_generation_prompt": True, "repetition_penalty": 1.0}
    assert say(client, **settings, response_format={"type": "text"}, extra_body=ours).choices[0].message.content


def test_requests_without_a_seed_get_different_ones_and_the_others_their_own(client, speakers):
    for more in ({}, {}, {"seed": 0}):
        say(client, temperature=1.0, **more)
    first, second, own = (sampling.seed for _, sampling in speakers["base"].asked[-3:])
    assert first != second
    assert own == 0


def test_json_is_asked_for_as_a_grammar(client, speakers):
    say(client, response_format={"type": "json_object"})
    assert "root ::=" in speakers["base"].asked[-1][1].grammar


def test_addresses_are_not_fetched_and_long_conversations_are_refused(client):
    content = [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/secret.png"}}]
    with pytest.raises(openai.BadRequestError, match="data URL"):
        say(client, content)
    with pytest.raises(openai.BadRequestError, match="2048 fit"):
        say(client, "too long")


def test_a_wrong_key_and_bodies_that_are_no_request(address):
    wrong = openai.OpenAI(base_url=f"{address}/v1", api_key="guess", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        say(wrong)
    key = {"authorization": "Bearer secret"}
    for body in (b"", b"[]", b'{"model": "base", "messages": []}'):
        answer = httpx.post(f"{address}/v1/chat/completions", content=body, headers=key)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]


def test_a_client_that_goes_away_ends_the_answer(client, speakers):
    stream = say(client, "talk", stream=True, max_tokens=5000)
    next(iter(stream))
    stream.close()
    assert speakers["base"].stopped.wait(30)


def test_a_client_that_goes_away_ends_an_answer_that_does_not_stream(address, speakers):
    speakers["base"].stopped = None
    impatient = openai.OpenAI(base_url=f"{address}/v1", api_key="secret", max_retries=0, timeout=0.5)
    with pytest.raises(openai.APITimeoutError):
        say(impatient, "talk", max_tokens=5000)
    end = time.monotonic() + 30
    while speakers["base"].stopped is None and time.monotonic() < end:
        time.sleep(0.01)
    assert speakers["base"].stopped.wait(30)


@pytest.mark.parametrize("settings", [{"models": ()}, {"host": "0.0.0.0"}])
def test_settings_that_cannot_be(settings):
    with pytest.raises(ConfigError):
        ServeConfig(**settings)


def test_a_model_that_is_not_there_is_said_before_serving(tmp_path):
    from vlm2vla.cli.console import Common
    from vlm2vla.cli.serving import serve

    with pytest.raises(NotFoundError, match="nobody"):
        serve(ServeConfig(("nobody",)), Common(tmp_path))
