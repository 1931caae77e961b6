"""Word lists for the short English imperatives of robot data sets: verbs and their forms, prepositions, articles.

Only data and look-ups; grammar is in `objects`.
"""

import re
from typing import Literal

TaskKind = Literal["place", "pick", "contact", "unknown"]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PLACE = _set(
    "put place move bring transfer drop set stack insert store throw toss deliver transport relocate lay hang carry "
    "shift return load unload dump stick rearrange arrange reposition"
)
_PICK = _set("pick grab grasp lift raise get hold take fetch retrieve remove collect catch")
# Verbs that act with closed fingers, so that closing them takes hold of nothing.
BARE_HAND = _set("push slide press nudge poke sweep drag swipe wipe touch hit knock tap scrub brush clean reach stir")
_SHAPE = _set(
    "turn rotate flip twist open close shut fold unfold pour tilt pull unlock lock switch spin screw unscrew wash "
    "scoop squeeze uncover cover straighten roll unroll dip shake hand align tip topple"
)
_IRREGULAR = {
    "took": "take", "taken": "take", "brought": "bring", "got": "get", "held": "hold", "hung": "hang",
    "threw": "throw", "laid": "lay", "spun": "spin", "shaken": "shake", "stuck": "stick", "caught": "catch",
}  # fmt: skip
KINDS: dict[str, TaskKind] = {
    **dict.fromkeys(sorted(_PLACE), "place"),
    **dict.fromkeys(sorted(_PICK), "pick"),
    **dict.fromkeys(sorted(BARE_HAND | _SHAPE), "contact"),
}

ARTICLES = _set("a an the some this that these those your my its his her their")
PRONOUNS = _set("it them this that one something anything")
PARTICLES = _set("up down on off out over away back")
# Prepositions that lead to where the object goes, and the word a subtask uses for them.
TOWARDS = {
    "to": "to", "on": "to", "onto": "to", "in": "to", "into": "to", "inside": "to", "at": "to", "within": "to",
    "toward": "to", "towards": "to", "upon": "to", "under": "under", "underneath": "under", "beneath": "under",
    "below": "below", "behind": "behind", "near": "near", "beside": "beside", "by": "next to", "above": "above",
    "over": "over", "between": "between", "against": "against", "around": "around", "across": "across",
    "next": "next to", "besides": "beside",
}  # fmt: skip
STRONG = _set("to onto into toward towards")
AWAY = _set("from off")
TOOL = _set("with using via")
RELATIVE = _set("which that who where so until when while because")
MANNER = _set(
    "upright vertical vertically horizontal horizontally up down around clockwise counterclockwise anticlockwise left "
    "right forward forwards backward backwards open closed away back upside sideways slightly over together apart "
    "diagonally straight out there here"
)
# Manner words that never describe the noun after them.
ADVERBS = _set("upright vertical vertically horizontally clockwise counterclockwise")
STOPS = frozenset(TOWARDS) | AWAY | TOOL | RELATIVE | _set("and then out of off through along for as")
PLEASANTRIES = _set("please kindly now first finally robot you should must can could to will")
# Words of subtasks that name no object of the scene.
NO_OBJECTS = _set(
    "object item thing target gripper arm robot effector end fingers finger hand goal position place location area "
    "side top bottom front rear center middle edge corner surface be is are not without still steady firmly carefully "
    "gently slowly fully approach leave retract return wait stay pose orientation above below toward towards closer "
    "close until while before after its both all each other another one two three safely first second then finish "
    "release let go lower hover adjust orient detach ready again grip pregrasp reorient withdraw handle contact free "
    "empty full or original starting initial"
)
_ENGLISH = _set("the a an on in into onto to of from and with it its up down off out next then is which that")
_FOREIGN = _set(
    "el la los las una unos en del al por con sobre le les des du une sur dans au aux et der die das den dem ein eine "
    "auf und mit il lo gli della nel sul een het op naar och på de van det"
)

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*|[.,;:!?()]")


def _inflections() -> dict[str, str]:
    forms = dict(_IRREGULAR)
    for verb in KINDS:
        stem = verb[:-1] if verb.endswith("e") else verb
        doubled = verb + verb[-1]
        for form in (verb, verb + "s", verb + "es", stem + "ed", stem + "ing", doubled + "ing", doubled + "ed"):
            forms.setdefault(form, verb)
    return forms


_FORMS = _inflections()


def verb_of(word: str) -> str:
    """Base form of a known action verb ("placing" -> "place"), or an empty text."""
    return _FORMS.get(word.lower(), "")


def words_of(text: str) -> list[str]:
    """Words and sentence marks of a text, in order."""
    return _WORD.findall(text)


def is_english(text: str) -> bool:
    """A cheap guess: Latin letters, and not more function words of other languages than English ones."""
    words = [word.lower() for word in words_of(text) if word[0].isalpha()]
    if not words or any(not word.replace("’", "'").isascii() for word in words):
        return False
    english = sum(word in _ENGLISH or word in _FORMS for word in words)
    foreign = sum(word in _FOREIGN for word in words)
    return english > foreign or (foreign == 0 and len(words) <= 6)
