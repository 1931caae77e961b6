"""Action tokens: ten tokens, fixed width, nothing in between."""

import numpy as np
import pytest

from vlm2vla.config import LanguageConfig
from vlm2vla.errors import ActionParseError, AnnotationError, ConfigError
from vlm2vla.language import GEMMA_UNUSED, form, make_form
from vlm2vla.types import ActionChunk

DIGITS = tuple("abcdefghij")
TOKENS = form("tokens:0.5cm:a,b,c,d,e,f,g,h,i,j")
CHUNK = ActionChunk(np.array([[0.025, 0.0, -0.05, 1.0], [0.0, 0.0, -0.03, 0.0]]))
# 500 is zero; 2.5 cm are five steps: 505 500 490 1, 500 500 494 0.
TEXT = "faffaaejabfaafaaejea"


def test_values_are_shifted_multiples_of_fixed_width():
    assert TOKENS.verbalize(CHUNK) == TEXT
    assert TOKENS.parse(TEXT) == CHUNK


def test_the_default_tokens_are_those_gemma_never_uses():
    text = form("tokens:0.5cm").verbalize(CHUNK)
    assert text == "".join(GEMMA_UNUSED["abcdefghij".index(letter)] for letter in TEXT)
    assert form("tokens:0.5cm").parse(text) == CHUNK


def test_a_finer_resolution_takes_more_digits():
    assert len(form("tokens:0.1cm:" + ",".join(DIGITS)).verbalize(CHUNK)) == 2 * (3 * 4 + 1)


def test_no_rows_are_one_token():
    empty = ActionChunk(np.zeros((0, 4)))
    assert TOKENS.verbalize(empty) == "a"
    assert len(TOKENS.parse("a")) == 0


def test_spaces_and_text_behind_are_read():
    assert TOKENS.parse(f" Action: {TEXT[:10]} {TEXT[10:]} !") == CHUNK


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "nothing"),
        ("505", 0, "tokens"),
        (TEXT[:-1], 10, "10 tokens"),
        (TEXT + "f", 20, "10 tokens"),
        ("jaafaaejab", 0, "beyond"),
        ("faafaajjab", 6, "beyond"),
        ("faffaaejac", 9, "gripper"),
        (TEXT[:10] + " then " + TEXT[10:], 10, "one run"),
        (TEXT[:10] * 65, 640, "more than 64 rows"),
    ],
)
def test_anything_else_is_refused_at_its_place(text, position, reason):
    with pytest.raises(ActionParseError, match=reason) as caught:
        TOKENS.parse(text)
    assert caught.value.position == position


def test_a_full_chunk_of_default_tokens_is_within_the_parsers_bound():
    full = ActionChunk(np.tile([0.995, -0.995, 0.5, 1.0], (64, 1)))
    action_form = form("tokens:0.01cm")
    assert action_form.parse(action_form.verbalize(full)) == full


@pytest.mark.parametrize(
    "tokens", [DIGITS[:9], (*DIGITS[:9], "a"), (*DIGITS[:9], "ab"), (*DIGITS[:9], " "), (*DIGITS[:9], "")]
)
def test_tokens_that_could_be_confused_are_refused(tokens):
    with pytest.raises(ConfigError):
        form("tokens:0.5cm:" + ",".join(tokens))


@pytest.mark.parametrize("name", ["tokens:0.5cm", "tokens:0.1cm:a,b,c,d,e,f,g,h,i,j"])
def test_the_name_makes_the_same_form_again(name):
    assert form(name).name == name
    assert form(form(name).name) == form(name)


@pytest.mark.parametrize("token", ["a,b", "a:b", 'a"', "\\"])
def test_tokens_that_no_name_or_grammar_can_hold_are_refused(token):
    with pytest.raises(ConfigError, match="ten texts"):
        make_form(LanguageConfig(form="tokens"), tokens=(*DIGITS[:9], token))


def test_too_much_motion_cannot_be_said():
    with pytest.raises(AnnotationError, match="check the units"):
        TOKENS.verbalize(ActionChunk(np.array([[2.5, 0, 0, 1.0]])))
