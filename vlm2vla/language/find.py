"""Direction and gripper words in free text that a person or another model wrote.

Lenient on wording, careful about what is no motion: "the left bowl", "the upper drawer", "on the right side",
"right now", "pick up", "put down", "back to the start", "the lower shelf", "without moving left" name none.
A direction adverb counts when a motion verb stands before it in the same clause ("move the cup left"), or when the
clause has nothing but direction words ("down and slightly forward").

Limits, on purpose: English only; "toward the plate", "above", "away", "around" have no axis and are left out; words
are taken in the robot's frame although a writer may mean the image; "lower the left cup" is down only; a noun after
left or right makes it an adjective, so "move left plate-wards" is missed; irony, typos and references to earlier
sentences are not understood. Nothing here is an action: use it for checks and hints.
"""

import re
from typing import NamedTuple

from vlm2vla.language.words import Direction, GripperWord, Size


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TOKEN = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)*|\d+(?:\.\d+)?|[.,;:!?()\n]")
_CLAUSE_ENDS = set(".,;:!?()\n") | {"then", "before", "while", "after", "until", "once", "so"}

_ADVERBS = {
    "forward": ("x", 1), "forwards": ("x", 1), "back": ("x", -1), "backward": ("x", -1), "backwards": ("x", -1),
    "left": ("y", 1), "leftward": ("y", 1), "leftwards": ("y", 1),
    "right": ("y", -1), "rightward": ("y", -1), "rightwards": ("y", -1),
    "up": ("z", 1), "upward": ("z", 1), "upwards": ("z", 1),
    "down": ("z", -1), "downward": ("z", -1), "downwards": ("z", -1),
}  # fmt: skip
_LEVEL_VERBS = {
    "lift": ("z", 1), "raise": ("z", 1), "elevate": ("z", 1), "ascend": ("z", 1), "rise": ("z", 1),
    "lower": ("z", -1), "descend": ("z", -1),
    "advance": ("x", 1), "retreat": ("x", -1), "retract": ("x", -1), "withdraw": ("x", -1),
}  # fmt: skip
_TURNS = {
    "clockwise": ("yaw", -1), "cw": ("yaw", -1), "counterclockwise": ("yaw", 1), "counter-clockwise": ("yaw", 1),
    "anticlockwise": ("yaw", 1), "anti-clockwise": ("yaw", 1), "ccw": ("yaw", 1),
}  # fmt: skip
_TURN_VERBS = {
    "rotate": {"left": ("yaw", 1), "right": ("yaw", -1)},
    "turn": {"left": ("yaw", 1), "right": ("yaw", -1)},
    "twist": {"left": ("yaw", 1), "right": ("yaw", -1)},
    "spin": {"left": ("yaw", 1), "right": ("yaw", -1)},
    "roll": {"left": ("roll", 1), "right": ("roll", -1)},
    "tilt": {"left": ("roll", 1), "right": ("roll", -1)},
    "pitch": {},
}
for _verb in ("tilt", "pitch"):
    _TURN_VERBS[_verb] |= {word: ("pitch", 1) for word in ("back", "backward", "backwards")}
    _TURN_VERBS[_verb] |= {word: ("pitch", -1) for word in ("forward", "forwards")}
_MOTION_VERBS = _set(
    "move go shift slide travel reach push pull swing drive nudge steer come head translate bring carry continue "
    "proceed drag extend drop press dip step glide inch adjust reposition approach transport sweep guide jog"
)
_PARTICLE_VERBS = _set(
    "pick set put lay hold wipe clean fold face flip stack pop close open hang line stand place turn end give"
)

_DETERMINERS = _set("the a an its their this that these those your his her each both every one other")
_SLIGHTLY = {"slightly", "bit", "little", "gently", "marginally", "somewhat"}
_FAR = {"far", "significantly", "considerably", "substantially", "lot", "fully"}
_MODIFIERS = _SLIGHTLY | _FAR | _set("a just more further straight directly slowly diagonally again and to the by")
# What may follow left or right that is no noun; anything else makes it an adjective ("left bowl").
_AFTER_SIDE = (
    _CLAUSE_ENDS
    | _SLIGHTLY
    | _FAR
    | set(_ADVERBS)
    | _set("and or toward towards a by into onto over across along past as for in about again to until with")
)
# "right" before these means exactly or at once.
_EXACTLY = _set("now away there here above over on onto in into at next behind before after as under to by")
_NEGATIONS = {"not", "without", "never", "avoid", "don", "doesn", "instead"}
_PLACES = _set("drawer shelf rack level part half burner left right side edge corner cabinet row portion lip")
_GRIPPER_NOUNS = _set("gripper grippers jaw jaws claw claws finger fingers hand pincer pincers")
_GRASPS = _set("grasp grip grab pick clamp clasp seize clutch")
_RELEASES = {"release", "drop", "ungrasp", "unclamp"}


class _Word(NamedTuple):
    text: str
    stem: str


def find_directions(text: str) -> tuple[Direction, ...]:
    """Directions named in `text`, in order; the same one again where it is named again."""
    words = _words(text)
    found: list[Direction] = []
    verb, bare, negated = "", True, False
    said: tuple[str, int] | None = None
    for index, word in enumerate(words):
        if word.text in _CLAUSE_ENDS:
            verb, bare, negated = "", True, False
            continue
        negated = negated or word.text in _NEGATIONS
        meaning = _meaning(words, index, verb, bare)
        # "lift up" is one motion.
        if meaning and not negated and not (meaning == said and _at(words, index - 1) != "and"):
            found.append(Direction(*meaning, _size(words, index)))
        said = meaning
        if word.stem in _MOTION_VERBS or word.stem in _TURN_VERBS or (meaning and word.stem in _LEVEL_VERBS):
            # "then tilt" after "move": the nearest verb governs what follows.
            verb = word.stem
        elif not meaning and word.text not in _MODIFIERS and not word.text.replace(".", "").isdigit():
            bare = False
    return tuple(found)


def find_gripper_words(text: str) -> tuple[GripperWord, ...]:
    """What the gripper is said to do in `text`, in order, repetitions left out.

    "open" and "close" count for the gripper only ("open the drawer" does not); "after grasping", "the grasped cup"
    and "keep the gripper closed" tell of no event.
    """
    words = _words(text)
    found: list[GripperWord] = []
    for index in range(len(words)):
        event = _gripper_event(words, index)
        if event and found[-1:] != [event]:
            found.append(event)
    return tuple(found)


def _words(text: str) -> list[_Word]:
    return [_Word(word, _stem(word)) for word in _TOKEN.findall(text.lower())]


def _stem(word: str) -> str:
    """The verb of "moving" and "moves"; past forms stay as they are, they tell of what is over."""
    known = _KNOWN_STEMS
    if word in known:
        return word
    for ending in ("s", "es", "ing"):
        if word.endswith(ending):
            base = word[: -len(ending)]
            for candidate in (base, base + "e", base[:-1]):
                if candidate in known:
                    return candidate
    return word


_KNOWN_STEMS = (
    set(_LEVEL_VERBS) | set(_TURN_VERBS) | _MOTION_VERBS | _PARTICLE_VERBS | _GRASPS | _RELEASES | {"let", "keep"}
)


def _at(words: list[_Word], index: int) -> str:
    return words[index].text if 0 <= index < len(words) else ""


def _meaning(words: list[_Word], index: int, verb: str, bare: bool) -> tuple[str, int] | None:
    """Axis and sign of the word at `index`, or None.

    `verb` is the motion verb before it in its clause; `bare` says that only direction words came before it.
    """
    word, stem = words[index]
    if word in _TURNS:
        counter = word == "clockwise" and _at(words, index - 1) in ("counter", "anti")
        return ("yaw", 1) if counter else _TURNS[word]
    if stem in _LEVEL_VERBS:
        noun = _at(words, index - 1) in _DETERMINERS or (word == stem and _at(words, index + 1) in _PLACES)
        return None if noun else _LEVEL_VERBS[stem]
    if word not in _ADVERBS or not (verb or bare):
        return None
    if verb in _TURN_VERBS:
        return None if _is_place(words, index) else _TURN_VERBS[verb].get(word)
    return None if _is_place(words, index) else _ADVERBS[word]


def _is_place(words: list[_Word], index: int) -> bool:
    """Whether the adverb at `index` is part of a name, a place or a phrasal verb."""
    word, before, after = words[index].text, _at(words, index - 1), _at(words, index + 1)
    if word in ("left", "right"):
        return _is_side(words, index)
    if word == "back":
        return before in _DETERMINERS or before in ("put", "place", "face") or after in ("to", "of", "into", "in", "on")
    if word in ("up", "down"):
        stem = words[index - 1].stem if index else ""
        return stem in _PARTICLE_VERBS or before in ("upside", "side") or before in _DETERMINERS
    return before in _DETERMINERS or before in ("face", "facing")


def _is_side(words: list[_Word], index: int) -> bool:
    """Whether left or right names a thing or a place: "the left bowl", "on the right", "left of the pot"."""
    word, before, after = words[index].text, _at(words, index - 1), _at(words, index + 1)
    if after and not after[0].isdigit() and after not in _AFTER_SIDE:
        return True
    if before in ("from", "on", "at", "is", "was", "has", "have", "are", "upper", "lower", "top", "bottom"):
        return True
    if before in _DETERMINERS and not (before == "the" and _at(words, index - 2) in ("to", "toward", "towards")):
        return True
    if word == "right" and after in _EXACTLY:
        # "right to the cup", "right in front": only towards a side when it stands with a direction or "the".
        return before not in ("the", "and", "to", "forward", "back", "up", "down", "slightly")
    return False


def _size(words: list[_Word], index: int) -> Size:
    """Size word in front of a direction, or behind it where no other direction follows."""
    at = index - 1
    while _at(words, at) in ("to", "the", "towards", "toward"):
        at -= 1
    word = _at(words, at)
    if word in _SLIGHTLY or word in _FAR:
        return "slightly" if word in _SLIGHTLY else "far"
    at = index + 1
    while _at(words, at) in ("a", "by", "just"):
        at += 1
    word = _at(words, at)
    follows = _at(words, at + 1)
    if (word in _SLIGHTLY or word in _FAR) and follows not in _ADVERBS and follows not in _TURNS:
        return "slightly" if word in _SLIGHTLY else "far"
    return ""


def _gripper_event(words: list[_Word], index: int) -> GripperWord | None:
    word, stem = words[index]
    before = _at(words, index - 1)
    if before in _DETERMINERS or before in ("after", "once", "having", "keep", "keeping", "not", "without", "never"):
        return None
    if stem in ("open", "close"):
        if word not in (stem, stem + "s", "opening", "closing"):
            return None
        near = [_at(words, at) for at in range(index + 1, index + 5)]
        for at, other in enumerate(near):
            if other in _GRIPPER_NOUNS:
                return stem if before not in ("with", "is", "remain", "stay") or at > 0 else None
            if other not in _DETERMINERS | {"robot", "robotic", "two", "s", "arm"}:
                return None
        return None
    if stem in _GRASPS:
        return "close" if before != "while" else None
    if stem in _RELEASES:
        return None if stem == "drop" and _at(words, index + 1) in ("down", "to", "by", "straight") else "open"
    if stem == "let" and "go" in (_at(words, index + 1), _at(words, index + 2), _at(words, index + 3)):
        return "open"
    return None
