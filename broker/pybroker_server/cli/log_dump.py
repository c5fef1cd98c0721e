"""`pybroker log dump`: what lies in segment files, indexes, snapshots and checkpoints, and whether it is sound."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.control import control_type
from pybroker_protocol.records.record import Record, iter_records
from pybroker_server.cli.errors import EXIT_FAILED, EXIT_NOT_FOUND, EXIT_USAGE, CliError, from_os_error
from pybroker_server.cli.output import output_option, show_json, show_table
from pybroker_server.cli.record_format import as_json, iso_time, shown_record, text_or_base64
from pybroker_server.cli.segment_check import BatchRow, SegmentCheck, record_problem
from pybroker_server.log.files import (
    LOG_SUFFIX,
    OFFSET_INDEX_SUFFIX,
    SNAPSHOT_SUFFIX,
    TIME_INDEX_SUFFIX,
    TRANSACTION_INDEX_SUFFIX,
    parse_segment_file,
)
from pybroker_server.log.offset_index import IndexCorrupt, OffsetIndex
from pybroker_server.log.producer_snapshot import SnapshotCorrupt, parse_snapshot
from pybroker_server.log.time_index import TimeIndex
from pybroker_server.log.transaction_index import TransactionIndex

_BATCH_COLUMNS = (
    "position", "base offset", "last offset", "records", "bytes", "codec", "time", "leader epoch", "producer",
    "flags", "crc",
)  # fmt: skip
_DECOMPRESSED_BYTES_MAX = 1 << 30


@click.group()
def log() -> None:
    """Look into the files of a log directory; no broker is needed, and none is disturbed."""


@log.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-r", "--records", is_flag=True, help="Print every record as well.")
@click.option("-q", "--quiet", is_flag=True, help="Only check, and print what is wrong.")
def dump(paths: tuple[Path, ...], records: bool, quiet: bool, output: str) -> int:
    """Print and verify segment files (.log .index .timeindex .txnindex .snapshot), checkpoints, or whole partitions.

    A log file's checksums and offsets are verified, and the indexes beside it compared with it. Exit code 1 says
    that something is wrong; what, is on standard error.
    """
    problems: list[str] = []
    for path in _files_of(paths):
        if not quiet and output != "json" and len(paths) + sum(p.is_dir() for p in paths) > 1:
            click.echo(f"# {path}")
        try:
            found = _dump_file(path, with_records=records, quiet=quiet, output=output)
        except OSError as error:
            raise from_os_error(f"cannot read {path}", error) from None
        problems += [f"{path}: {problem}" for problem in found]
    for problem in problems:
        click.echo(problem, err=True)
    return EXIT_FAILED if problems else 0


dump.params.append(output_option())


def _files_of(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise CliError(f"there is no {path}", code=EXIT_NOT_FOUND)
        if not path.is_dir():
            yield path
            continue
        names = sorted(each.name for each in path.iterdir() if _is_known(each.name))
        if not names:
            raise CliError(
                f"nothing to dump in {path}",
                cause="it holds no segment files",
                hint="name a partition's directory, such as DATA/topic-0",
                code=EXIT_NOT_FOUND,
            )
        yield from (path / name for name in names)


def _is_known(name: str) -> bool:
    return parse_segment_file(name) is not None or name.endswith("checkpoint")


def _dump_file(path: Path, *, with_records: bool, quiet: bool, output: str) -> list[str]:
    """Prints one file; returns what is wrong with it."""
    if path.name.endswith("checkpoint") or path.name in ("partition.metadata", "meta.properties"):
        if not quiet:
            click.echo(path.read_text(errors="backslashreplace").rstrip("\n"))
        return []
    parsed = parse_segment_file(path.name)
    if parsed is None:
        raise CliError(
            f"{path.name} is not the name of a segment's file",
            cause="the first 20 digits of the name are the base offset",
            code=EXIT_USAGE,
        )
    base_offset, suffix = parsed
    if suffix == LOG_SUFFIX:
        return _dump_log(path, base_offset, with_records=with_records, quiet=quiet, output=output)
    try:
        columns, rows = _index_rows(path, base_offset, suffix)
    except (IndexCorrupt, SnapshotCorrupt) as error:
        return [str(error)]
    if not quiet:
        show_table(columns, rows, output)
    return []


def _dump_log(path: Path, base_offset: int, *, with_records: bool, quiet: bool, output: str) -> list[str]:
    check = SegmentCheck(base_offset)
    rows: list[list[str | int]] = []
    with path.open("rb") as file:
        for row in check.scan(file):
            rows.append(_batch_cells(row))
            if with_records or quiet:
                _dump_records(row, check, quiet=quiet, output=output)
    check.check_siblings(path)
    if not quiet and not with_records:
        show_table(_BATCH_COLUMNS, rows, output)
    return check.problems


def _batch_cells(row: BatchRow) -> list[str | int]:
    header = row.header
    codec = Codec(header.codec).name.lower() if header.codec in set(Codec) else f"unknown {header.codec}"
    flags = [
        name
        for name, is_set in (
            ("transactional", header.is_transactional),
            ("control", header.is_control),
            ("log-append-time", header.timestamp_type == 1),
            ("delete-horizon", header.has_delete_horizon),
        )
        if is_set
    ]
    producer = f"{header.producer_id}/{header.producer_epoch}/{header.base_sequence}" if header.has_producer_id else "-"
    return [
        row.position, header.base_offset, header.last_offset, header.record_count, header.size_bytes, codec,
        iso_time(header.max_timestamp), header.partition_leader_epoch, producer, ",".join(flags) or "-",
        "ok" if row.crc_holds else "WRONG",
    ]  # fmt: skip


def _dump_records(row: BatchRow, check: SegmentCheck, *, quiet: bool, output: str) -> None:
    try:
        records = list(iter_records(row.data, max_bytes=_DECOMPRESSED_BYTES_MAX))
        if not quiet:
            for record in records:
                _show_record(record, row, output)
    except ProtocolError as error:
        check.problems.append(record_problem(error, row.header))


def _show_record(record: Record, row: BatchRow, output: str) -> None:
    shown = shown_record("", -1, record)
    if output == "json":
        facts = as_json(shown)
        del facts["topic"], facts["partition"]
        if row.header.is_control:
            facts["control"] = control_type(record).name
        show_json(facts)
        return
    if row.header.is_control:
        click.echo(f"{record.offset}\t{iso_time(record.timestamp)}\tcontrol {control_type(record).name}")
        return
    headers = "".join(f"\t{key}={_plain(value)}" for key, value in shown.headers)
    click.echo(f"{record.offset}\t{iso_time(record.timestamp)}\t{_plain(record.key)}\t{_plain(record.value)}{headers}")


def _plain(data: bytes | None) -> str:
    if data is None:
        return "null"
    text = text_or_base64(data)
    return repr(text) if isinstance(text, str) else f"base64:{text['base64']}" if text else "''"


def _index_rows(path: Path, base_offset: int, suffix: str) -> tuple[list[str], list[list[str | int]]]:
    data = path.read_bytes()
    if suffix == OFFSET_INDEX_SUFFIX:
        index = OffsetIndex.from_bytes(base_offset, data, sys.maxsize)
        return ["last offset", "position"], [list(entry) for entry in index.entries()]
    if suffix == TIME_INDEX_SUFFIX:
        times = TimeIndex.from_bytes(base_offset, data)
        return ["timestamp", "time", "offset"], [[time, iso_time(time), offset] for time, offset in times.entries()]
    if suffix == TRANSACTION_INDEX_SUFFIX:
        aborted = TransactionIndex.from_bytes(base_offset, data)
        columns = ["producer id", "first offset", "last offset", "last stable offset"]
        return columns, [list(entry) for entry in aborted.entries]
    assert suffix == SNAPSHOT_SUFFIX
    entries = parse_snapshot(data, 0, 0)
    columns = ["producer id", "epoch", "last sequence", "last offset", "open transaction from"]
    return columns, [
        [
            entry.producer_id,
            entry.epoch,
            entry.batches[-1].last_sequence if entry.batches else -1,
            entry.batches[-1].last_offset if entry.batches else -1,
            entry.transaction_first_offset,
        ]
        for entry in entries
    ]
