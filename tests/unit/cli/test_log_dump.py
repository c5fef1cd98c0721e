"""`pybroker log dump`: what it prints, what it finds wrong, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pybroker_protocol.records.batch import patch_offset_and_epoch
from pybroker_protocol.records.builder import RecordBatchBuilder
from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.control import ControlType, build_end_transaction_marker
from pybroker_server.cli.errors import CliError
from pybroker_server.cli.log_dump import log
from pybroker_server.log.offset_index import OffsetIndex
from pybroker_server.log.time_index import TimeIndex

NAME = "00000000000000000100"
Run = Callable[..., Result]


def batch(base_offset: int, values: list[bytes], codec: Codec = Codec.NONE) -> bytearray:
    builder = RecordBatchBuilder(codec=codec)
    for index, value in enumerate(values):
        builder.append(1_600_000_000_000 + base_offset + index, b"key", value, [("h", b"\xff")])
    data = builder.build()
    patch_offset_and_epoch(data, 0, base_offset, 4)
    return data


@pytest.fixture
def partition(tmp_path: Path) -> Path:
    """A partition with one sound segment of three batches, offsets 100 to 104."""
    marker = build_end_transaction_marker(
        ControlType.COMMIT, timestamp=1_600_000_000_104, producer_id=7, producer_epoch=0, coordinator_epoch=0
    )
    patch_offset_and_epoch(marker, 0, 104, 4)
    batches = [batch(100, [b"a", b"b"]), batch(102, [b"c", b"d"], Codec.ZSTD), marker]
    (tmp_path / f"{NAME}.log").write_bytes(b"".join(batches))
    offsets, times = OffsetIndex(100), TimeIndex(100)
    offsets.append(103, len(batches[0]))
    times.maybe_append(1_600_000_000_103, 103)
    (tmp_path / f"{NAME}.index").write_bytes(offsets.to_bytes())
    (tmp_path / f"{NAME}.timeindex").write_bytes(times.to_bytes())
    return tmp_path


@pytest.fixture
def dump() -> Run:
    return lambda *arguments: CliRunner().invoke(log, ["dump", *map(str, arguments)], standalone_mode=False)


def test_batches_are_listed_tab_separated_when_piped(partition: Path, dump: Run) -> None:
    result = dump(partition / f"{NAME}.log")
    assert result.return_value == 0
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert lines[0][:4] == ["POSITION", "BASE OFFSET", "LAST OFFSET", "RECORDS"]
    assert [line[1:4] for line in lines[1:]] == [["100", "101", "2"], ["102", "103", "2"], ["104", "104", "1"]]
    assert [line[5] for line in lines[1:]] == ["none", "zstd", "none"]
    assert lines[3][9] == "transactional,control"
    assert all(line[10] == "ok" for line in lines[1:])


def test_batches_as_json(partition: Path, dump: Run) -> None:
    result = dump(partition / f"{NAME}.log", "-o", "json")
    found = json.loads(result.stdout)
    assert found[1]["base_offset"] == 102
    assert found[1]["leader_epoch"] == 4
    assert found[1]["time"] == "2020-09-13T12:26:40.103Z"


def test_records_are_shown_with_their_headers(partition: Path, dump: Run) -> None:
    result = dump(partition / f"{NAME}.log", "--records")
    lines = result.stdout.splitlines()
    assert lines[0] == "100\t2020-09-13T12:26:40.100Z\t'key'\t'a'\th=base64:/w=="
    assert lines[4].endswith("control COMMIT")
    as_json = [json.loads(line) for line in dump(partition / f"{NAME}.log", "-r", "-o", "json").stdout.splitlines()]
    assert [each["offset"] for each in as_json] == [100, 101, 102, 103, 104]
    assert as_json[0]["headers"] == [{"key": "h", "value": {"base64": "/w=="}}]
    assert as_json[4]["control"] == "COMMIT"


def test_a_partition_is_dumped_file_by_file(partition: Path, dump: Run) -> None:
    (partition / "leader-epoch-checkpoint").write_text("0\n1\n4 100\n")
    result = dump(partition)
    assert result.return_value == 0
    headings = [Path(line[2:]).name for line in result.stdout.splitlines() if line.startswith("# ")]
    assert headings == [f"{NAME}.index", f"{NAME}.log", f"{NAME}.timeindex", "leader-epoch-checkpoint"]
    assert "4 100" in result.stdout
    assert "1600000000103\t2020-09-13T12:26:40.103Z\t103" in result.stdout


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "checksum of the batch at offset 104 is wrong"),
        (lambda data: data[:-5], "are left (cut at the next start)"),
        (lambda data: data + b"\0" * 10, "the last 10 bytes are no whole batch"),
        (lambda data: data + b"\0" * 100, "no batch (format 0"),
        (lambda data: data + data, "offset 100, but 105 was due"),
    ],
)
def test_damage_to_a_log_is_found(partition: Path, dump: Run, damage: Callable[[bytes], bytes], says: str) -> None:
    path = partition / f"{NAME}.log"
    path.write_bytes(damage(path.read_bytes()))
    result = dump(path)
    assert result.return_value == 1
    assert says in result.stderr
    assert "\t100\t101\t2\t" in result.stdout


def test_records_that_cannot_be_read_are_found_though_the_checksum_holds(partition: Path, dump: Run) -> None:
    from pybroker_protocol.records.batch import write_crc

    data = batch(100, [b"a"], Codec.GZIP)
    data[-10:] = bytes(10)
    write_crc(data, 0, len(data))
    (partition / f"{NAME}.log").write_bytes(data)
    (partition / f"{NAME}.index").unlink()
    (partition / f"{NAME}.timeindex").unlink()
    result = dump("--quiet", partition / f"{NAME}.log")
    assert result.return_value == 1
    assert "records of the batch at offset 100 cannot be read" in result.stderr
    assert result.stdout == ""


def test_an_index_that_does_not_fit_its_log_is_found(partition: Path, dump: Run) -> None:
    wrong = OffsetIndex(100)
    wrong.append(101, 5)
    (partition / f"{NAME}.index").write_bytes(wrong.to_bytes())
    times = TimeIndex(100)
    times.maybe_append(5, 103)
    (partition / f"{NAME}.timeindex").write_bytes(times.to_bytes())
    result = dump("-q", partition / f"{NAME}.log")
    assert "offset index: 101 -> 5, where no batch begins" in result.stderr
    assert "time index: 5 -> 103, but 1600000000103 came before it" in result.stderr


def test_an_index_of_an_odd_size_is_found(partition: Path, dump: Run) -> None:
    (partition / f"{NAME}.index").write_bytes(b"abc")
    result = dump(partition / f"{NAME}.index")
    assert result.return_value == 1
    assert "no whole number of entries" in result.stderr


def test_what_cannot_be_dumped_is_said(tmp_path: Path, dump: Run) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for path, says in (
        (tmp_path / "missing", "there is no"),
        (tmp_path, "nothing to dump"),
        (tmp_path / "notes.txt", "not the name of a segment's file"),
    ):
        result = dump(path)
        assert isinstance(result.exception, CliError)
        assert says in result.exception.message
