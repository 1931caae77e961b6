"""The embedded model from nothing: pictures of the simulator, then the stages of pretraining."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vlm2vla.training.pretrain.config import PretrainConfig, preset
from vlm2vla.workspace import Workspace

if TYPE_CHECKING:
    from vlm2vla.training.pretrain.stages import PretrainReport

_SMALL = 240
"""Pictures that are rendered for a run of few steps."""
_ARTICLES = {"en": ("a ", "an "), "es": ("un ", "una ")}


def pretrain(
    config: PretrainConfig, workspace: Workspace, say: Callable[[str], None] = lambda line: None
) -> "PretrainReport":
    """Run the stages that are asked for; pictures are rendered first where none are given.

    Raises:
        ConfigError: A stage that needs another one first, a run that is there already, pictures that do not fit.
        RobotError: Pictures are to be rendered, and the simulator does not run here.
    """
    from vlm2vla.training.pretrain.pictures import open_pictures
    from vlm2vla.training.pretrain.stages import pretrain as run_stages

    folder = config.pictures or _rendered(config, workspace, say)
    pictures = open_pictures(folder)
    held_out = Path(__file__).resolve().parents[2] / "assets" / "vqa" / "tabletop"
    report = run_stages(
        config,
        workspace.root / "runs" / "pretrain" / config.run,
        pictures,
        names_of_things(),
        sayings=sayings(config.seed),
        held_out=held_out if held_out.is_dir() else None,
        say=say,
    )
    if config.out is not None:
        _copy(report.run / "model", config.out)
    return report


def names_of_things() -> dict[str, list[str]]:
    """Every name of each kind, colour and symbol in all languages: {"kind:cube": ["cube", "cubes", "block", ...]}."""
    from vlm2vla.simulation.instructions import LANGUAGES, words_of

    names: dict[str, dict[str, None]] = {}

    def add(concept: str, *words: str) -> None:
        known = names.setdefault(concept, {})
        known.update(dict.fromkeys(word for word in words if word and " " not in word))

    asked = words_of("questions")
    for language in LANGUAGES:
        words, more = words_of(language), asked.get(language, {})
        synonyms = words["synonyms"]
        for kind, word in (*words["kinds"].items(), *synonyms["kinds"].items(), *more.get("kinds", {}).items()):
            first = word[0] if isinstance(word, list) else word
            add(f"kind:{kind}", first, f"{first}s" if language == "en" else "")
        for kind, word in more.get("plurals", {}).items():
            add(f"kind:{kind}", *re.split(r"\s+", word)[-1:])
        for table in (words["colours"], synonyms["colours"], more.get("colours", {}), more.get("colour_plurals", {})):
            for colour, word in table.items():
                add(f"colour:{colour}", *(word if isinstance(word, list) else [word]))
        for symbol, word in words["symbols"].items():
            article = next((each for each in _ARTICLES.get(language, ()) if word.startswith(each)), "")
            add(f"symbol:{symbol}", word.removeprefix(article), symbol if language == "en" else "")
    for digit in "0123456789":
        add(f"symbol:{digit}", digit)
    add("kind:gripper", "gripper", "hand", "pinza", "夹爪", "ग्रिपर")
    return {concept: list(words) for concept, words in names.items()}


def sayings(seed: int, count: int = 6000) -> list[dict[str, str]]:
    """Instructions said in other languages and other words, as questions without a picture.

    A large VLM can translate; so must this one, before it is asked to follow instructions in languages that its action
    data does not hold.
    """
    import random

    from vlm2vla.simulation.instructions import LANGUAGES, Roles, language_name, say, templates
    from vlm2vla.simulation.scenes import COLOURS, CONTAINERS, GRASPABLE, SYMBOLS, SceneObject

    rng = random.Random(f"{seed} sayings")
    families = ("pick-up", "pick-up", "pick-and-place", "pick-place-lift", "reference-picture")

    def thing(kinds: Sequence[str]) -> SceneObject:
        kind, colour = rng.choice(kinds), rng.choice(list(COLOURS))
        return SceneObject(f"{colour} {kind}", kind, colour, (0.04, 0.04, 0.04), (0.6, 0.0))

    rows = []
    while len(rows) < count:
        symbol = rng.choice(SYMBOLS)
        card = SceneObject(f"{symbol} card", "card", "red", (0.07, 0.07, 0.001), (0.6, 0.0), 0.0, symbol)
        roles = Roles(thing(GRASPABLE), thing(CONTAINERS), thing(GRASPABLE), card)
        family, other = rng.choice(families), rng.choice([each for each in LANGUAGES if each != "en"])
        plain = say(templates(family, "en")[0], roles, "en")
        foreign = say(rng.choice(templates(family, other, held_out=rng.random() < 0.3)), roles, other)
        if rng.random() < 0.6:
            asked, answer = f"{rng.choice(('Translate to English', 'In English'))}: {foreign}", plain
        elif rng.random() < 0.5:
            foreign = say(templates(family, other)[0], roles, other)
            asked, answer = f"Translate to {language_name(other)}: {plain}", foreign
        else:
            reference = rng.choice(("", "synonym", "colour")) if family == "pick-up" else ""
            said = say(rng.choice(templates(family, "en", held_out=rng.random() < 0.5)), roles, "en", reference)
            asked, answer = f"{rng.choice(('In plain words', 'Say it plainly'))}: {said}", plain
        rows.append({"skill": "words", "language": other, "question": asked, "answer": answer})
    return rows


def _rendered(config: PretrainConfig, workspace: Workspace, say: Callable[[str], None]) -> Path:
    """Pictures in the workspace, rendered now or by an earlier run with the same needs."""
    from vlm2vla.config import PicturesConfig
    from vlm2vla.simulation.pictures.make import make_pictures

    chosen = preset(config.preset)
    count = min(chosen.pictures, _SMALL) if config.max_steps else chosen.pictures
    folder = workspace.root / "pictures" / f"{config.preset}-{count}"
    if (folder / "manifest.json").is_file():
        return folder
    say(f"rendering {count} pictures into {folder}")
    wanted = PicturesConfig(out=folder, count=count, seed=chosen.pictures_seed)
    make_pictures(wanted if not config.max_steps else replace(wanted, texts=min(wanted.texts, 2000)))
    return folder


def _copy(model: Path, out: Path) -> None:
    import shutil

    from vlm2vla.errors import ConfigError

    if not model.is_dir():
        raise ConfigError(f"no finished model in {model} yet; run the stage gate first")
    shutil.copytree(model, out, dirs_exist_ok=True)
