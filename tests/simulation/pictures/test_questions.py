"""Questions are answered again from the scene's numbers, by code that shares nothing with the makers."""

import json
import random
import re
from collections import Counter, defaultdict

import pytest

from vlm2vla.simulation.pictures.questions import SKILLS, ask
from vlm2vla.simulation.pictures.questions.places import in_words
from vlm2vla.simulation.pictures.questions.texts import texts
from vlm2vla.simulation.pictures.truth import View

KINDS = "cube|cylinder|can|ball|bowl|plate|tray"
COLOURS = "red|green|blue|yellow|orange|purple|pink|white|brown|turquoise"


@pytest.fixture(scope="module")
def asked(picture_set):
    """(view, question) of every picture of the set."""
    lines = (picture_set / "scenes.jsonl").read_text(encoding="utf-8").splitlines()
    views = [View.from_json(json.loads(line)) for line in lines]
    return [(view, each) for number, view in enumerate(views) for each in ask(view, random.Random(number), 80)]


def of(asked, skill, pattern):
    """(view, question, match) of the questions of a skill that a pattern fits."""
    found = [(view, each, re.fullmatch(pattern, each.question)) for view, each in asked if each.skill == skill]
    found = [entry for entry in found if entry[2]]
    assert len(found) > 5, f"{skill}: {pattern}"
    return found


def find(view, phrase):
    """All things that "the red cube", "the cube", "the red object", "the star card" or "the picture of a star" fit."""
    phrase = phrase.removeprefix("the ")
    if card := re.fullmatch(r"(\w+) card|picture of (?:an? |the number )(\w+)", phrase):
        return [thing for thing in view.things if thing.symbol == (card[1] or card[2])]
    match = re.fullmatch(rf"(?:({COLOURS}) ?)?({KINDS}|object|thing)s?", phrase)
    return [
        thing
        for thing in view.things
        if thing.kind != "card"
        and (not match[1] or thing.colour == match[1])
        and (match[2] in ("object", "thing") or thing.kind == match[2])
    ]


def one(view, phrase):
    things = find(view, phrase)
    assert len(things) == 1, (phrase, [thing.name for thing in view.things])
    return things[0]


def test_every_skill_is_asked(asked):
    counts = Counter(each.skill for _, each in asked)
    assert set(counts) >= set(SKILLS) - {"held"}
    assert min(counts.values()) > 5
    for view, each in asked:
        assert each.question
        assert each.answer
        assert each.answer == each.answer.strip()
        assert not each.options or each.answer in each.options
        assert each.thing is None or view.things[each.thing].seen or each.skill in ("gripper", "extreme", "relation")


def test_colour_and_shape(asked):
    for view, each, match in of(asked, "colour", rf".*the ({KINDS})( have)?[?.]"):
        assert one(view, match[1]).colour == each.answer
    for view, each, match in of(asked, "shape", rf".*the (({COLOURS}) (object|thing))[?.]"):
        assert one(view, match[1]).kind == each.answer


def test_count_and_exists(asked):
    for view, each, match in of(
        asked, "count", rf".*?((?:{COLOURS})? ?(?:{KINDS}|object)s)(?: are there| do you see)?[?.]"
    ):
        assert len(find(view, match[1].strip())) == int(each.answer), each
    for view, each, match in of(asked, "exists", rf".* an? ((?:{COLOURS})? ?(?:{KINDS}|object))(?: in the picture)?\?"):
        assert bool(find(view, match[1].strip())) == (each.answer == "yes"), each
    answers = Counter(each.answer for _, each in asked if each.skill == "exists")
    assert 0.35 < answers["yes"] / sum(answers.values()) < 0.65


def test_relations_are_those_of_the_robot(asked):
    signs = {
        "to the left of": ("y_cm", 1),
        "to the right of": ("y_cm", -1),
        "behind": ("x_cm", 1),
        "in front of": ("x_cm", -1),
    }
    for view, each, match in of(
        asked, "relation", r"Is (.*) (to the left of|to the right of|behind|in front of) (.*)\?"
    ):
        axis, sign = signs[match[2]]
        way = sign * (getattr(one(view, match[1]), axis) - getattr(one(view, match[3]), axis))
        assert (way > 0) == (each.answer == "yes"), each
        assert abs(way) >= 2.5


def test_extremes_and_regions(asked):
    for view, each, match in of(asked, "extreme", r"What is the (leftmost|rightmost) object( on the table)?\?"):
        things = [thing for thing in view.things if thing.kind != "card" and not thing.held]
        best = (max if match[1] == "leftmost" else min)(things, key=lambda thing: thing.y_cm)
        assert each.answer == f"{best.colour} {best.kind}"
    for view, each, match in of(asked, "region", r"In which part of the table is (.*): left, middle or right\?"):
        y = one(view, match[1]).y_cm
        assert each.answer == ("left" if y > 8.7 else "right" if y < -8.7 else "middle")


def test_places_and_offsets_are_the_numbers_of_the_scene(asked):
    for view, each, match in of(asked, "pointing", r"Where is (the (?!gripper).*)\?"):
        thing = one(view, match[1])
        assert json.loads(each.answer) == [round(thing.x_cm), round(thing.y_cm)]
    for view, each, match in of(asked, "offset", r"What is the offset from the gripper to (.*)\?"):
        thing, hand = one(view, match[1]), view.gripper
        said = json.loads(each.answer)
        assert said == pytest.approx([thing.dx_cm, thing.dy_cm, thing.dz_cm], abs=0.26)
        assert [hand.x_cm + said[0], hand.y_cm + said[1]] == pytest.approx([thing.x_cm, thing.y_cm], abs=0.3)
    for view, each, match in of(asked, "offset", r"Say in words how to get from the gripper to (.*)\."):
        thing = one(view, match[1])
        assert each.answer == in_words(thing.dx_cm, thing.dy_cm, thing.dz_cm)
    assert in_words(12.1, -3.4, -8.0) == "forward 12 cm, right 3.5 cm, down 8 cm"
    assert in_words(-0.2, 0.1, 0.0) == "here"


def test_the_gripper_and_what_it_holds(asked):
    for view, each, _ in of(asked, "gripper", r"What is (the gripper holding|in the gripper)\?"):
        held = [thing for thing in view.things if thing.held]
        assert each.answer == (f"{held[0].colour} {held[0].kind}" if held else "nothing")
        assert (view.gripper.holding == "") == (not held)
    for view, each, _ in of(asked, "height", r"(How|Gripper).*"):
        assert each.answer == f"{round(view.gripper.z_cm)} cm"
    assert any(view.gripper.holding for view, _ in asked)


def test_symbols_and_what_is_beside_them(asked):
    for view, each, match in of(asked, "beside", r"(?:What is next to|Which object is beside|What lies near) (.*)\?"):
        card = one(view, match[1])
        thing = view.things[each.thing]
        assert thing.beside == card.name
        assert each.answer == f"{thing.colour} {thing.kind}"
        gap = ((thing.x_cm - card.x_cm) ** 2 + (thing.y_cm - card.y_cm) ** 2) ** 0.5
        assert gap < 21  # a tray and a card, corner to corner
    for view, each, _ in of(asked, "symbol", r"Which cards are there, from left to right\?"):
        cards = sorted((thing for thing in view.things if thing.symbol), key=lambda thing: -thing.y_cm)
        assert each.answer == ", ".join(card.symbol for card in cards)


def test_synonyms_mean_the_plain_word(asked):
    plain = {"block": "cube", "tube": "cylinder", "tin": "can", "sphere": "ball"}
    for view, each, match in of(asked, "synonym", r".*(block|tube|tin|sphere)( have)?[?.]"):
        if each.scorer == "choice":
            assert one(view, plain[match[1]]).colour == each.answer


def test_other_languages_say_the_same(asked):
    patterns = {
        "es": (
            r"¿De qué color es (?:el|la) (\w+)\?",
            {"cubo": "cube", "lata": "can", "pelota": "ball", "plato": "plate"},
        ),
        "zh": (r"(\w+)是什么颜色？", {"方块": "cube", "罐子": "can", "球": "ball", "盘子": "plate"}),
        "hi": (r"(\S+) का रंग क्या है\?", {"घन": "cube", "डिब्बे": "can", "गेंद": "ball", "प्लेट": "plate"}),
    }
    answers = {
        "es": {"rojo": "red", "azul": "blue", "verde": "green", "amarillo": "yellow"},
        "zh": {"红色": "red", "蓝色": "blue", "绿色": "green", "黄色": "yellow"},
        "hi": {"लाल": "red", "नीला": "blue", "हरा": "green", "पीला": "yellow"},
    }
    checked = defaultdict(int)
    for view, each in asked:
        if each.skill != "language":
            continue
        pattern, kinds = patterns[each.language]
        match = re.fullmatch(pattern, each.question)
        if match and match[1] in kinds and each.answer in answers[each.language]:
            assert one(view, kinds[match[1]]).colour == answers[each.language][each.answer]
            checked[each.language] += 1
    assert set(checked) == {"es", "zh", "hi"}


def test_sums_and_lists_are_right():
    rows = texts(random.Random(3), 6000)
    assert {row["skill"] for row in rows} == {"facts", "arithmetic", "words", "format"}
    assert {row["language"] for row in rows} == {"en", "es", "zh", "hi"}
    checked = 0
    for row in rows:
        if match := re.fullmatch(r"What is (-?[\d.]+) (plus|minus|times) (-?[\d.]+)\?", row["question"]):
            one_, other = float(match[1]), float(match[3])
            right = {"plus": one_ + other, "minus": one_ - other, "times": one_ * other}[match[2]]
            assert float(row["answer"]) == right
            checked += 1
        if match := re.fullmatch(r"Divide (\[.*\]) into (\d) equal rows\.", row["question"]):
            parts = json.loads(row["answer"])
            assert len(parts) == int(match[2])
            assert [sum(column) for column in zip(*parts, strict=True)] == json.loads(match[1])
            checked += 1
        assert "-0.0" not in row["answer"]
    assert checked > 300
