import datetime
import io

import pytest
from PIL import Image
from pydantic import BaseModel

from vlm2vla.config import GeminiConfig
from vlm2vla.errors import ConfigError
from vlm2vla.vlm import ImagePart, VLMRequest
from vlm2vla.vlm.models import load_models

TABLE = load_models()


class Answer(BaseModel):
    text: str


def image(width, height, form="JPEG"):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, form)
    return ImagePart(buffer.getvalue(), f"image/{form.lower()}")


def test_the_default_model_is_in_the_table():
    assert TABLE.find(GeminiConfig().model).retires is None


def test_an_unknown_model_is_refused_with_a_hint_and_a_recipe():
    with pytest.raises(ConfigError, match=r"did you mean 'gemini-3.8-flash'.*--models"):
        TABLE.find("gemini-3.8-flesh")


def test_the_recipe_of_the_message_works(tmp_path):
    with pytest.raises(ConfigError) as caught:
        TABLE.find("gemini-9")
    row = str(caught.value).split('a row like "')[1].removesuffix('"')
    path = tmp_path / "mine.yaml"
    path.write_text(f"checked: 2026-11-01\nmodels:\n  {row}\n")
    assert load_models(path).find("gemini-9").cost(1_000_000, 1_000_000) == pytest.approx(6.0)


def test_prices_change_on_their_day():
    spec = TABLE.find("gemini-3.8-flash")
    assert spec.price(datetime.date(2026, 12, 31)).output == 3.75
    assert spec.price(datetime.date(2027, 1, 1)).output == 7.5


def test_thinking_is_said_in_the_words_of_the_model():
    assert TABLE.find("gemini-3.8-flash").thinking_setting("low") == {"thinking_level": "LOW"}
    assert TABLE.find("gemini-2.5-flash").thinking_setting("low") == {"thinking_budget": 1024}
    assert TABLE.find("gemini-2.5-flash").thinking_setting("default") == {}


def test_a_model_near_its_end_warns():
    spec = TABLE.find("gemini-2.5-pro")
    assert "2026-12-01" in spec.warning("gemini-2.5-pro", datetime.date(2026, 11, 20))
    assert spec.warning("gemini-2.5-pro", datetime.date(2026, 1, 1)) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("checked: [", "not YAML"),
        ("models: {}", "checked"),
        (
            "checked: 2026-01-01\nmodels: {m: {prices: [], thinking: none, max_output_tokens: 1, image_tokens: 1}}",
            "prices",
        ),
        (
            "checked: 2026-01-01\nmodels: {m: {prices: [{input: 1, output: 1}], thinking: level, levels: {low: 1}, "
            "max_output_tokens: 1, image_tokens: 1}}",
            "levels",
        ),
    ],
)
def test_a_broken_table_is_named(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_models(path)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_models(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_image_sizes_are_read_from_the_header(form):
    assert image(800, 1000, form).size_px == (800, 1000)


def test_tiles_are_counted_where_the_model_counts_tiles():
    request = VLMRequest("", (image(1024, 700),), Answer)
    few = TABLE.find("gemini-2.5-flash").estimate(VLMRequest("", (image(700, 700),), Answer))
    assert TABLE.find("gemini-2.5-flash").estimate(request).input_tokens - few.input_tokens == 258


def test_the_worst_case_bounds_the_estimate_and_what_a_reply_can_cost():
    spec = TABLE.find("gemini-3.8-flash")
    request = VLMRequest("order", ("1 2 3 4 5 6 7 8 9",), Answer, max_output_tokens=5000)
    estimate = spec.estimate(request)
    every_byte_a_token = len(request.text.encode())
    assert estimate.cost_usd < estimate.worst_usd
    assert estimate.worst_usd >= spec.cost(every_byte_a_token, 5000)


def test_numbers_take_more_tokens_than_words_of_the_same_length():
    spec = TABLE.find("gemini-3.8-flash")
    rows = "\n".join(f"{step} {step / 5:.1f} -{step}.{step % 10} open 1.0" for step in range(100))
    words = ("reach the carrot " * len(rows))[: len(rows)]
    digits = sum(char.isdigit() for char in rows)
    assert spec.estimate(VLMRequest("", (rows,))).input_tokens >= digits
    assert spec.estimate(VLMRequest("", (words,))).input_tokens == pytest.approx(len(rows) / 3, rel=0.02)
    assert spec.estimate(VLMRequest("", (rows,))).input_tokens <= len(rows)
