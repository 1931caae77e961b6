"""TFRecord bytes: decoding, checksums, and how much of a damaged file is still read."""

import gzip

import numpy as np
import pytest

from vlm2vla.errors import CorruptRecordError, FormatError
from vlm2vla.trajectories.tfrecord import Example, read_record, records


@pytest.fixture
def shard(tmp_path, rlds):
    path = tmp_path / "set-train.tfrecord"
    path.write_bytes(b"".join(rlds.record(bytes([65 + i]) * (1000 + i)) for i in range(6)))
    return path


def collect(path, **options):
    errors = []
    return list(records(path, on_error=errors.append, **options)), errors


@pytest.mark.parametrize("packed", [True, False])
def test_every_kind_of_feature_decodes(rlds, packed):
    floats = np.linspace(-1, 1, 21, dtype=np.float32).reshape(3, 7)
    ints = [0, 1, 127, 128, -1, -(2**63), 2**62]
    data = rlds.example({"f": floats, "i": ints, "b": [b"", b"x" * 300, "ü".encode()]}, packed=packed)
    decoded = Example(data)
    assert decoded.keys() == ["f", "i", "b"]
    np.testing.assert_array_equal(decoded.floats("f").reshape(3, 7), floats)
    assert decoded.ints("i").tolist() == ints
    assert decoded.blobs("b") == [b"", b"x" * 300, "ü".encode()]
    assert decoded.texts("b")[2] == "ü"
    assert decoded.floats("absent").size == 0
    assert decoded.blobs("absent") == []
    with pytest.raises(CorruptRecordError, match="another type"):
        decoded.floats("b")


@pytest.mark.parametrize("data", [b"\x0a\xff", b"\x0a\x05\x0a\x09abc", b"\xff" * 20, b"\x0a\x04\x0a\x02\x0a\x7f"])
def test_bytes_that_are_no_example_are_refused(data):
    with pytest.raises(CorruptRecordError):
        Example(data).keys()


def test_no_damage_makes_anything_but_a_typed_error(rlds):
    floats = np.linspace(-1, 1, 21, dtype=np.float32)
    whole = rlds.example({"f": floats, "i": [1, 300, -5], "b": [b"x" * 200, b"yz"]})
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(3000):
        data = bytearray(whole)
        for position in random.integers(0, len(data), random.integers(1, 4)):
            data[position] = random.integers(0, 256)
        del data[random.integers(len(data) // 2, len(data) * 2) :]
        try:
            decoded = Example(bytes(data))
            decoded.floats("f"), decoded.ints("i"), decoded.texts("b"), decoded.views("b")
        except CorruptRecordError:
            refused += 1
    assert refused > 500


def test_intact_file(shard):
    found, errors = collect(shard, expected=6)
    assert errors == []
    assert [record.data[:1] for record in found] == [b"A", b"B", b"C", b"D", b"E", b"F"]
    assert [record.index for record in found] == list(range(6))
    assert read_record(shard, found[4].offset, found[4].crc) == found[4].data


def test_every_single_damaged_byte_costs_exactly_its_own_record(shard, rlds):
    whole = shard.read_bytes()
    start, end = rlds.offsets(shard)[2:4]
    # Each byte of both headers and sums, and some of the data.
    for position in [*range(start, start + 12), start + 12, start + 500, *range(end - 4, end)]:
        shard.write_bytes(whole)
        rlds.flip(shard, position)
        found, errors = collect(shard, expected=6)
        assert [record.index for record in found] == [0, 1, 3, 4, 5], position
        assert [(error.record, error.path) for error in errors] == [(2, str(shard))], position


def test_without_an_error_handler_damage_is_raised(shard, rlds):
    rlds.flip(shard, rlds.offsets(shard)[1] + 20)
    with pytest.raises(CorruptRecordError, match="checksum"):
        list(records(shard))


def test_damaged_length_of_the_last_record_says_that_nothing_follows(shard, rlds):
    rlds.flip(shard, rlds.offsets(shard)[5])
    found, errors = collect(shard, expected=6)
    assert len(found) == 5
    assert "1 of 6 records are lost" in str(errors[0])


@pytest.mark.parametrize("cut", [1, 5, 700, 1010])
def test_truncated_file_keeps_what_is_before(shard, rlds, cut):
    whole = shard.read_bytes()
    shard.write_bytes(whole[: rlds.offsets(shard)[3] + cut])
    found, errors = collect(shard, expected=6)
    assert [record.index for record in found] == [0, 1, 2]
    assert len(errors) == 1
    assert errors[0].record == 3
    assert "3 of 6 records are lost" in str(errors[0])


def test_file_cut_between_records_is_noticed_by_the_expected_count(shard, rlds):
    shard.write_bytes(shard.read_bytes()[: rlds.offsets(shard)[4]])
    found, errors = collect(shard, expected=6)
    assert len(found) == 4
    assert "2 are lost" in str(errors[0])
    assert collect(shard)[1] == []


def test_damage_across_several_records_is_skipped(shard, rlds):
    starts = rlds.offsets(shard)
    data = bytearray(shard.read_bytes())
    data[starts[1] : starts[3] + 30] = b"\x00" * (starts[3] + 30 - starts[1])
    shard.write_bytes(data)
    found, errors = collect(shard, expected=6)
    assert [record.data[:1] for record in found] == [b"A", b"E", b"F"]
    assert errors[0].record == 1
    assert "skipped" in str(errors[0])
    # The count tells that more than one record is missing.
    assert "2 are lost" in str(errors[1])


def test_odd_files(tmp_path):
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    assert list(records(empty)) == []
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(b"x"))
    with pytest.raises(FormatError, match="gunzip"):
        list(records(packed))
    with pytest.raises(CorruptRecordError):
        list(records(tmp_path / "absent"))


def test_reading_one_record_again_notices_changes(shard, rlds):
    record = list(records(shard))[2]
    rlds.flip(shard, record.offset + 100)
    with pytest.raises(CorruptRecordError, match="changed"):
        read_record(shard, record.offset, record.crc)
    with pytest.raises(CorruptRecordError, match="no record starts"):
        read_record(shard, 5, record.crc)
    shard.unlink()
    with pytest.raises(CorruptRecordError, match="is gone"):
        read_record(shard, record.offset, record.crc)


def test_data_that_look_like_a_header_are_not_taken_for_a_record(tmp_path, rlds):
    decoy = rlds.record(b"y" * 50)[:12]
    shard = tmp_path / "set-train.tfrecord"
    shard.write_bytes(rlds.record(b"A" * 40 + decoy + b"B" * 400) + rlds.record(b"C" * 80))
    rlds.flip(shard, 0)
    found, errors = collect(shard, expected=2)
    assert [record.data for record in found] == [b"C" * 80]
    assert [error.record for error in errors] == [0]
