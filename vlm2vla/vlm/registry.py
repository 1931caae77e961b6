"""Which models there are: what ships, and what was added to the workspace.

A name ("base", "lora", ...) stands for an entry; a path, a hub id or the name of a Gemini works wherever a name does.
Imports nothing heavy and loads no weights; `check` does, when it is asked to.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from vlm2vla.config import did_you_mean
from vlm2vla.errors import ConfigError, NotFoundError, WorkspaceError
from vlm2vla.vlm.origin import read_origin
from vlm2vla.workspace import Workspace, write_atomic

if TYPE_CHECKING:
    from vlm2vla.vlm.check import CheckReport
    from vlm2vla.vlm.local import LocalModels

Kind = Literal["base", "adapter", "checkpoint", "openai", "gemini"]
Actions = Literal["language", "tokens", ""]

SHIPPED_FOLDER = Path(__file__).resolve().parents[2] / "assets" / "models"
SHIPPED: Mapping[str, tuple[Kind, Actions]] = {
    "base": ("base", ""),
    "lora": ("adapter", "language"),
    "lora-tokens": ("adapter", "tokens"),
    "full": ("checkpoint", "language"),
    "full-tokens": ("checkpoint", "tokens"),
}
# The action form where weights say only which kind it is.
_FORMS: Mapping[Actions, str] = {"language": "rows:0.5cm", "tokens": "tokens:0.5cm"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# A training run has a config.json too, which tells how it was trained: its weights lie deeper.
_WEIGHTS_IN = ("adapter", "model", "")


@dataclass(frozen=True)
class ModelEntry:
    """One model that can be asked by name.

    Attributes:
        name: Short name, unique in a workspace.
        kind: base: a vision-language model as it is; adapter: LoRA weights on `base`; checkpoint: a fully fine-tuned
            model; openai: a model of an OpenAI-compatible server; gemini: Google's.
        path: Folder or hub id of the weights; "" for servers.
        base: Adapters: folder or hub id of the base. Checkpoints: what they were tuned from, where it is known.
        url: openai: address of the server, such as http://127.0.0.1:8000/v1.
        model: openai and gemini: the model's name over there.
        actions: How it writes actions, "" where it was not trained on any (or nobody said).
        told_form: Name of the action form that it writes, where a person said so: a server's weights cannot be read.
        note: Whatever a person should know.
        shipped: It comes with the software and cannot be removed.
    """

    name: str
    kind: Kind
    path: str = ""
    base: str = ""
    url: str = ""
    model: str = ""
    actions: Actions = ""
    told_form: str = ""
    note: str = ""
    shipped: bool = False

    @property
    def local(self) -> bool:
        """Its weights are loaded into this process."""
        return self.kind in ("base", "adapter", "checkpoint")

    @property
    def form(self) -> str:
        """Name of the action form that it writes, as its weights tell or a person said; "" where nobody did."""
        origin = read_origin(Path(self.path)) if self.local and self.path else None
        return origin.form if origin and origin.form else self.told_form

    @property
    def writes(self) -> str:
        """`form`; where that is not known, the usual one of the kind of its actions, "" without any."""
        return self.form or _FORMS.get(self.actions, "")

    @property
    def weights(self) -> str:
        """Which copy of weights it needs: adapters name that of their base."""
        return self.base if self.kind == "adapter" else self.path


class ModelRegistry:
    """The models of one workspace: first those that ship, then those that were added (models/registry.json)."""

    def __init__(self, workspace: Workspace, *, shipped: Path = SHIPPED_FOLDER):
        """Nothing is read yet.

        Args:
            workspace: Where added models are written down.
            shipped: Folder with a sub-folder per shipped model; those that are not there are not listed.
        """
        self._file, self._shipped = workspace.models / "registry.json", shipped

    def list(self) -> tuple[ModelEntry, ...]:
        """Every entry, shipped ones first.

        Raises:
            WorkspaceError: registry.json is damaged.
        """
        return (*self._shipped_entries(), *self._added())

    def get(self, name: str) -> ModelEntry:
        """The entry called `name`, or one made for a path, a hub id or a Gemini model of that name.

        Raises:
            NotFoundError: Neither; the message offers the closest name.
        """
        entries = self.list()
        for entry in entries:
            if entry.name == name:
                return entry
        if name.startswith("gemini-"):
            return ModelEntry(name, "gemini", model=name)
        if Path(name).expanduser().is_dir():
            return self._from_folder(name, Path(name).expanduser().resolve(), base="")
        if _HUB_ID.fullmatch(name) and not name.startswith(("./", "../")) and name.split("/")[0] not in (".", ".."):
            return ModelEntry(name, "base", path=name)
        raise NotFoundError(f"no model {name!r}; {_known(name, entries)}")

    def add(
        self,
        name: str,
        where: str,
        *,
        base: str = "",
        model: str = "",
        actions: Actions = "",
        form: str = "",
        note: str = "",
    ) -> ModelEntry:
        """Write down a model under a name; the weights stay where they are.

        Args:
            name: Letters, digits, dots, dashes.
            where: A folder (base, checkpoint, adapter, or a training run with one in it), a hub id, the URL of an
                OpenAI-compatible server, or the name of a Gemini model.
            base: Adapters: name, folder or hub id of the base; what the adapter says about itself when empty.
            model: Servers: the model's name over there; `name` when empty.
            actions: How it writes actions; what the folder says when empty.
            form: Name of its action form; what the folder says when empty.
            note: Whatever a person should know.

        Raises:
            ConfigError: A name that is taken or not usable, or an address that is none.
            NotFoundError: The folder or the base is not there, or no model is in the folder.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} cannot be a model's name: use letters, digits, dots and dashes, at most 64")
        if any(entry.name == name for entry in self.list()):
            raise ConfigError(f"there is a model {name!r} already; remove it first, or choose another name")
        if re.match(r"https?://", where):
            entry = ModelEntry(name, "openai", url=where.rstrip("/"), model=model or name)
        elif where.startswith("gemini-"):
            entry = ModelEntry(name, "gemini", model=where)
        elif Path(where).expanduser().is_dir():
            entry = self._from_folder(name, Path(where).expanduser().resolve(), base=base)
        elif _HUB_ID.fullmatch(where):
            entry = ModelEntry(name, "base", path=where)
        else:
            raise NotFoundError(f"no folder {where!r}, and it is no URL and no hub id (owner/name) either")
        entry = replace(entry, actions=actions or entry.actions, told_form=form, note=note)
        self._write((*self._added(), entry))
        return entry

    def remove(self, name: str) -> ModelEntry:
        """Forget an added model; its files stay where they are.

        Raises:
            NotFoundError: No such model.
            ConfigError: It ships with the software.
        """
        entry = next((entry for entry in self.list() if entry.name == name), None)
        if entry is None:
            raise NotFoundError(f"no model {name!r}; {_known(name, self.list())}")
        if entry.shipped:
            raise ConfigError(f"{name!r} ships with the software and cannot be removed")
        self._write(tuple(each for each in self._added() if each.name != name))
        return entry

    def check(self, name: str, models: "LocalModels | None" = None) -> "CheckReport":
        """Load the model, or ask its server, and see whether it is what its entry says; takes seconds.

        Args:
            name: Which.
            models: Where models of this process are loaded, or are already; a place of its own when None.

        Raises:
            NotFoundError: No such model.
        """
        from vlm2vla.vlm.check import check_model

        return check_model(self.get(name), self, models)

    def _shipped_entries(self) -> tuple[ModelEntry, ...]:
        base = str(self._shipped / "base")
        found = []
        for name, (kind, actions) in SHIPPED.items():
            folder = self._shipped / name
            if (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
                of = "" if kind == "base" else base
                found.append(ModelEntry(name, kind, str(folder), base=of, actions=actions, shipped=True))
        return tuple(found)

    def _added(self) -> tuple[ModelEntry, ...]:
        try:
            rows = json.loads(self._file.read_text(encoding="utf-8"))["models"]
            return tuple(_entry(row) for row in rows)
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise WorkspaceError(
                f"{self._file} is damaged ({error}); mend it, or delete it to forget added models"
            ) from error

    def _write(self, entries: tuple[ModelEntry, ...]) -> None:
        rows = [{key: value for key, value in asdict(entry).items() if value} for entry in entries]
        write_atomic(self._file, json.dumps({"models": rows}, indent=1, ensure_ascii=False) + "\n")

    def _from_folder(self, name: str, folder: Path, base: str) -> ModelEntry:
        for inner in _WEIGHTS_IN:
            place = folder / inner if inner else folder
            origin = read_origin(place) or read_origin(folder)
            actions = origin.actions if origin else ""
            if (place / "adapter_config.json").is_file():
                return ModelEntry(name, "adapter", str(place), base=self._base_of(place, base), actions=actions)
            if (place / "config.json").is_file():
                kind: Kind = "checkpoint" if origin else "base"
                return ModelEntry(name, kind, str(place), base=origin.base if origin else "", actions=actions)
        raise NotFoundError(f"{folder} holds no model: neither config.json nor adapter_config.json is in it")

    def _base_of(self, adapter: Path, asked: str) -> str:
        """Folder or hub id of an adapter's base."""
        if asked:
            return self.get(asked).path
        told, origin = _told_base(adapter), read_origin(adapter)
        for candidate in (told, origin.base if origin else ""):
            if not candidate:
                continue
            if Path(candidate).expanduser().is_dir():
                return str(Path(candidate).expanduser().resolve())
            try:
                return self.get(candidate).path
            except NotFoundError:
                continue
        raise NotFoundError(f"the base of {adapter} is not here: {told or 'it names none'}; say which with --base")


def _told_base(adapter: Path) -> str:
    try:
        return (
            json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
            or ""
        )
    except (OSError, ValueError, AttributeError):
        return ""


def _known(name: str, entries: Sequence[ModelEntry]) -> str:
    """The end of an error message: what there is instead."""
    if not entries:
        return "there is none yet; add one with: vlm2vla models add NAME FOLDER"
    return did_you_mean(name, [entry.name for entry in entries])


def _entry(row: Mapping[str, Any]) -> ModelEntry:
    known = {field.name for field in fields(ModelEntry)} - {"shipped"}
    entry = ModelEntry(**{key: str(value) for key, value in row.items() if key in known})
    if entry.kind not in get_args(Kind) or entry.actions not in get_args(Actions):
        raise ValueError(f"model {entry.name!r}: kind {entry.kind!r}, actions {entry.actions!r}")
    return entry
