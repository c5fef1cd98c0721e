"""Reading a partition of an internal topic back: real logs on disk for the steps, a whole broker for the loading."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.compaction import batch
from tests.support.ledger import TOPIC, TYPES, Ledger, LedgerBroker, entry
from tests.support.one_broker import topic_image
from tests.support.partition_logs import SMALL, end_transaction, new_log, put

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import OffsetCommitKey
from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.control import ControlType
from pybroker_server.coordinator.effects import Effects, Reply
from pybroker_server.coordinator.loading import Loaded, Marker, read_step
from pybroker_server.log.log_config import LogConfig
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.position import LogPosition

BIG = LogConfig()


def row(name: str, number: int | None) -> tuple[bytes, bytes | None]:
    return TYPES.encode(entry(name, number))


def write(log: PartitionLog, *rows: tuple[bytes | None, bytes | None], **how: Any) -> None:
    log.append_as_leader(batch(*rows, **how), 0, 1_700_000_000_000)


def read_all(log: PartitionLog, max_bytes: int, start: int = 0) -> Iterator[Loaded]:
    offset = start
    while offset < log.log_end_offset:
        step = read_step(log, TYPES, offset, max_bytes, log.end_position)
        assert step.next_offset > offset
        offset = step.next_offset
        yield from step.entries


def names(entries: Iterator[Loaded]) -> list[str]:
    return [
        each.entry.key.group
        for each in entries
        if not isinstance(each.entry, Marker) and isinstance(each.entry.key, OffsetCommitKey)
    ]


class TestSteps:
    @pytest.mark.parametrize("max_bytes", [1, 300, 1 << 20])
    @pytest.mark.parametrize("config", [SMALL, BIG], ids=["many segments", "one segment"])
    def test_everything_comes_once_and_in_order(self, tmp_path: Path, config: LogConfig, max_bytes: int) -> None:
        log = new_log(tmp_path, config)
        for number in range(20):
            write(log, row(f"a{number}", number), row(f"b{number}", None))
        assert names(read_all(log, max_bytes)) == [f"{kind}{number}" for number in range(20) for kind in "ab"]

    @pytest.mark.parametrize("codec", list(Codec))
    def test_compressed_batches_are_read(self, tmp_path: Path, codec: Codec) -> None:
        log = new_log(tmp_path, BIG)
        write(log, *(row(f"a{number}", number) for number in range(50)), codec=codec)
        assert names(read_all(log, 100)) == [f"a{number}" for number in range(50)]

    def test_it_may_begin_in_the_middle_of_a_batch(self, tmp_path: Path) -> None:
        """The log's start can be moved to anywhere."""
        log = new_log(tmp_path, BIG)
        write(log, *(row(f"a{number}", number) for number in range(5)))
        assert names(read_all(log, 100, start=3)) == ["a3", "a4"]

    def test_what_is_left_of_a_batch_by_compaction_does_not_hold_it_up(self, tmp_path: Path) -> None:
        log = new_log(tmp_path, BIG)
        write(log, row("a", 1))
        end = log.end_position
        step = read_step(log, TYPES, 0, 100, LogPosition(7, end.segment_base_offset, end.position))
        assert step.next_offset == 1
        assert read_step(log, TYPES, 1, 100, LogPosition(7, end.segment_base_offset, end.position)).next_offset == 7

    def test_transactions_and_their_ends_are_told(self, tmp_path: Path) -> None:
        log = new_log(tmp_path, BIG)
        write(log, row("a", 1), producer=(40, 3, 0), transactional=True)
        write(log, row("b", 2), producer=(41, 0, 0))
        end_transaction(log, ControlType.COMMIT, 40, epoch=3)
        end_transaction(log, ControlType.ABORT, 42)
        found = list(read_all(log, 1 << 20))
        assert [(each.producer_id, each.producer_epoch) for each in found] == [(40, 3), (-1, -1), (40, 3), (42, 0)]
        assert [each.entry for each in found[2:]] == [Marker(is_commit=True), Marker(is_commit=False)]

    def test_damaged_records_are_counted_and_their_neighbours_kept(self, tmp_path: Path) -> None:
        log = new_log(tmp_path, BIG)
        good = row("a", 1)
        write(log, good, (b"\x00\x01\x00", b"x"), (None, b"x"), (good[0], b"\x00\x03\x00"), row("b", 2))
        step = read_step(log, TYPES, 0, 1 << 20, log.end_position)
        assert (len(step.entries), step.damaged, step.next_offset) == (2, 3, 5)

    def test_types_of_other_releases_are_no_damage(self, tmp_path: Path) -> None:
        log = new_log(tmp_path, BIG)
        write(log, (b"\x00\x63", b"\x00\x00"), row("a", 1))
        step = read_step(log, TYPES, 0, 1 << 20, log.end_position)
        assert (len(step.entries), step.damaged) == (1, 0)

    def test_a_start_before_the_log_is_out_of_range(self, tmp_path: Path) -> None:
        log = new_log(tmp_path, SMALL)
        for _ in range(30):
            put(log, b"x" * 50)
        log.delete_records_before(20)
        with pytest.raises(KafkaError) as raised:
            read_step(log, TYPES, 0, 100, log.end_position)
        assert raised.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


class TestLoading:
    """What a broker does with what it finds."""

    @pytest.fixture
    def broker(self) -> LedgerBroker:
        """Leads epoch 1 of a partition with a hundred numbers, and has to load them."""
        broker = LedgerBroker({"offsets.load.buffer.size": "500"})
        broker.show_topics(topic_image(TOPIC))
        for number in range(100):
            broker.put((f"a{number}", number))
        broker.put(("a7", None), ("a8", 1000))
        broker.flush()
        self.elect(broker, 1)
        return broker

    def elect(self, broker: LedgerBroker, epoch: int) -> None:
        broker.show_topics(topic_image(TOPIC, leader_epoch=epoch, partition_epoch=epoch))

    def expected(self) -> dict[str, int]:
        return {f"a{number}": number for number in range(100) if number != 7} | {"a8": 1000}

    def test_meanwhile_clients_are_told_so(self, broker: LedgerBroker) -> None:
        assert broker.host.partitions == [0]
        assert broker.look() == [ErrorCode.COORDINATOR_LOAD_IN_PROGRESS]
        broker.blocking.run_all()
        assert broker.look() == [ErrorCode.COORDINATOR_LOAD_IN_PROGRESS], "not after the first step already"
        broker.load()
        assert broker.look() == [self.expected()]
        assert broker.ledger.events == ["config", "image", "loaded"]

    def test_another_epoch_meanwhile_begins_anew(self, broker: LedgerBroker) -> None:
        broker.blocking.run_all()
        self.elect(broker, 2)
        broker.load()
        assert len(broker.ledgers) == 3
        assert broker.ledgers[1].events == ["unloaded"]
        assert broker.look() == [self.expected()]

    def test_an_end_of_leadership_meanwhile_ends_it(self, broker: LedgerBroker) -> None:
        broker.show_topics(topic_image(TOPIC, replicas=(1, 2), leader=2, leader_epoch=2, partition_epoch=2))
        broker.load()
        assert broker.look() == [ErrorCode.NOT_COORDINATOR]
        assert broker.ledger.events == ["unloaded"]

    def test_what_was_not_committed_is_loaded_and_waited_for(self, broker: LedgerBroker) -> None:
        broker.load()
        broker.put(("new", 1))
        after = LedgerBroker(logs=broker.logs)
        after.show_topics(topic_image(TOPIC))
        after.load()
        seen = after.look()
        assert seen == []
        after.flush()
        assert seen == [self.expected() | {"new": 1}]

    def test_topics_that_come_meanwhile_are_seen(self, broker: LedgerBroker) -> None:
        broker.blocking.run_all()
        broker.show_topics(topic_image("other"))
        assert broker.ledger.events == []
        broker.load()
        assert "other" in broker.ledger.image.topics_by_name

    def test_a_disk_that_cannot_be_read_takes_the_partition_offline(self, broker: LedgerBroker) -> None:
        broker.log(TOPIC).failure = OSError(errno.EIO, "Input/output error")
        broker.load()
        assert broker.look() == [ErrorCode.NOT_COORDINATOR]
        assert broker.host.partitions == []
        assert not broker.partition(TOPIC).is_serving_leader

    def test_it_ends_what_transactions_left_open(self) -> None:
        broker = LedgerBroker()
        broker.show_topics(topic_image(TOPIC))

        def question(producer_id: int, name: str) -> None:
            def run(ledger: Ledger, effects: Effects, reply: Reply[Any]) -> None:
                effects.in_transaction(producer_id, 0)
                effects.append(entry(name, 5))

            broker.ask(run)

        question(40, "a")
        question(41, "b")
        question(42, "c")
        for kind, producer_id in ((ControlType.COMMIT, 40), (ControlType.ABORT, 41)):
            end_transaction(broker.log(TOPIC), kind, producer_id)  # type: ignore[arg-type]
        self.elect(broker, 1)
        broker.load()
        assert broker.ledger.numbers == {"a": 5}
        assert list(broker.ledger.open) == [42]
