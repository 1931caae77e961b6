"""TFRecord files and the `tf.train.Example` messages in them, without TensorFlow.

A record is: length (8 bytes, little endian), masked CRC-32C of the length, data, masked CRC-32C of the data. Both sums
are checked. An `Example` only locates its features; values are decoded when they are asked for, so that reading the
numbers of an episode never touches its images or its language embedding.

This module knows bytes. It does not know what a feature means, nor how steps are laid out.
"""

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np

from vlm2vla.errors import CorruptRecordError, FormatError, TrajectoryError

_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
_MAX_UINT64 = (1 << 64) - 1
_SEARCH_WINDOW = 1 << 20

# Wire types of protobuf, and the three kinds of a tf.train.Feature.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BLOBS, _FLOATS, _INTS = 1, 2, 3
_BLOB_TAG = 1 << 3 | _BYTES


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file.

    Attributes:
        index: Position in the file, from 0; damaged records count.
        offset: Byte offset of its header, for `read_record`.
        crc: Stored masked CRC-32C of the data: the record's fingerprint.
        data: The payload.
    """

    index: int
    offset: int
    crc: int
    data: bytes


def masked_crc(data: bytes) -> int:
    """Masked CRC-32C as TFRecord stores it."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def records(
    path: Path,
    *,
    check_crc: bool = True,
    expected: int | None = None,
    on_error: Callable[[TrajectoryError], None] | None = None,
) -> Iterator[Record]:
    """The intact records of a TFRecord file, in order, one in memory at a time.

    Args:
        path: The file.
        check_crc: Compare both checksums of each record.
        expected: How many records the data set says the file has; fewer is an error.
        on_error: Called with each `CorruptRecordError`, and reading goes on where that is possible: after damaged data
            at the next record; after a damaged length at the next place that is an intact record. Without it the first
            error is raised.

    Raises:
        CorruptRecordError: Damage, and no `on_error`; or the file cannot be read.
        FormatError: The file is compressed.
    """

    def report(message: str, record: int) -> None:
        error = CorruptRecordError(message, path=path, record=record)
        if on_error is None:
            raise error
        on_error(error)

    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        index = position = 0
        truncated = False
        header = file.read(_HEADER.size)
        while position < size:
            start = position
            if len(header) < _HEADER.size:
                report(f"the file ends inside a record header{_lost(index, expected)}", index)
                truncated = True
                break
            length, length_crc = _HEADER.unpack(header)
            end = start + _HEADER.size + length + _CRC.size
            if check_crc and masked_crc(header[:8]) != length_crc:
                position = _next_intact(file, start + 1, size)
                report(_length_message(start, position, size, index, expected), index)
                truncated = position == size
                file.seek(position)
                header = file.read(_HEADER.size)
            elif end > size:
                report(f"the file ends {end - size} bytes before this record does{_lost(index, expected)}", index)
                truncated = True
                break
            else:
                # Plain reads into fresh bytes: the checksum wants bytes, and mapped pages would be copied for it.
                data, tail = file.read(length), file.read(_CRC.size + _HEADER.size)
                position, header = end, tail[_CRC.size :]
                (crc,) = _CRC.unpack_from(tail)
                if check_crc and masked_crc(data) != crc:
                    report("damaged data: the checksum does not fit; get the file again to have this record", index)
                else:
                    yield Record(index, start, crc, data)
            index += 1
        if expected is not None and index < expected and not truncated:
            report(f"the file holds {index} of the {expected} records it should: {expected - index} are lost", index)


def read_record(path: Path, offset: int, crc: int | None = None) -> bytes:
    """The payload of the record at `offset`, checked; `crc` is the fingerprint it had before.

    Raises:
        CorruptRecordError: The file is missing, damaged, or no longer holds that record there.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            header = file.read(12)
            length, length_crc = _HEADER.unpack(header)
            if masked_crc(header[:8]) != length_crc:
                raise CorruptRecordError(f"no record starts at byte {offset}; import the file again", path=path)
            data, tail = file.read(length), file.read(4)
            (stored,) = _CRC.unpack(tail)
    except FileNotFoundError as error:
        raise CorruptRecordError(
            "the file is gone since it was imported; put it back, or import it from its new place", path=path
        ) from error
    except (OSError, struct.error) as error:
        raise CorruptRecordError(f"cannot read the record at byte {offset}: {error}", path=path) from error
    if masked_crc(data) != stored or (crc is not None and crc != stored):
        raise CorruptRecordError(f"the record at byte {offset} changed since it was imported", path=path)
    return data


class Example:
    """A `tf.train.Example` whose values are decoded when they are asked for.

    Not for changing. Asking for a feature that is absent gives an empty value: optional features are common.
    """

    def __init__(self, data: bytes):
        """Locate the features.

        Raises:
            CorruptRecordError: The bytes are not an Example.
        """
        self._data = data
        try:
            self._spans = _locate(data)
        except (IndexError, UnicodeDecodeError, ValueError) as error:
            raise CorruptRecordError(f"the record is not a tf.train.Example: {error or 'it ends early'}") from error

    def __contains__(self, key: str) -> bool:
        return key in self._spans

    def keys(self) -> list[str]:
        """Names of the features."""
        return list(self._spans)

    def floats(self, key: str) -> np.ndarray:
        """[n] float32."""
        start, end = self._values(key, _FLOATS)
        if end - start == 0:
            return np.zeros(0, np.float32)
        parts = []
        for wire, first, last in _fields(self._data, start, end):
            if wire not in (_BYTES, _FIXED32) or (last - first) % 4:
                raise CorruptRecordError(f"feature {key!r} is not a list of floats")
            parts.append(np.frombuffer(self._data, "<f4", (last - first) // 4, first))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def ints(self, key: str) -> np.ndarray:
        """[n] int64; booleans are stored as such."""
        start, end = self._values(key, _INTS)
        parts = [np.zeros(0, np.int64)]
        for wire, first, last in _fields(self._data, start, end):
            if wire not in (_BYTES, _VARINT):
                raise CorruptRecordError(f"feature {key!r} is not a list of integers")
            parts.append(_varints(self._data, first, last))
        return np.concatenate(parts)

    def blobs(self, key: str) -> list[bytes]:
        """Byte strings, such as encoded images or UTF-8 text."""
        data = self._data
        return [data[first:last] for first, last in self.blob_spans(key)]

    def views(self, key: str) -> list[memoryview]:
        """`blobs` without copying: views into the record, which they keep in memory."""
        whole = memoryview(self._data)
        return [whole[first:last] for first, last in self.blob_spans(key)]

    def blob_spans(self, key: str) -> list[tuple[int, int]]:
        """Where the byte strings lie in the record, without copying them."""
        position, end = self._values(key, _BLOBS)
        data, spans = self._data, []
        while position < end:
            # The hot loop of reading: one round per frame and camera.
            length, start = data[position + 1] if position + 1 < end else 255, position + 2
            if length > 127:
                length, start = _varint(data, position + 1)
            if data[position] != _BLOB_TAG or start + length > end:
                raise CorruptRecordError(f"feature {key!r} is not a list of byte strings")
            position = start + length
            spans.append((start, position))
        return spans

    def blob(self, span: tuple[int, int]) -> bytes:
        """The bytes of one span of `blob_spans`."""
        return self._data[span[0] : span[1]]

    def texts(self, key: str) -> list[str]:
        """`blobs` as UTF-8; undecodable bytes become replacement characters."""
        return [blob.decode("utf-8", "replace") for blob in self.blobs(key)]

    def _values(self, key: str, kind: int) -> tuple[int, int]:
        """Span of the values inside the Feature message of `key`."""
        start, end = self._spans.get(key, (0, 0))
        if start == end:
            return 0, 0
        data = self._data
        if data[start] != kind << 3 | _BYTES:
            raise CorruptRecordError(f"feature {key!r} holds values of another type than features.json says")
        length, first = _varint(data, start + 1)
        if first + length != end:
            raise CorruptRecordError(f"feature {key!r} is not one list of values")
        return first, end


def _locate(data: bytes) -> dict[str, tuple[int, int]]:
    """Feature name -> span of its Feature message."""
    spans: dict[str, tuple[int, int]] = {}
    for wire, start, end in _fields(data, 0, len(data)):
        if wire != _BYTES:
            raise ValueError("unexpected field")
        for _, first, last in _fields(data, start, end):
            key, value = "", (0, 0)
            position = first
            while position < last:
                tag = data[position]
                length, inner = _varint(data, position + 1)
                position = inner + length
                if tag == 1 << 3 | _BYTES:
                    key = data[inner:position].decode()
                elif tag == 2 << 3 | _BYTES:
                    value = (inner, position)
                else:
                    raise ValueError(f"unexpected tag {tag}")
            if position != last:
                raise ValueError("a feature runs over its end")
            spans[key] = value
    return spans


def _fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(wire type, start, end) of the value of each field; all field numbers here are below 16."""
    while position < end:
        wire = data[position] & 7
        position += 1
        if wire == _BYTES:
            length, position = _varint(data, position)
            start, position = position, position + length
        elif wire == _VARINT:
            start = position
            _, position = _varint(data, position)
        elif wire == _FIXED32:
            start, position = position, position + 4
        elif wire == _FIXED64:
            start, position = position, position + 8
        else:
            raise CorruptRecordError(f"unknown wire type {wire}")
        if position > end:
            raise CorruptRecordError("a field runs over the end of its message")
        yield wire, start, position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """(value, position after it)."""
    value = shift = 0
    while True:
        if position >= len(data):
            raise CorruptRecordError("a number runs over the end of the record")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & _MAX_UINT64, position
        shift += 7
        if shift > 63:
            raise CorruptRecordError("a number is longer than 64 bits")


def _varints(data: bytes, start: int, end: int) -> np.ndarray:
    """[n] int64 of packed variable-length integers."""
    raw = np.frombuffer(data, np.uint8, end - start, start)
    if not (raw & 128).any():
        return raw.astype(np.int64)
    values = []
    while start < end:
        value, start = _varint(data, start)
        values.append(value - (1 << 64) if value >> 63 else value)
    return np.array(values, np.int64)


def _opened(path: Path) -> BinaryIO:
    try:
        file = open(path, "rb")  # noqa: SIM115 the caller closes it
    except OSError as error:
        raise CorruptRecordError(f"cannot read the file: {error}", path=path) from error
    if file.peek(2)[:2] == b"\x1f\x8b":
        file.close()
        raise FormatError("the TFRecord file is gzip-compressed; unpack it first (gunzip)", path=path)
    return file


def _next_intact(file: BinaryIO, position: int, size: int) -> int:
    """Offset of the next place whose length and data both fit their checksums; the file's size when there is none.

    Lengths stay below 4 GB, so only places followed by four zero bytes can start a record.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        while position + 16 <= size:
            window = np.frombuffer(view[position : position + _SEARCH_WINDOW + 7], np.uint8)
            zero = window == 0
            for start in np.flatnonzero(zero[4:-3] & zero[5:-2] & zero[6:-1] & zero[7:]):
                if _is_intact(view, position + int(start), size):
                    return position + int(start)
            position += _SEARCH_WINDOW
    return size


def _is_intact(view: mmap.mmap, start: int, size: int) -> bool:
    """Whether a record with two right checksums starts here."""
    if start + 16 > size:
        return False
    length, length_crc = _HEADER.unpack_from(view, start)
    end = start + 16 + length
    return (
        end <= size
        and masked_crc(view[start : start + 8]) == length_crc
        and masked_crc(view[start + 12 : end - 4]) == _CRC.unpack_from(view, end - 4)[0]
    )


def _length_message(start: int, found: int, size: int, index: int, expected: int | None) -> str:
    if found < size:
        return f"damaged record length; {found - start} bytes were skipped up to the next intact record"
    return f"damaged record length and no intact record in the {size - start} bytes after it{_lost(index, expected)}"


def _lost(index: int, expected: int | None) -> str:
    """How many records are lost from `index` on, as the end of a message."""
    if expected is None or expected <= index:
        return "; this record and all after it are lost"
    return f"; {expected - index} of {expected} records are lost (this one and all after it)"
