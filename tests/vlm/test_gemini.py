"""The real SDK against a server on this computer that speaks the REST API."""

import io
import subprocess
import sys

import pytest
from PIL import Image
from pydantic import BaseModel

from vlm2vla.config import GeminiConfig
from vlm2vla.errors import (
    ConfigError,
    ModelBlockedError,
    ModelError,
    ModelSchemaError,
    ModelTruncatedError,
    ModelUnavailableError,
    SpendingCapError,
)
from vlm2vla.vlm import ImagePart, VLMRequest
from vlm2vla.vlm.gemini import GeminiVLM
from vlm2vla.vlm.governor import Governor, Pacing


class Answer(BaseModel):
    text: str


def request(**changes):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(buffer, "JPEG")
    values = {"system": "Be brief.", "parts": ("Look:", ImagePart(buffer.getvalue()), "What is it?"), "schema": Answer}
    return VLMRequest(**values | changes)


def gemini(*, attempts=4, **config):
    pacing = Pacing(attempts, first_delay_s=0.01)
    config = {"timeout_s": 5.0} | config
    return GeminiVLM(GeminiConfig(**config), governor=Governor(pacing, max_cost=config.get("max_cost", 0.0)))


def test_an_answer_comes_back_parsed_with_its_price(gemini_server):
    answer = gemini().answer(request())
    assert isinstance(answer.parsed, Answer)
    assert answer.model_version == "gemini-3.8-flash"
    paid = gemini_server.log[0]["usage"]
    written = paid["candidatesTokenCount"] + paid["thoughtsTokenCount"]
    assert (answer.input_tokens, answer.output_tokens) == (paid["promptTokenCount"], written)
    price = gemini().spec.price()
    assert answer.cost_usd == pytest.approx((paid["promptTokenCount"] * price.input + written * price.output) / 1e6)


def test_what_is_sent_is_what_was_asked(gemini_server):
    gemini().answer(request(thinking="low", max_output_tokens=777))
    body = gemini_server.bodies[0]
    assert body["systemInstruction"]["parts"][0]["text"] == "Be brief."
    assert [sorted(part)[0] for part in body["contents"][0]["parts"]] == ["text", "inlineData", "text"]
    settings = body["generationConfig"]
    assert settings["maxOutputTokens"] == 777
    assert settings["responseMimeType"] == "application/json"
    assert settings["thinkingConfig"] == {"thinkingLevel": "LOW"}
    assert "temperature" not in settings


def test_older_models_get_a_budget_and_a_temperature(gemini_server):
    gemini(model="gemini-2.5-flash").answer(request(thinking="low"))
    settings = gemini_server.bodies[0]["generationConfig"]
    assert settings["thinkingConfig"] == {"thinkingBudget": 1024}
    assert settings["temperature"] == 0.0


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_both_versions_of_the_api_serve(gemini_server, monkeypatch, version):
    if version == "v1beta":
        monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "beta")
    assert gemini().answer(request()).text
    assert gemini_server.log[0]["path"].startswith(f"/{version}/models/")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("safety", ModelBlockedError),
        ("blocked", ModelBlockedError),
        ("max_tokens", ModelTruncatedError),
        ("truncated", ModelSchemaError),
    ],
)
def test_useless_replies_are_typed_paid_and_not_repeated(gemini_server, fault, kind):
    gemini_server.script = [fault]
    model = gemini()
    with pytest.raises(kind) as caught:
        model.answer(request())
    usage = caught.value.details["usage"]
    assert usage["replies"] == 1
    assert usage["cost_usd"] == pytest.approx(model.spent_usd)
    assert usage["cost_usd"] > 0
    assert len(gemini_server.log) == 1


@pytest.mark.parametrize("fault", ["429", "500", "503", "cut"])
def test_passing_faults_are_tried_again(gemini_server, fault):
    gemini_server.script = [fault, fault]
    events = []
    answer = gemini().answer(request(), watch=events.append)
    assert answer.parsed
    assert len(gemini_server.log) == 3
    assert (answer.usage.uncertain_usd > 0) == (fault == "cut")
    assert events == (["sent"] * 3 if fault == "cut" else ["sent", "unbilled"] * 2 + ["sent"])


@pytest.mark.parametrize("retry_info", [True, False])
def test_the_delay_that_a_429_asks_for_is_kept(gemini_server, retry_info):
    gemini_server.retry_delay_s, gemini_server.retry_info = 0.5, retry_info
    gemini_server.script = ["429"]
    gemini().answer(request())
    first, second = (row["at"] for row in gemini_server.log)
    assert second - first >= 0.5


def test_no_answer_in_time_is_unavailable_and_perhaps_billed(gemini_server):
    gemini_server.script = ["hang"] * 2
    with pytest.raises(ModelUnavailableError, match=r"2 tries failed: no answer within 0.3 s") as caught:
        gemini(attempts=2, timeout_s=0.3).answer(request())
    assert caught.value.details["usage"]["uncertain_usd"] > 0


def test_a_server_that_is_not_there_is_unavailable(monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GEMINI_API_KEY", "test")
    with pytest.raises(ModelUnavailableError, match="cannot reach") as caught:
        gemini(attempts=2).answer(request())
    assert "usage" not in caught.value.details


def test_faults_without_end_are_unavailable_and_free(gemini_server):
    gemini_server.script = ["500"] * 9
    with pytest.raises(ModelUnavailableError, match="4 tries failed") as caught:
        gemini().answer(request())
    assert caught.value.details["code"] == 500
    assert "usage" not in caught.value.details


def test_the_cap_holds_before_anything_is_sent(gemini_server):
    with pytest.raises(SpendingCapError):
        gemini(max_cost=0.001).answer(request())
    assert not gemini_server.log


def test_a_refused_key_or_model_is_a_setting_not_an_episode(gemini_server, monkeypatch):
    monkeypatch.setattr(gemini_server._http.RequestHandlerClass, "generate", lambda self, *_: self.reply(401, {}))
    with pytest.raises(ConfigError, match="check GEMINI_API_KEY"):
        gemini().answer(request())


def test_a_bad_request_is_not_tried_again(gemini_server, tmp_path):
    from vlm2vla.vlm.models import SHIPPED_TABLE

    text = SHIPPED_TABLE.read_text()
    wrong = (
        text.replace("thinking: budget", "thinking: level")
        .replace("{lowest: 0, low: 1024, medium: 8192, high: 24576}", "{lowest: LOW, low: LOW, medium: LOW, high: LOW}")
        .replace(
            "{lowest: 128, low: 1024, medium: 8192, high: 24576}", "{lowest: LOW, low: LOW, medium: LOW, high: LOW}"
        )
    )
    path = tmp_path / "mine.yaml"
    path.write_text(wrong)
    with pytest.raises(ModelError, match="Thinking level is not supported"):
        gemini(model="gemini-2.5-flash", models=path).answer(request(thinking="low"))
    assert len(gemini_server.log) == 1


def test_without_a_key_nothing_starts(monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="GEMINI_API_KEY"):
        gemini()


@pytest.mark.parametrize("url", ["", "https://generativelanguage.googleapis.com", "http://127.0.0.1.example.org"])
def test_only_this_computer_is_ever_asked_in_tests(monkeypatch, url):
    monkeypatch.setenv("GEMINI_API_KEY", "real")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)
    with pytest.raises(ConfigError, match="VLM2VLA_LOCAL_MODELS_ONLY"):
        gemini()


def test_a_dry_run_asks_nothing_that_is_billed(gemini_server):
    model = gemini(dry_run=True)
    assert model.estimate(request(), count=True).counted
    with pytest.raises(ConfigError, match="dry run"):
        model.answer(request())
    assert [row["kind"] for row in gemini_server.log] == ["count"]


def test_a_dry_run_needs_no_key_and_no_network(monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "")
    estimate = gemini(dry_run=True).estimate(request(), count=True)
    assert not estimate.counted
    assert 0 < estimate.cost_usd < estimate.worst_usd


def test_counting_counts_the_system_text_too(gemini_server):
    long = gemini().count_tokens(request(system="word " * 400))
    assert long - gemini().count_tokens(request(system="")) >= 500


def test_importing_the_adapter_does_not_load_the_sdk():
    code = "import sys, vlm2vla.vlm.gemini, vlm2vla.annotation.run; sys.exit('google.genai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
