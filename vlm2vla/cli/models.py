"""Which models there are: list, add, remove, check; and tokens of theirs for discrete actions."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import tyro

from vlm2vla.cli.console import Common, Done, Flat, say
from vlm2vla.language import form
from vlm2vla.workspace import Workspace


@dataclass(frozen=True)
class NewModel:
    """A model to be known by a name; its weights stay where they are."""

    name: tyro.conf.Positional[str]
    """Short name: letters, digits, dots and dashes."""
    where: tyro.conf.Positional[str]
    """Folder (base, checkpoint, adapter or training run), hub id, URL of an OpenAI-compatible server, or gemini-..."""
    base: str = ""
    """Adapters: name, folder or hub id of the base; what the adapter says about itself when not given."""
    model: str = ""
    """Servers: the model's name over there; the short name when not given."""
    actions: Annotated[Literal["language", "tokens", ""], tyro.conf.arg(metavar="language|tokens")] = ""
    """How it writes actions."""
    form: str = ""
    """Name of its action form, such as rows7:0.5cm:1deg; weights of this computer tell theirs."""
    note: str = ""
    """Whatever a person should know."""


@dataclass(frozen=True)
class OneModel:
    """A model by name."""

    name: tyro.conf.Positional[str]
    """Name in the list."""


@dataclass(frozen=True)
class CheckedModels:
    """Models by name, or all of this computer."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names in the list, paths or hub ids; all of the list but Gemini when not given."""


def list_(common: Flat[Common] = Common()) -> Done:
    """The models that can be asked by name."""
    entries = _registry(common).list()
    for entry in entries:
        where = entry.url + (f" ({entry.model})" if entry.url else "") or entry.path or entry.model
        facts = [f"on {entry.base}" if entry.kind == "adapter" else "", entry.actions, entry.note]
        say(f"{entry.name:16} {entry.kind:11} {where}  {', '.join(fact for fact in facts if fact)}".rstrip())
    if not entries:
        say("no models yet: add one with `vlm2vla models add NAME WHERE`")
    return Done({"models": [asdict(entry) for entry in entries]})


def add(config: Flat[NewModel], common: Flat[Common] = Common()) -> Done:
    """Write down a model under a name: weights on disk or on the hub, or a server."""
    entry = _registry(common).add(
        config.name,
        config.where,
        base=config.base,
        model=config.model,
        actions=config.actions,
        form=form(config.form).name if config.form else "",
        note=config.note,
    )
    say(f"{entry.name} is {entry.kind} {entry.path or entry.url or entry.model}; `vlm2vla models check` tries it")
    return Done({"model": asdict(entry)})


def remove(config: Flat[OneModel], common: Flat[Common] = Common()) -> Done:
    """Forget an added model; its files stay where they are."""
    entry = _registry(common).remove(config.name)
    say(f"{entry.name} is forgotten; {entry.path or entry.url or entry.model} stays as it is")
    return Done({"model": asdict(entry)})


def check(config: Flat[CheckedModels] = CheckedModels(), common: Flat[Common] = Common()) -> Done:
    """Load models, or ask their servers, and tell what is wrong: misfits, no-ops, broken files."""
    registry = _registry(common)
    names = config.names or tuple(entry.name for entry in registry.list() if entry.kind != "gemini")
    reports = [registry.check(name) for name in names]
    for report in reports:
        say(f"{report.name}: {'; '.join(report.problems) if report.problems else 'fine'}")
        for fact in report.facts:
            say(f"  {fact}")
        if report.difference is not None:
            say(f"  changes a logit of its base by up to {report.difference:.3g}")
    return Done({"models": [report.to_json() for report in reports]}, int(any(report.problems for report in reports)))


def tokens(config: Flat[OneModel], common: Flat[Common] = Common()) -> Done:
    """Find ten tokens of a base for discrete actions: the least likely ones that it can tell apart."""
    from vlm2vla.pipeline.training import action_tokens

    found = action_tokens(config.name, Workspace.open(common.workspace))
    for digit, (token, likely) in enumerate(found):
        say(f"{digit}  {token}  (log-probability {likely:.1f} on average)")
    names = [token for token, _ in found]
    say(f"train --variant lora-tokens --action-tokens {' '.join(names)}")
    return Done({"model": config.name, "tokens": names})


def _registry(common: Common):
    from vlm2vla.vlm.registry import ModelRegistry

    return ModelRegistry(Workspace.open(common.workspace))


COMMANDS: dict[str, Callable[..., Done]] = {
    "list": list_,
    "add": add,
    "remove": remove,
    "check": check,
    "tokens": tokens,
}
