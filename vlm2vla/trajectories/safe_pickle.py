"""Pickles from strangers, opened without running their code.

Robot recordings are full of pickles, and a pickle is a program. Only arrays, numbers, text and plain containers are let
through; every other name a pickle asks for is refused before it is looked up. `.npy` files of objects and pickled
table columns are the same risk and go through the same gate. Knows nothing of what the numbers mean.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vla.errors import CorruptRecordError, UnsafePickleError

MAX_BYTES = 256 * 1024 * 1024
_MAGIC_NPY = b"\x93NUMPY"


class _Call:
    """A function that a pickle can call but not change: it has no attributes to set."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: Any) -> None:
        raise UnsafePickleError(f"the pickle tries to set {name!r} on a function")

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """What old pickles use for bytes; other codecs would load code."""
    if encoding not in ("latin1", "latin-1"):
        raise UnsafePickleError(f"the pickle asks for the codec {encoding!r}")
    return text.encode("latin1")


def _allowed() -> dict[tuple[str, str], Any]:
    names: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _Call(_encode),
        ("collections", "OrderedDict"): OrderedDict,
    }
    # numpy 2 moved its core; files name the old and the new place.
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray", "_reconstruct"] = _Call(np._core.multiarray._reconstruct)
        names[f"{core}.multiarray", "scalar"] = _Call(np._core.multiarray.scalar)
        names[f"{core}.numeric", "_frombuffer"] = _Call(np._core.numeric._frombuffer)
    return names


_ALLOWED = _allowed()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise UnsafePickleError(
                f"the pickle asks for {module}.{name}, which is more than plain numbers; it was not run. "
                "If you trust the file, convert it to arrays yourself"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickleError("the pickle asks for an external object; it was not run")


def load(path: Path) -> Any:
    """The content of a pickle file, or of an `.npy` file (told by its first bytes).

    Raises:
        UnsafePickleError: It asks for more than plain numbers and containers, or is too large.
        CorruptRecordError: It is missing, damaged or not a pickle.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UnsafePickleError(f"{size} bytes; more than {MAX_BYTES} are not opened", path=path)
        data = path.read_bytes()
    except OSError as error:
        raise CorruptRecordError(f"cannot read the file: {error.strerror or error}", path=path) from error
    return _load_npy(data, path) if data.startswith(_MAGIC_NPY) else loads(data, path=path)


def loads(data: bytes, *, path: Path | str = "", record: int | str | None = None) -> Any:
    """The content of pickled bytes; errors as `load`, located at `path` and `record`."""
    if len(data) > MAX_BYTES:
        raise UnsafePickleError(f"{len(data)} bytes; more than {MAX_BYTES} are not opened", path=path, record=record)
    value = _unpickle(io.BytesIO(data), path, record)
    _refuse_objects(value, path, record)
    return value


def _unpickle(stream: io.BytesIO, path: Path | str, record: int | str | None) -> Any:
    try:
        return _Unpickler(stream).load()
    except UnsafePickleError as error:
        raise UnsafePickleError(error.args[0], path=path, record=record) from None
    except Exception as error:  # damaged pickles raise nearly anything, MemoryError included
        raise CorruptRecordError(f"not a readable pickle: {error}", path=path, record=record) from error


def _load_npy(data: bytes, path: Path) -> Any:
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        _, _, dtype = read_header(stream)
        if not dtype.hasobject:
            stream.seek(0)
            return np.load(stream, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CorruptRecordError(f"not a readable .npy file: {error}", path=path) from error
    value = _unpickle(stream, path, None)
    # The file itself is an array of objects; what is in it must be plain.
    items = value.tolist() if isinstance(value, np.ndarray) else value
    _refuse_objects(items, path, None)
    return items


def _refuse_objects(value: Any, path: Path | str, record: int | str | None) -> None:
    """Arrays of objects can hold anything; walk without recursion and without visiting anything twice."""
    stack, seen = [value], set()
    while stack:
        item = stack.pop()
        if isinstance(item, np.ndarray):
            if item.dtype.hasobject:
                raise UnsafePickleError("it holds an array of Python objects", path=path, record=record)
        elif isinstance(item, (dict, list, tuple, set, frozenset)) and id(item) not in seen:
            seen.add(id(item))
            stack.extend(item.values() if isinstance(item, dict) else item)
