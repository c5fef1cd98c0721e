"""Group flush: one round for all who asked, the next for who came later, and a failure told to all who waited."""

from pathlib import Path
from typing import Any, cast

from tests.support.dying_disk import DyingDisk
from tests.support.manual_time import ManualTime
from tests.support.memory_log import ManualBlocking
from tests.support.partition_logs import checkpoint, new_log, put

from pybroker_server.log.flusher import Flusher
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.runtime.disk_os import OsDisk


class Round:
    """A flusher whose threads and turns of the event loop are in the test's hand."""

    def __init__(self) -> None:
        self.time = ManualTime()
        self.blocking = ManualBlocking()
        self.failures: list[tuple[PartitionLog, BaseException]] = []
        self.answers: list[tuple[str, BaseException | None]] = []
        self.flusher = Flusher(
            cast(Any, self.blocking), self.time, self.time, lambda log, error: self.failures.append((log, error))
        )

    def ask(self, log: PartitionLog, name: str) -> None:
        self.flusher.request(log, lambda error: self.answers.append((name, error)))

    def turn(self) -> None:
        """The end of this turn of the event loop: rounds begin."""
        self.time.advance_ms(0)


def test_all_who_ask_in_one_turn_are_served_by_one_sync(tmp_path: Path) -> None:
    r = Round()
    log = new_log(tmp_path)
    for name in ("a", "b"):
        put(log)
        r.ask(log, name)
    assert not r.blocking.submitted
    r.turn()
    assert len(r.blocking.submitted) == 1
    assert not r.answers
    r.blocking.run_all()
    assert r.answers == [("a", None), ("b", None)]
    assert log.flushed_offset == 2
    assert r.flusher.is_idle


def test_who_asks_during_a_round_waits_for_the_next(tmp_path: Path) -> None:
    r = Round()
    log = new_log(tmp_path)
    put(log)
    r.ask(log, "first")
    r.turn()
    put(log)
    r.ask(log, "second")
    r.turn()
    r.blocking.run_all()
    assert r.answers == [("first", None)]
    assert log.flushed_offset == 1
    r.turn()
    r.blocking.run_all()
    assert r.answers[1:] == [("second", None)]
    assert log.flushed_offset == 2


def test_many_logs_share_a_few_threads(tmp_path: Path) -> None:
    r = Round()
    logs = [new_log(tmp_path / str(number)) for number in range(9)]
    for number, log in enumerate(logs):
        put(log)
        r.ask(log, str(number))
    r.turn()
    assert len(r.blocking.submitted) == 4
    r.blocking.run_all()
    assert sorted(name for name, _ in r.answers) == [str(number) for number in range(9)]
    assert all(log.flushed_offset == 1 for log in logs)


def test_what_a_checkpoint_flushed_already_needs_no_thread(tmp_path: Path) -> None:
    r = Round()
    log = new_log(tmp_path)
    put(log)
    r.ask(log, "a")
    checkpoint(log)
    r.turn()
    assert r.answers == [("a", None)]
    assert not r.blocking.submitted
    assert r.flusher.is_idle


def test_a_failure_is_told_to_all_who_wait_for_that_log_and_to_nobody_else(tmp_path: Path) -> None:
    r = Round()
    error = OSError(5, "Input/output error")
    disk = DyingDisk(OsDisk(), error)
    broken, sound = new_log(tmp_path / "broken", disk=disk), new_log(tmp_path / "sound")
    for log, name in ((broken, "a"), (broken, "b"), (sound, "c")):
        put(log)
        r.ask(log, name)
    disk.fails_once = lambda name, _: name == "sync"
    r.turn()
    r.blocking.run_all()
    assert sorted(r.answers, key=lambda answer: answer[0]) == [("a", error), ("b", error), ("c", None)]
    assert r.failures == [(broken, error)]
    assert (broken.flushed_offset, sound.flushed_offset) == (0, 1)
    r.turn()
    assert not r.blocking.submitted, "a failed sync is never tried again"
