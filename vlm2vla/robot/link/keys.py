"""CURVE keys: made in pairs, the secret half readable by its owner only, the public half copied to the other side.

Both halves of NAME are files: NAME.key (public) and NAME.key_secret. The robot's allow-list is a folder of public
files. Runs on Python 3.10.
"""

import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import zmq.auth

from vlm2vla.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class KeyFiles:
    """A pair that was made.

    Attributes:
        public: File for the other side.
        secret: File that never leaves this computer.
        public_key: What is in the public file, 40 letters.
    """

    public: Path
    secret: Path
    public_key: str


@dataclass(frozen=True)
class KeyPair:
    """Both halves, read from a secret file."""

    name: str
    public: bytes
    secret: bytes = field(repr=False)


def make_keys(folder: Path, name: str) -> KeyFiles:
    """Make a new pair called `name` in `folder`. Never overwrites a key.

    Raises:
        ConfigError: Not a name for a file, the key is there already, or the folder cannot be written.
    """
    folder = Path(folder).expanduser()
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot name a key: letters, digits, dots, dashes, at most 64")
    public, secret = folder / f"{name}.key", folder / f"{name}.key_secret"
    for path in (public, secret):
        if path.exists():
            raise ConfigError(f"{path} is there already; choose another name, or delete it to lock its holders out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A private folder of its own first: the secret is never readable by others, not even for a moment.
        with tempfile.TemporaryDirectory(dir=folder) as private:
            made_public, made_secret = zmq.auth.create_certificates(private, name)
            os.chmod(made_secret, stat.S_IRUSR | stat.S_IWUSR)
            shutil.move(made_secret, secret)
            shutil.move(made_public, public)
    except OSError as error:
        raise ConfigError(f"cannot write keys to {folder}: {error}") from error
    return KeyFiles(public, secret, read_public(public).decode())


def read_public(path: Path) -> bytes:
    """The public key in a key file.

    Raises:
        ConfigError: There is none.
    """
    return _load(path)[0]


def read_pair(path: Path) -> KeyPair:
    """Both halves from a secret file.

    Raises:
        ConfigError: Missing, not a secret key file, or readable by others.
    """
    public, secret = _load(path)
    if secret is None:
        raise ConfigError(f"{path} holds no secret key; give the file that ends in .key_secret")
    if os.name == "posix" and Path(path).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"others can read the secret key {path}: chmod 600 {path}, and make a new one if in doubt")
    return KeyPair(Path(path).stem, public, secret)


def read_allowed(folder: Path) -> dict[bytes, str]:
    """Names by public key of everybody who may connect.

    Raises:
        ConfigError: No such folder, nobody in it, or a file in it that is no key.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"no folder {folder}; make it and copy the public key files of allowed studios into it")
    allowed = {read_public(path): path.stem for path in sorted(folder.glob("*.key"))}
    if not allowed:
        raise ConfigError(f"nobody could connect: {folder} has no public key files (*.key)")
    return allowed


def _load(path: Path) -> tuple[bytes, bytes | None]:
    path = Path(path).expanduser()
    if not path.is_file():
        raise ConfigError(f"no key file {path}; make keys first")
    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no key file: {error}") from error
    if len(public) != 40 or (secret is not None and len(secret) != 40):
        raise ConfigError(f"{path} is damaged: a key has 40 letters")
    return public, secret
