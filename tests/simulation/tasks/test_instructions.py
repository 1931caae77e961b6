import re
from types import SimpleNamespace

import pytest

from vlm2vla.errors import ConfigError
from vlm2vla.simulation import instructions
from vlm2vla.simulation.instructions import LANGUAGES, Roles, phrase, say, templates

KEYS = ("pick-up", "pick-and-place", "pick-place-lift", "reference-picture")


def thing(kind, colour="red", symbol=""):
    return SimpleNamespace(name=f"{colour} {kind}", kind=kind, colour=colour, symbol=symbol)


ROLES = Roles(thing("can"), thing("bowl", "blue"), thing("ball", "green"), thing("card", "white", "star"))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("key", KEYS)
def test_no_held_out_wording_is_a_wording_of_the_data(language, key):
    train, held_out = templates(key, language), templates(key, language, held_out=True)
    assert train
    assert held_out
    assert not set(train) & set(held_out)
    said = [say(template, ROLES, language) for template in (*train, *held_out)]
    assert len(set(said)) == len(said)
    assert not re.search(r"[{}\[\]]|  ", " ".join(said))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_wording_names_whom_it_is_about(language):
    parts = {
        "pick-up": [ROLES.target],
        "pick-and-place": [ROLES.target, ROLES.destination],
        "pick-place-lift": [ROLES.target, ROLES.destination, ROLES.second],
        "reference-picture": [ROLES.picture],
    }
    for key, things in parts.items():
        for held_out in (False, True):
            for template in templates(key, language, held_out=held_out):
                text = say(template, ROLES, language)
                for one in things:
                    # Contractions ("al tazón") eat the article.
                    words = phrase(one, language).removeprefix("el ").removeprefix("la ")
                    assert words in text, (text, words)


def test_phrases_agree_in_gender_and_contract():
    assert phrase(thing("can"), "es") == "la lata roja"
    assert phrase(thing("cube"), "es") == "el cubo rojo"
    assert phrase(thing("ball", "blue"), "hi") == "नीली गेंद"
    assert phrase(thing("bowl", "blue"), "hi") == "नीले कटोरे"
    assert phrase(thing("cube"), "zh") == "红色的方块"
    assert say("lleva {target} a {destination}", ROLES, "es") == "lleva la lata roja al tazón azul"
    assert say("put {target} {onto}", ROLES, "en") == "put the red can in the blue bowl"


def test_pictures_are_named_by_symbol_or_digit():
    assert phrase(thing("card", "white", "star"), "en") == "the picture of a star"
    assert phrase(thing("card", "white", "7"), "en") == "the picture of the number 7"


def test_synonyms_are_in_no_wording_of_the_data():
    rare = instructions.held_out_words()
    kinds, colours = ("cube", "cylinder", "can", "ball"), ("red", "green", "blue", "yellow", "orange", "purple")
    for kind in kinds:
        for colour in colours:
            target = thing(kind, colour)
            for key in KEYS[:3]:
                for template in templates(key, "en"):
                    text = say(template, Roles(target, ROLES.destination, ROLES.second), "en")
                    assert not rare & set(re.findall(r"[a-z-]+", text.lower())), text
    assert say("lift {target}", Roles(thing("cube")), "en", "synonym") == "lift the red block"
    assert say("lift {target}", Roles(thing("cube")), "en", "colour") == "lift the scarlet cube"


def test_unknown_names_say_what_is_known():
    with pytest.raises(ConfigError, match="did you mean 'es'"):
        phrase(thing("cube"), "ess")
    with pytest.raises(ConfigError, match="did you mean 'pick-up'"):
        templates("pickup", "en")
    with pytest.raises(ConfigError, match="colour 'mauve'"):
        phrase(thing("cube", "mauve"), "en")


def test_the_alphabet_holds_every_instruction():
    letters = instructions.alphabet()
    for language in LANGUAGES:
        for key in KEYS:
            for held_out in (False, True):
                for template in templates(key, language, held_out=held_out):
                    assert set(say(template, ROLES, language)) <= letters
